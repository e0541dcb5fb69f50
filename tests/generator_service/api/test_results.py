"""Videos, previews, manifests and plans, from storage that signs URLs and from storage that cannot."""

from collections.abc import Iterator

import httpx
import pytest

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY
from generator_service.settings import StorageSettings
from shared.errors import RenderingFailed
from shared.plan import Plan

PARTS = ("content", "preview", "manifest", "report")


@pytest.fixture
def s3_api(serve, redis_url, s3) -> Iterator[object]:
    storage = StorageSettings(
        url=f"s3://{s3.bucket}",
        endpoint=s3.endpoint,
        access_key=S3_ACCESS_KEY,
        secret_key=S3_SECRET_KEY,
        url_seconds=60,
    )
    with serve(redis_url=redis_url, storage=storage) as api:
        yield api


def done(api, **options) -> str:
    job = api.submit()
    api.start(job)
    api.finish(job, **options)
    return job


@pytest.mark.parametrize(
    ("part", "media_type", "begin"),
    [
        ("content", "video/mp4", b"\x00\x00\x00\x18ftyp"),
        ("preview", "image/png", b"\x89PNG"),
        ("manifest", "application/json", b'{"seed'),
        ("report", "application/json", b'{"notes'),
    ],
)
def test_a_redirect_leads_to_the_bytes(s3_api, part, media_type, begin):
    job = done(s3_api)
    redirect = s3_api.http.get(f"/jobs/{job}/{part}")
    assert redirect.status_code == 307

    file = httpx.get(redirect.headers["location"], trust_env=False)

    assert (file.status_code, file.headers["content-type"]) == (200, media_type)
    assert file.content.startswith(begin)


def test_urls_in_the_job_lead_to_the_bytes_and_are_signed(s3_api):
    urls = s3_api.http.get(f"/jobs/{done(s3_api)}").json()["urls"]
    assert set(urls) == {"video", "plan", "preview", "manifest", "report"}
    for url in urls.values():
        assert "X-Amz-Signature" in url
        assert httpx.get(url, trust_env=False).status_code == 200
    assert httpx.get(urls["video"].split("?")[0], trust_env=False).status_code == 403


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_storage_that_cannot_sign_is_served_by_the_api(serve, redis_url, tmp_path, scheme):
    url = "memory://" if scheme == "memory" else f"file://{tmp_path}/objects"
    with serve(redis_url=redis_url, storage=StorageSettings(url=url)) as api:
        job = done(api)
        answer = api.http.get(f"/jobs/{job}/content")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert len(answer.content) == 100_012
        urls = api.http.get(f"/jobs/{job}").json()["urls"]
        assert urls["video"] == f"{api.url}/jobs/{job}/content"
        for part in ("video", "preview", "manifest", "report"):
            assert api.http.get(urls[part]).status_code == 200


def test_a_file_in_a_folder_is_named_and_read_in_parts(serve, problem, redis_url, tmp_path):
    with serve(redis_url=redis_url, storage=StorageSettings(url=f"file://{tmp_path}")) as api:
        job = done(api)
        whole = api.http.get(f"/jobs/{job}/content")
        assert whole.headers["content-disposition"] == 'attachment; filename="video.mp4"'
        assert whole.headers["accept-ranges"] == "bytes"
        part = api.http.get(f"/jobs/{job}/content", headers={"Range": "bytes=4-11"})
        assert (part.status_code, part.content) == (206, b"ftypmp42")
        assert part.headers["content-range"] == "bytes 4-11/100012"
        assert api.http.get(f"/jobs/{job}/content", headers={"Range": "bytes=999999-"}).status_code == 416
        api.parts.objects.delete_prefix(f"jobs/{job}/")
        problem(api.http.get(f"/jobs/{job}/content"), 404, "not_found")


@pytest.mark.parametrize("part", PARTS)
def test_there_is_no_file_before_success(api, problem, part):
    job = api.submit()
    assert "queued" in problem(api.http.get(f"/jobs/{job}/{part}"), 409, "conflict").detail
    api.start(job)
    assert "running" in problem(api.http.get(f"/jobs/{job}/{part}"), 409, "conflict").detail
    api.parts.store.fail(job, RenderingFailed("the device was lost"), worker="w1")
    assert "failed (the device was lost)" in problem(api.http.get(f"/jobs/{job}/{part}"), 409, "conflict").detail


def test_a_file_that_is_gone_from_storage_is_not_found(api, problem):
    job = done(api)
    api.parts.objects.delete_prefix(f"jobs/{job}/")
    problem(api.http.get(f"/jobs/{job}/content"), 404, "not_found")


def test_a_plan_is_there_as_soon_as_it_is_made(api, problem, plan):
    job = api.submit()
    problem(api.http.get(f"/jobs/{job}/plan"), 409, "conflict")
    api.start(job)
    api.parts.store.hand_over(job, plan, worker="w1", progress=0.05, seconds=0.5)

    answer = api.http.get(f"/jobs/{job}/plan")

    assert Plan.model_validate_json(answer.content) == plan
    assert api.http.get(f"/jobs/{job}").json()["status"] == "queued"


def test_a_video_without_a_plan_has_no_url_of_one(api):
    job = done(api, with_plan=False)
    assert api.http.get(f"/jobs/{job}").json()["urls"]["plan"] is None
