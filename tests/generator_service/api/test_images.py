"""Images that videos begin with: sent as an upload or within the job, kept in the storage, and gone in time."""

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from generator_service.client import Client
from generator_service.jobs.api_keys import ApiKeys
from generator_service.jobs.cleanup import IMAGES_GRACE, Cleanup
from generator_service.jobs.store import JobStore
from generator_service.storage import image_key
from shared.errors import Problem

PNG = {"Content-Type": "image/png"}
JOB = {"prompt": "a red car", "backbone": "cogvideox-5b-i2v"}


@pytest.fixture
def data(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "PNG")
    return file.getvalue()


def url_of(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def uploaded(http: httpx.Client, data: bytes) -> str:
    answer = http.post("/images", content=data, headers=PNG)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def images(api: Any, owner: str = "anyone") -> tuple[str, ...]:
    return tuple(api.parts.objects.keys(image_key(owner)))


@pytest.fixture(autouse=True)
def _none_left(_shared_api: Any) -> None:
    for key in images(_shared_api):
        _shared_api.parts.objects.delete(key)


def test_an_upload_begins_any_number_of_jobs(api: Any, data: bytes) -> None:
    told = api.http.post("/images", content=data, headers=PNG).json()
    assert (told["width"], told["height"], len(told["sha256"])) == (70, 40, 64)
    days = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6.9) < days < timedelta(days=7)
    jobs = [api.submit(image=told["id"], backbone=JOB["backbone"]) for _ in range(2)]
    assert [api.http.get(f"/jobs/{job}").json()["image"] for job in jobs] == [told["id"]] * 2
    assert images(api) == (image_key("anyone", told["id"]),)
    assert api.parts.objects.get(image_key("anyone", told["id"])) == data


