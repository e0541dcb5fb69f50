"""How the studio is served, and its key; what one does there is in `tests/e2e/test_studio.py`."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from generator_service.api import studio
from generator_service.jobs.api_keys import ApiKeys, Scope

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


@pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Debian's chromium")
def test_a_key_is_asked_for_and_kept_for_the_session_alone(serve, redis_url, text_client):
    key = ApiKeys(text_client).create("a", [Scope.READ, Scope.SUBMIT]).text
    with serve(redis_url=redis_url, require_keys=True) as api, sync_playwright() as playwright:
        told = {"Authorization": f"Bearer {key}"}
        job = api.http.post("/jobs", json={"prompt": "a red car"}, headers=told).json()["id"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{api.url}/studio/jobs/{job}")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use").click()
        page.locator(f"[data-job='{job}']").wait_for()
        page.locator("[data-status]", has_text="queued").wait_for()
        page.get_by_role("button", name="Cancel").click()  # its end comes over the event stream
        page.locator("[data-status]", has_text="canceled").wait_for()
        page.reload()
        page.locator(f"[data-job='{job}']").wait_for()
        assert page.evaluate("() => localStorage.length + document.cookie.length") == 0
        other = browser.new_page()
        other.goto(api.url)
        other.get_by_label("API key").wait_for()
        browser.close()
