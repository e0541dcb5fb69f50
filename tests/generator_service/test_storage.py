"""One contract for every kind of storage, and what only S3 can do, against a real S3 server."""

import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY, S3Server, free_ports
from generator_service.settings import BadSettings, StorageSettings
from generator_service.storage import CHECK_SECONDS, JobKeys, ObjectStore
from shared.errors import NotFound, StorageUnavailable

MakeSettings = Callable[..., StorageSettings]
KEYS = JobKeys("0" * 31 + "1")


@pytest.fixture
def s3_settings(s3: S3Server) -> MakeSettings:
    prefix = uuid.uuid4().hex

    def make(**changes: object) -> StorageSettings:
        values: dict[str, object] = {
            "url": f"s3://{s3.bucket}/{prefix}",
            "endpoint": s3.endpoint,
            "access_key": S3_ACCESS_KEY,
            "secret_key": S3_SECRET_KEY,
        }
        return StorageSettings.model_validate(values | changes)

    return make


@pytest.fixture(params=["s3", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    match request.param:
        case "s3":
            return ObjectStore.open(request.getfixturevalue("s3_settings")())
        case "file":
            return ObjectStore.open(StorageSettings(url=f"file://{tmp_path}/with%20space"))
        case _:
            return ObjectStore.open(StorageSettings(url="memory://"))


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class WithoutBuckets(BaseHTTPRequestHandler):
    """Answers as Amazon does; SeaweedFS makes the bucket."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        body = b"<Error><Code>NoSuchBucket</Code></Error>"
        self.send_response(404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_keys_of_a_job() -> None:
    assert JobKeys("ab").video == "jobs/ab/1/video.mp4"
    assert JobKeys("ab").plan == "jobs/ab/1/plan.json"
    assert JobKeys("ab").preview == "jobs/ab/1/preview.png"
    assert JobKeys("ab", attempt=2).manifest == "jobs/ab/2/manifest.json"
    assert JobKeys("ab", attempt=2).attempt_prefix == "jobs/ab/2/"
    assert JobKeys("ab", attempt=2).checkpoint == "jobs/ab/checkpoint.bin"
    assert JobKeys("ab", attempt=2).prefix == "jobs/ab/"


# the contract


def test_what_was_put_comes_back(store: ObjectStore) -> None:
    data = bytes(range(256)) * 1000
    store.put(KEYS.video, data, "video/mp4")
    assert store.get(KEYS.video) == data


def test_put_replaces(store: ObjectStore) -> None:
    store.put(KEYS.video, b"first", "video/mp4")
    store.put(KEYS.video, b"second, and longer", "video/mp4")
    assert store.get(KEYS.video) == b"second, and longer"


def test_what_was_never_put_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match=KEYS.video):
        store.get(KEYS.video)


def test_delete_prefix_takes_one_job_and_leaves_the_others(store: ObjectStore) -> None:
    neighbour = JobKeys(KEYS.job_id + "1")  # its key begins with the other's
    for key in (KEYS.video, KEYS.plan, KEYS.preview, neighbour.video):
        store.put(key, b"x", "application/octet-stream")
    store.delete_prefix(KEYS.prefix)
    assert store.get(neighbour.video) == b"x"
    for key in (KEYS.video, KEYS.plan, KEYS.preview):
        with pytest.raises(NotFound):
            store.get(key)


def test_deleting_nothing_is_no_error(store: ObjectStore) -> None:
    store.delete_prefix(KEYS.prefix)


def test_a_prefix_that_would_take_neighbours_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="ends in '/'"):
        store.delete_prefix("jobs/1")


def test_check_passes_and_writes_nothing(store: ObjectStore) -> None:
    store.check()
    assert not list(store._store.list().collect())


@pytest.mark.parametrize("url", ["s3://", "file://host/folder", "file://", "gs://bucket", "videos"])
def test_urls_without_sense_are_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="expected s3://bucket, file:///folder or memory://"):
        ObjectStore.open(StorageSettings(url=url))


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8333", "not a url", "ftp://host", "http://"])
def test_endpoints_without_sense_are_refused(endpoint: str) -> None:
    with pytest.raises(BadSettings, match="expected http://host or https://host"):
        ObjectStore.open(StorageSettings(url="s3://videos", endpoint=endpoint))


# signing


def test_a_signed_url_works_with_any_http_client(s3_settings: MakeSettings) -> None:
    store = ObjectStore.open(s3_settings())
    store.put(KEYS.video, b"moving pictures", "video/mp4")
    url = store.sign(KEYS.video)
    assert url is not None
    assert store.signs_for == s3_settings().endpoint
    assert url.startswith(f"{store.signs_for}/")
    response = httpx.get(url, headers={"Origin": "https://app.example.com"})
    assert (response.status_code, response.content) == (200, b"moving pictures")
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["content-disposition"] == 'attachment; filename="video.mp4"'
    assert response.headers["access-control-allow-origin"] in ("*", "https://app.example.com")
    part = httpx.get(url, headers={"Range": "bytes=7-10"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"pict", "bytes 7-10/15")


def test_an_unsigned_url_is_forbidden_and_a_signature_covers_one_key(s3_settings: MakeSettings) -> None:
    store = ObjectStore.open(s3_settings())
    store.put(KEYS.video, b"x", "video/mp4")
    store.put(KEYS.plan, b"{}", "application/json")
    url = store.sign(KEYS.video)
    assert url is not None
    assert httpx.get(url.partition("?")[0]).status_code == 403
    assert httpx.get(url.replace("video.mp4", "plan.json")).status_code == 403


def test_a_signed_url_ends(s3_settings: MakeSettings) -> None:
    store = ObjectStore.open(s3_settings(url_seconds=1))
    store.put(KEYS.video, b"x", "video/mp4")
    url = store.sign(KEYS.video)
    assert url is not None
    deadline = time.monotonic() + 10
    while httpx.get(url).status_code == 200:
        assert time.monotonic() < deadline, "the URL is still good after 10 seconds"
    assert httpx.get(url).status_code == 403


def test_urls_are_signed_for_the_address_that_clients_see(s3: S3Server, s3_settings: MakeSettings) -> None:
    public = s3.endpoint.replace("127.0.0.1", "localhost")
    store = ObjectStore.open(s3_settings(public_endpoint=public))
    store.put(KEYS.video, b"x", "video/mp4")
    url = store.sign(KEYS.video)
    assert url is not None
    assert url.startswith(f"{public}/")
    assert httpx.get(url).status_code == 200
    # The host is part of what is signed: the same URL at the inner address is refused.
    assert httpx.get(url.replace(public, s3.endpoint)).status_code == 403


@pytest.mark.parametrize("url", ["memory://", "file://{folder}"])
def test_folder_and_memory_cannot_sign(url: str, tmp_path: Path) -> None:
    assert ObjectStore.open(StorageSettings(url=url.format(folder=tmp_path))).sign(KEYS.video) is None


def test_no_secret_in_a_signed_url(s3_settings: MakeSettings) -> None:
    url = ObjectStore.open(s3_settings()).sign(KEYS.video)
    assert url is not None
    assert S3_SECRET_KEY not in url
    assert urlsplit(url).query.count("X-Amz-Signature") == 1


# faults


CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put(KEYS.video, b"x", "video/mp4"),
    "get": lambda store: store.get(KEYS.video),
    "delete_prefix": lambda store: store.delete_prefix(KEYS.prefix),
    "check": lambda store: store.check(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_nobody_listens(call: Callable[[ObjectStore], object], s3_settings: MakeSettings) -> None:
    store = ObjectStore.open(s3_settings(endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))
    with pytest.raises(StorageUnavailable, match="does not answer"):
        call(store)


@pytest.mark.parametrize("name", ["put", "get"])
def test_a_silent_server_is_given_up(name: str, s3_settings: MakeSettings) -> None:
    with silent_server() as endpoint:
        store = ObjectStore.open(s3_settings(endpoint=endpoint), request_seconds=0.5)
        begin = time.monotonic()
        with pytest.raises(StorageUnavailable):
            CALLS[name](store)
        assert 0.4 < time.monotonic() - begin < 3.0


def test_check_gives_up_sooner_than_a_request(s3_settings: MakeSettings) -> None:
    with silent_server() as endpoint:
        store = ObjectStore.open(s3_settings(endpoint=endpoint))
        begin = time.monotonic()
        with pytest.raises(StorageUnavailable):
            store.check()
        assert time.monotonic() - begin < CHECK_SECONDS + 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_wrong_keys_are_an_outage_and_stay_out_of_the_message(
    call: Callable[[ObjectStore], object], s3_settings: MakeSettings
) -> None:
    store = ObjectStore.open(s3_settings(secret_key="mistyped"))
    with pytest.raises(StorageUnavailable) as caught:
        call(store)
    assert "mistyped" not in caught.value.detail
    assert S3_ACCESS_KEY not in caught.value.detail


@pytest.mark.parametrize("name", ["put", "delete_prefix", "check"])
def test_a_missing_bucket_is_an_outage(name: str, s3_settings: MakeSettings, served: Any) -> None:
    with served(WithoutBuckets) as endpoint, pytest.raises(StorageUnavailable):
        CALLS[name](ObjectStore.open(s3_settings(endpoint=endpoint)))


def test_check_notices_a_missing_folder(tmp_path: Path) -> None:
    store = ObjectStore.open(StorageSettings(url=f"file://{tmp_path}/videos"))
    store.check()
    shutil.rmtree(tmp_path / "videos")
    with pytest.raises(StorageUnavailable, match="missing"):
        store.check()


def test_a_deleted_job_leaves_no_empty_folder(tmp_path: Path) -> None:
    store = ObjectStore.open(StorageSettings(url=f"file://{tmp_path}/videos"))
    store.put(KEYS.video, b"x", "video/mp4")
    store.delete_prefix(KEYS.prefix)
    assert not (tmp_path / "videos" / KEYS.prefix).exists()
    store.check()


@pytest.mark.parametrize("winner", [None, 2])
def test_leftovers_are_all_but_the_results_of_the_attempt_that_won(store: ObjectStore, winner: int | None) -> None:
    first, second, other = JobKeys("ab"), JobKeys("ab", attempt=2), JobKeys("cd")
    for key in (first.video, first.checkpoint, second.video, second.plan, other.video, other.checkpoint):
        store.put(key, b"data", "text/plain")
    store.delete_leftovers("ab", winner)
    assert set(store.keys(first.prefix)) == (set() if winner is None else {second.video, second.plan})
    assert set(store.keys(other.prefix)) == {other.video, other.checkpoint}
    store.delete_leftovers("ab", winner)  # none is no error