def test_one_within_the_job_is_kept_as_an_upload(api: Any, data: bytes) -> None:
    """Once, however often the job is sent; and not in its record."""
    wish = JOB | {"image": url_of(data)}
    first, again = (api.http.post("/jobs", json=wish, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert (first.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    image = first.json()["image"]
    assert again.json()["image"] == image
    assert images(api) == (image_key("anyone", image),)
    assert api.parts.objects.get(image_key("anyone", image)) == data
    record = api.parts.store._redis.hgetall(f"job:{first.json()['id']}")
    assert url_of(data)[30:60] not in str(record)
    assert api.submit(image=image, backbone=JOB["backbone"])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("http://example.com/cat.png", "nothing is fetched from an address"),
        ("file:///etc/passwd", "nothing is fetched from an address"),
        ("../../etc/passwd", "neither the id of an upload"),
        ("", "neither the id of an upload"),
        ("0" * 32, "there is no upload"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "of a PNG, JPEG or WebP"),
        ("data:image/png,%89PNG", "such as data:image/png;base64,"),
        ("data:image/png;base64,%%%", "no base64"),
        ("data:image/png;base64,ü", "no base64"),
        ("data:image/png;base64,", "no PNG, JPEG or WebP"),
        (url_of(b"<svg/>"), "no PNG, JPEG or WebP"),
        (url_of(b"\x89PNG\r\n\x1a\n"), "no PNG, JPEG or WebP"),
    ],
)
def test_what_is_no_image_is_told_why(api: Any, problem: Callable[..., Problem], image: str, message: str) -> None:
    found = problem(api.http.post("/jobs", json=JOB | {"image": image}), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == ["image"]
    assert message in found.violations[0].message
    assert sum(api.parts.store.counts().values()) == 0
    assert images(api) == ()


def test_a_backbone_says_what_it_needs_and_what_it_cannot_take(
    api: Any, problem: Callable[..., Problem], data: bytes
) -> None:
    found = problem(api.http.post("/jobs", json=JOB), 422, "invalid_request")
    assert [(v.field, v.message) for v in found.violations] == [("image", "cogvideox-5b-i2v begins with one: give it")]
    for backbone in ("emoji-world", "cogvideox-2b", "wan2.1-t2v-1.3b", "videocrafter2"):
        wish = {"prompt": "a red car", "backbone": backbone, "image": url_of(data)}
        found = problem(api.http.post("/jobs", json=wish), 422, "invalid_request")
        (violation,) = found.violations
        assert violation.field == "image"
        assert "or take one of cogvideox-5b-i2v" in violation.message
    assert images(api) == ()


def test_an_upload_is_checked_as_it_is_sent(api: Any, problem: Callable[..., Problem], data: bytes) -> None:
    found = problem(api.http.post("/images", content=data[:100], headers=PNG), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == ["image"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    problem(api.http.post("/images", content=data, headers=form), 415, "unsupported_media_type")
    found = problem(api.http.post("/images", content=bytes(10 * 2**20 + 1), headers=PNG), 413, "body_too_large")
    assert "10485760 bytes" in found.detail
    file = io.BytesIO()
    Image.effect_noise((2000, 2000), 100).save(file, "PNG")  # more than other bodies may have
    assert len(file.getvalue()) > 2**21
    assert api.http.post("/images", content=file.getvalue(), headers=PNG).status_code == 201


def test_they_are_their_owners_alone(
    serve: Any, redis_url: str, text_client: Any, problem: Callable[..., Problem], data: bytes
) -> None:
    with serve(redis_url=redis_url, require_keys=True, owner_images=2) as api:
        keys = {owner: ApiKeys(text_client).create(owner, ("submit", "read")).text for owner in ("ada", "bob")}
        ada, bob = (
            httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {keys[owner]}"}, trust_env=False)
            for owner in ("ada", "bob")
        )
        with ada, bob:
            image = uploaded(ada, data)
            found = problem(bob.post("/jobs", json=JOB | {"image": image}), 422, "invalid_request")
            assert "there is no upload" in found.detail
            problem(bob.delete(f"/images/{image}"), 404, "not_found")
            uploaded(ada, data)
            for refused in (
                ada.post("/images", content=data, headers=PNG),
                ada.post("/jobs", json=JOB | {"image": url_of(data)}),
            ):
                problem(refused, 429, "too_much_kept")
            job = ada.post("/jobs", json=JOB | {"image": image}).json()["id"]
            problem(ada.delete(f"/images/{image}"), 409, "conflict")
            ada.post(f"/jobs/{job}/cancel")
            assert ada.delete(f"/images/{image}").status_code == 204
            problem(ada.delete(f"/images/{image}"), 404, "not_found")
            assert len(images(api, "ada")) == 1


def test_uploads_count_as_submissions(serve: Any, redis_url: str, problem: Callable[..., Problem], data: bytes) -> None:
    with serve(redis_url=redis_url, owner_rate=0.01, owner_burst=2) as api:
        uploaded(api.http, data)
        uploaded(api.http, data)
        problem(api.http.post("/images", content=data, headers=PNG), 429, "too_fast")


def test_old_ones_go_but_for_those_that_are_needed(
    serve: Any, redis_url: str, problem: Callable[..., Problem], data: bytes
) -> None:
    week = timedelta(days=7)
    with serve(redis_url=redis_url) as api:
        needed, canceled, unused = (uploaded(api.http, data) for _ in range(3))
        api.start(api.submit(image=needed, backbone=JOB["backbone"]))
        api.parts.store.cancel(api.submit(image=canceled, backbone=JOB["backbone"]))

        def clean_up(age: timedelta) -> None:
            api.parts.store._redis.delete("jobs:round:images")
            later = JobStore(api.parts.store._redis, now=lambda: datetime.now(UTC) + age)
            Cleanup(later, api.parts.objects, week, seconds=3.0).clean_up()

        clean_up(week + IMAGES_GRACE - timedelta(minutes=1))
        assert len(images(api)) == 3
        clean_up(week + IMAGES_GRACE + timedelta(minutes=1))
        assert images(api) == (image_key("anyone", needed),)
        problem(api.http.post("/jobs", json=JOB | {"image": unused}), 422, "invalid_request")


def test_an_expired_one_begins_no_new_job(
    serve: Any, redis_url: str, problem: Callable[..., Problem], data: bytes
) -> None:
    with serve(redis_url=redis_url, retention_days=1e-9) as api:
        image = uploaded(api.http, data)
        found = problem(api.http.post("/jobs", json=JOB | {"image": image}), 422, "invalid_request")
        assert "there is no upload" in found.detail


def test_the_client_sends_files(api: Any, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(data)
    with Client(api.url) as client:
        image = client.upload_image(file)
        job = client.submit(image=image.id, **JOB)
        assert job.image == image.id
        client.cancel(job.id)
        client.delete_image(image.id)
    assert images(api) == ()


def test_openais_clients_send_them_in_forms(api: Any, data: bytes) -> None:
    fields = {"prompt": "a red car", "model": JOB["backbone"]}
    answer = api.http.post("/v1/videos", data=fields, files={"input_reference": ("cat.png", data, "image/png")})
    assert answer.status_code == 200, answer.text
    image = api.http.get(f"/jobs/{answer.json()['id']}").json()["image"]
    assert api.parts.objects.get(image_key("anyone", image)) == data
