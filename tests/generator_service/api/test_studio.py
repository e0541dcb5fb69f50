"""How the studio is served, and its key; what one does there is in `tests/e2e/test_studio.py`."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from pydantic import SecretStr

from generator_service.api import studio
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.media.video import encode_mp4
from generator_service.settings import StorageSettings
from generator_service.storage import VIDEO_TYPE, JobKeys

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assets = tmp_path / "studio" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "index.html").write_text('<base href="/" /><script src="./studio/assets/a-1.js"></script>')
    (tmp_path / "secret.js").write_text("not to be had")
    (assets / "a-1.js").write_text("1")
    monkeypatch.setattr(studio, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("built")
def test_one_page_for_the_beginning_and_for_every_job(api):
    for path in ("/", f"/studio/jobs/{'0' * 32}"):
        page = api.http.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        assert '<base href="/" />' in page.text
        policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "//" not in page.headers["content-security-policy"]


@pytest.mark.usefixtures("built")
def test_its_files_are_kept_and_no_others_are_given(api):
    file = api.http.get("/studio/assets/a-1.js")
    assert (file.text, file.headers["content-type"].partition(";")[0]) == ("1", "text/javascript")
    assert "immutable" in file.headers["cache-control"]
    assert api.http.get("/studio/assets/b.js").status_code == 404
    for other in ("..%2F..%2Fsecret.js", "%2e%2e", "index.html"):
        assert api.http.get(f"/studio/assets/{other}").status_code in (404, 422)


@pytest.mark.usefixtures("built")
def test_it_may_be_served_under_a_path(serve, redis_url):
    with serve(redis_url=redis_url, root_path="/video") as api:
        for asked in ("/", "/video/"):
            assert '<base href="/video/" />' in api.http.get(asked).text


def test_where_it_is_not_built_a_page_says_so(api, tmp_path, monkeypatch):
    monkeypatch.setattr(studio, "FOLDER", tmp_path)
    page = api.http.get("/")
    assert page.status_code == 200
    assert "make studio" in page.text


@pytest.mark.usefixtures("built")
def test_it_needs_no_key(serve, redis_url):
    with serve(redis_url=redis_url, require_keys=True) as api:
        assert api.http.get("/").status_code == 200
        assert api.http.get("/jobs").status_code == 401


@pytest.mark.usefixtures("built")
def test_videos_come_from_the_storage_and_nothing_else_does(serve, redis_url, s3):
    storage = StorageSettings(url=f"s3://{s3.bucket}", endpoint=s3.endpoint, access_key="a", secret_key=SecretStr("b"))
    with serve(redis_url=redis_url, storage=storage) as api:
        policy = api.http.get("/").headers["content-security-policy"]
        assert f"media-src 'self' {s3.endpoint};" in policy
        assert policy.replace(f"img-src 'self' {s3.endpoint}", "").count("//") == 1


@pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Debian's chromium")
def test_a_job_with_a_key_under_a_path_and_files_in_a_folder(serve, redis_url, text_client, tmp_path, plan):
    """The key is asked for and kept for the session alone; everything else, the documentation too, comes from here."""
    key = ApiKeys(text_client).create("a", [Scope.READ, Scope.SUBMIT]).text
    told = {"Authorization": f"Bearer {key}"}
    storage = StorageSettings(url=f"file://{tmp_path}")
    with (
        serve(redis_url=redis_url, require_keys=True, root_path="/video", storage=storage) as api,
        sync_playwright() as playwright,
    ):

        def submit() -> str:
            return api.http.post("/jobs", json={"plan": plan.model_dump(mode="json")}, headers=told).json()["id"]

        waiting, done = submit(), submit()
        api.start(done)
        api.finish(done)
        video, _ = encode_mp4(np.zeros((9, 64, 96, 3), np.uint8), 8)
        api.parts.objects.put(JobKeys(done).video, video, VIDEO_TYPE)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        elsewhere: list[str] = []
        own = (f"{api.url}/video/", "data:")
        page.on("request", lambda request: None if request.url.startswith(own) else elsewhere.append(request.url))
        page.goto(f"{api.url}/video/studio/jobs/{waiting}")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use").click()
        page.locator("[data-status]", has_text="queued").wait_for()
        page.get_by_role("button", name="Cancel").click()  # its end comes over the event stream
        page.locator("[data-status]", has_text="canceled").wait_for()
        page.reload()
        page.locator(f"[data-job='{done}'] a").click()
        for frame in (1, 2):  # read in parts
            page.get_by_role("button", name="Frame after").click()
            page.locator(f".stage video[data-frame='{frame}']").wait_for()
        with page.expect_download() as download:
            page.locator(".result").get_by_role("button", name="MP4").click()
        assert download.value.suggested_filename == "video.mp4"
        assert download.value.path().read_bytes() == video
        assert page.url == f"{api.url}/video/studio/jobs/{done}"
        assert page.evaluate("() => localStorage.length + document.cookie.length") == 0
        page.get_by_label("Name").fill("blue car")  # what is edited is kept, and goes with the key
        assert page.evaluate("() => Object.keys(sessionStorage)") == ["api-key", f"edited {done}"]
        page.get_by_role("button", name="Forget the key").click()
        page.get_by_label("API key").wait_for()
        assert page.evaluate("() => sessionStorage.length") == 0
        page.get_by_role("link", name="API").click()
        page.get_by_text("Submit a job").wait_for()
        assert elsewhere == []
        other = browser.new_page()
        other.goto(f"{api.url}/video/")
        other.get_by_label("API key").wait_for()
        browser.close()
