"""What a client sends becomes no path, no address and no code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.servers import RedisServer
from generator_service.contract.request import JobRequest
from generator_service.jobs.record import JobRecord
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys

HOSTILE = "../../victim; touch victim $(touch victim) http://127.0.0.1:9/ s3://other/ file:///etc/passwd {0.__class__}"

CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "subprocess", "pty", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execvp", "torch.load", "yaml.load"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def _on_disk(serve: Any, valkey: RedisServer, folder: Path) -> Iterator[Any]:
    with serve(redis_url=valkey.url, storage=StorageSettings(url=f"file://{folder / 'videos'}")) as api:
        yield api


@pytest.fixture
def on_disk(_on_disk: Any, redis_url: str) -> Any:
    """A live API whose videos are files."""
    return _on_disk


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "job_id",
    [
        "..",
        "%2e%2e",
        "..%2f..%2fvictim",
        "..%5c..%5cvictim",
        "%2fetc%2fpasswd",
        f"{'0' * 32}%0a",
        f"{'0' * 32}%00",
        f"{'0' * 32}%2f..%2fvictim",
        "*",
        "A" * 32,
        "0" * 33,
    ],
)
def test_an_id_that_is_a_path_reaches_no_file(on_disk, folder, method, job_id):
    victim = folder / "victim"
    victim.write_text("still here")
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/content", f"/jobs/{job_id}/plan"):
        answer = on_disk.http.request(method, path)
        is_path = "%2f" in job_id or job_id == ".."
        page = {200} if path == "/jobs/.." else set()  # which is "/"
        assert answer.status_code in ({404, 405} | page if is_path else {422, 405}), path
        assert "still here" not in answer.text
    assert victim.read_text() == "still here"


@pytest.mark.parametrize("field", sorted(set(JobRecord.model_fields) - set(JobRequest.model_fields)))
def test_what_a_record_says_of_itself_no_client_can_choose(on_disk, problem, field):
    """Its id, its owner, and the keys of its results, among others."""
    found = problem(on_disk.http.post("/jobs", json={"prompt": "a red car", field: HOSTILE}), 422, "invalid_request")
    assert [(violation.field, "not permitted" in violation.message) for violation in found.violations] == [
        (field, True)
    ]


def test_hostile_text_is_text(on_disk, folder, plan):
    hostile = plan.model_copy(update={"prompt": HOSTILE, "background": HOSTILE[:120]})
    request = {"plan": hostile.model_dump(mode="json"), "metadata": {HOSTILE[:64]: HOSTILE}}
    job = on_disk.http.post("/jobs", json=request).json()
    on_disk.start(job["id"])
    on_disk.finish(job["id"])
    again = on_disk.http.get(f"/jobs/{job['id']}").json()
    assert (again["prompt"], again["metadata"]) == (HOSTILE, {HOSTILE[:64]: HOSTILE})
    assert {path.name for path in folder.iterdir()} <= {"videos", "victim"}
    files = [path.relative_to(folder / "videos") for path in (folder / "videos").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all(re.fullmatch(r"jobs/[0-9a-f]{32}/1/[a-z]+\.(mp4|json|png)", str(path)) for path in files)


def test_the_keys_of_objects_are_made_of_the_id_and_the_attempt_alone():
    keys = JobKeys("0123456789abcdef" * 2, attempt=3)
    made = [getattr(keys, name) for name in ("checkpoint", "video", "plan", "preview", "manifest", "report")]
    assert len({*made}) == 6
    assert all(re.fullmatch(r"jobs/(0123456789abcdef){2}/(3/)?[a-z]+\.[a-z0-9]+", key) for key in made)


def test_the_services_hold_nothing_that_runs_what_it_reads(repository):
    """ast sees imports and calls inside functions, too."""
    for package in ("generator_service", "planner_service", "shared"):
        for file in (repository / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Import(names=names):
                        assert not CODE & {alias.name.split(".")[0] for alias in names}, file
                    case ast.ImportFrom(module=str(module)):
                        assert module.split(".")[0] not in CODE, file
                    case ast.Call(func=called):
                        if "weights_only=True" in map(ast.unparse, node.keywords):
                            continue  # of `torch.load`: tensors alone
                        assert ast.unparse(called) not in CALLS, file
                        assert not any(word.arg == "shell" for word in node.keywords), file
