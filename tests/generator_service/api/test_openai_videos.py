"""OpenAI's video routes, asked by OpenAI's own client."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from generator_service.jobs.api_keys import ApiKeys, Scope
from shared.errors import RenderingFailed

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
"""OpenAI's own service ends; other servers go on speaking as it did."""


@pytest.fixture
def guarded(serve: Any, redis_url: str) -> Iterator[Any]:
    with serve(redis_url=redis_url, require_keys=True, owner_kept=20) as api:
        yield api


@pytest.fixture
def client(guarded: Any, text_client: Any) -> Iterator[openai.OpenAI]:
    key = ApiKeys(text_client).create("ada", (Scope.SUBMIT, Scope.READ)).text
    with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_a_video_from_its_prompt_to_its_file(guarded: Any, client: openai.OpenAI) -> None:
    made = client.videos.create(prompt="a red car", model="emoji-world", seconds="1", size="96x64")
    assert (made.object, made.status, made.progress, made.seconds, made.size) == ("video", "queued", 0, "1", "96x64")
    guarded.start(made.id)
    assert client.videos.retrieve(made.id).status == "in_progress"
    with pytest.raises(openai.ConflictError):
        client.videos.download_content(made.id)
    guarded.finish(made.id)
    done = client.videos.poll(made.id)
    assert (done.status, done.progress, done.prompt, done.error) == ("completed", 100, "a red car", None)
    assert done.completed_at is not None
    assert done.completed_at >= done.created_at > 1.7e9
    assert client.videos.download_content(made.id).read()[4:12] == b"ftypmp42"
    assert client.videos.download_content(made.id, variant="spritesheet").read().startswith(b"\x89PNG")
    assert client.videos.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(made.id)


def test_every_job_is_a_video_and_every_video_a_job(guarded: Any, client: openai.OpenAI) -> None:
    ids = [client.videos.create(prompt=f"{number} cats").id for number in range(2, 5)]
    jobs = guarded.http.get("/jobs", headers={"Authorization": f"Bearer {client.api_key}"}).json()["jobs"]
    assert [job["id"] for job in jobs] == ids[::-1]
    page = client.videos.list(limit=2)
    assert ([video.id for video in page.data], page.has_more, page.last_id) == (ids[:0:-1], True, ids[1])
    assert [video.id for video in client.videos.list(limit=2)] == ids[::-1]  # all pages


def test_how_jobs_end(guarded: Any, client: openai.OpenAI) -> None:
    failed, running, queued = (client.videos.create(prompt="a red car").id for _ in range(3))
    guarded.start(failed)
    guarded.parts.store.fail(failed, RenderingFailed("the device was lost"), worker="w1")
    told = client.videos.retrieve(failed)
    assert told.error is not None
    assert (told.status, told.error.code, told.error.message) == ("failed", "rendering_failed", "the device was lost")
    client.videos.delete(queued)  # canceled first
    guarded.start(running)
    with pytest.raises(openai.ConflictError):
        client.videos.delete(running)
    assert guarded.parts.store.get(running).status == "canceling"
    guarded.parts.store.confirm_cancel(running, worker="w1")
    canceled = client.videos.retrieve(running)
    assert canceled.error is not None
    assert (canceled.status, canceled.error.code) == ("failed", "canceled")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"model": "sora-2"}, "backbone"),
        ({"seconds": "8"}, "seconds"),
        ({"seconds": "soon"}, "seconds"),
        ({"size": "1280x720"}, "width"),
        ({"size": "large"}, "size"),
        ({"prompt": ""}, "prompt"),
        ({"extra_body": {"seed": 7}}, "seed"),
        ({"input_reference": ("cat.png", b"\x89PNG", "image/png")}, "image"),
    ],
)
def test_what_cannot_be_is_named(client: openai.OpenAI, wish: dict[str, Any], field: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        client.videos.create(**({"prompt": "a red car"} | wish))
    assert isinstance(refusal.value.body, dict)
    assert field in {violation["field"] for violation in refusal.value.body["violations"]}


def test_keys_and_limits_are_those_of_jobs(guarded: Any, client: openai.OpenAI) -> None:
    key = client.api_key
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="mfv_x", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.videos.list()
    for _ in range(20):
        client.videos.create(prompt="a red car", extra_headers={"Idempotency-Key": "once"})
    assert guarded.http.get("/jobs", headers={"Authorization": f"Bearer {key}"}).json()["next"] is None
    for number in range(19):
        client.videos.create(prompt="a red car", extra_headers={"Idempotency-Key": f"{number}"})
    with pytest.raises(openai.RateLimitError) as refusal:
        client.videos.create(prompt="a red car")
    assert refusal.value.code == "too_much_kept"


def test_a_request_may_be_json(api: Any) -> None:
    answer = api.http.post("/v1/videos", json={"prompt": "a red car"})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert api.http.post("/v1/videos", content=b"prompt=a", headers={"Content-Type": "text/plain"}).status_code == 415
