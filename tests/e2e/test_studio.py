"""The studio in a real Chromium, Debian's, on the real stack: what a user does, and sees.

STUDIO_PICTURES=docs/images: keep the pictures of the documentation, rendered in full.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from deploy.stack import LocalStack
from generator_service.client import Client
from shared.plan import Plan

CHROMIUM = shutil.which("chromium")
PICTURES = os.environ.get("STUDIO_PICTURES")
PROMPT = "a red car drives to the right while a tree stands still"
SEED = 7
STEPS = "" if PICTURES else "4"
SIZE = {"width": 1360, "height": 1000}

pytestmark = [
    pytest.mark.timeout(900 if PICTURES else 300),  # the first test waits for the start of everything
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ, reason="needs Debian's chromium: apt-get install chromium"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        expect.set_options(timeout=20_000)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, stack: LocalStack) -> Iterator[Page]:
    """A new visitor's.  In the end nothing was asked of others than the API and its storage, and nothing went wrong
    unseen."""
    context = browser.new_context(viewport=SIZE, base_url=stack.addresses.api, color_scheme="light")
    context.set_default_timeout(60_000)
    page = context.new_page()
    wrong: list[str] = []
    own = (f"{stack.addresses.api}/", f"{stack.addresses.s3}/", f"blob:{stack.addresses.api}/", "data:")
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: wrong.append(said.text) if said.type == "error" and "422" not in said.text else None
    )
    yield page
    context.close()
    assert wrong == []


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(500)
        page.screenshot(path=Path(PICTURES) / f"studio-{name}.png")


def plan_prompt(page: Page, prompt: str = PROMPT, seed: int = SEED) -> None:
    page.goto("/")
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Steps", exact=True).fill(STEPS)
    page.get_by_role("button", name="See the plan").click()
    expect(page.locator("[data-instance]").first).to_be_visible()


def drag(page: Page, what: Locator, dx: float, dy: float) -> None:
    """Pixels, from the middle of it."""
    box = what.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


def saved_text(page: Page) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the plan").click()
    return download.value.path().read_text()


def saved_plan(page: Page) -> Plan:
    return Plan.model_validate_json(saved_text(page))


def test_the_maths_of_the_editor(repository: Path) -> None:
    """`studio/tests`, by the Node that builds the page."""
    tests = sorted(str(path) for path in (repository / "studio" / "tests").glob("*.test.ts"))
    node = shutil.which("node", path=os.fspath(repository / ".venv" / "bin")) or "node"
    ended = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"^# pass [1-9][0-9]|^ℹ pass [1-9][0-9]", ended.stdout, re.MULTILINE)


def test_a_plan_is_seen_and_explained_before_anything_is_rendered(page: Page, client: Client) -> None:
    before = [job.id for job in client.jobs(limit=1).jobs]
    plan_prompt(page, "a truck passes by, with a bird perching in a tree behind")
    expect(page.locator("[data-node]")).to_have_text(
        [re.compile("1 truck.*rigid"), re.compile("2 bird.*motionless"), re.compile("3 tree.*motionless")]
    )
    assert set(page.locator(".relation text").all_text_contents()) == {"in", "behind"}
    expect(page.locator(".why")).to_contain_text("a vehicle keeps its shape")
    page.locator("[data-lane=bird]").click()
    expect(page.locator(".why")).to_contain_text("motionless")
    picture(page, "plan")
    page.locator(".lanes > .ruler").click(position={"x": 500, "y": 8})
    expect(page.get_by_label("Frame", exact=True)).not_to_have_text("frame 0 of 8")
    assert [job.id for job in client.jobs(limit=1).jobs] == before


def test_a_box_is_dragged_and_all_of_it_can_be_undone(page: Page) -> None:
    plan_prompt(page)
    planned = saved_plan(page)
    car = page.locator("[data-instance=car] > rect")
    drag(page, car, 0, -80)  # at frame 0: the whole path follows
    expect(page.locator("[data-lane=car] [data-keyframe]")).to_have_count(1)
    first = saved_plan(page)
    up = first.tracks[0].boxes[0].y0 - planned.tracks[0].boxes[0].y0
    assert up < -0.05
    for before, after in zip(planned.tracks[0].boxes, first.tracks[0].boxes, strict=True):
        assert after.center[1] - before.center[1] == pytest.approx(
            first.tracks[0].boxes[0].y0 - planned.tracks[0].boxes[0].y0, abs=1e-4
        )
        assert after.y0 < before.y0 - 0.05
    for _ in range(8):
        page.keyboard.press(".")
    drag(page, car, 0, 60)  # at the last frame: the first one stays
    second = saved_plan(page)
    assert second.tracks[0].boxes[0] == first.tracks[0].boxes[0]
    middle = second.tracks[0].boxes[4].center[1] - first.tracks[0].boxes[4].center[1]
    last = second.tracks[0].boxes[8].center[1] - first.tracks[0].boxes[8].center[1]
    assert middle == pytest.approx(last / 2, abs=1e-3)
    assert last > 0.05
    page.locator("[data-instance=car]").focus()
    page.keyboard.press("Shift+ArrowUp")
    page.get_by_label("Name").fill("blue car")
    page.get_by_role("button", name="Add a thing").click()
    page.get_by_label("New relation").fill("stands before")
    page.get_by_role("button", name="Relate").click()
    page.get_by_role("button", name="Nearer").or_(page.get_by_role("button", name="Farther")).last.click()
    changed = saved_plan(page)
    assert changed.graph.ids == ("car", "tree", "thing_1")
    assert changed.graph["car"].name == "blue car"
    assert [(each.source, each.phrase) for each in changed.graph.relations] == [("thing_1", "stands before")]
    assert changed.depth_order[0] == "car"
    picture(page, "edit")
    undo = page.get_by_role("button", name="Undo")
    while undo.is_enabled():
        undo.click()
    assert saved_plan(page) == planned
    redo = page.get_by_role("button", name="Redo")
    while redo.is_enabled():
        redo.click()
    page.reload()
    expect(page.locator("[data-lane=car] [data-keyframe]")).to_have_count(2)
    assert saved_plan(page) == changed
    while undo.is_enabled():
        undo.click()
    assert saved_plan(page) == planned


def test_things_are_moved_and_removed_together(page: Page) -> None:
    plan_prompt(page)
    before = saved_plan(page)
    car, tree = page.locator("[data-instance=car] > rect"), page.locator("[data-instance=tree] > rect")
    car.click()
    tree.click(modifiers=["Shift"])
    drag(page, car, 0, -30)
    page.keyboard.press("ArrowUp")
    after = saved_plan(page)
    (up, other) = (old.boxes[0].y0 - new.boxes[0].y0 for old, new in zip(before.tracks, after.tracks, strict=True))
    assert up == pytest.approx(other, abs=1e-4)
    assert up > 0.03
    page.keyboard.press("Delete")  # one stays
    expect(page.locator("[data-lane]")).to_have_count(1)
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert saved_plan(page) == before


def test_what_breaks_a_rule_says_so_at_the_box_and_can_be_mended(page: Page, client: Client) -> None:
    plan_prompt(page)
    page.locator("[data-node=car]").click()
    label = page.get_by_label("Frames 0 to 8")
    breach, make = page.locator(".breach"), page.get_by_role("button", name="Make the video")

    def breaks(rule: str) -> None:
        """And is told in the API's words, which takes no such plan."""
        expect(breach).to_contain_text(rule)
        expect(make).to_be_disabled()
        assert rule in client._http.post("/plans", json={"plan": json.loads(saved_text(page))}).text

    label.select_option("motionless")
    breaks("motionless in frames 0 to 8, but its box changes")
    breach.get_by_role("button", name="Hold it still").click()
    expect(breach).to_have_count(0)
    expect(make).to_be_enabled()
    page.keyboard.press("Control+z")  # it moves again
    label.select_option("non_rigid")
    after = page.get_by_role("button", name="Frame after")
    for _ in range(2):
        after.click()
    page.get_by_role("button", name="New phase from here").click()
    page.get_by_label("Frames 2 to 8").select_option("motionless")
    page.locator("[data-edge]").press("ArrowRight")
    breaks("motionless in frames 3 to 8, but its box changes")
    text = saved_text(page)  # what cannot be rendered yet can be saved, and opened again
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Open a plan").click()
    chooser.value.set_files({"name": "plan.json", "mimeType": "application/json", "buffer": text.encode()})
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    after.click()
    label = page.get_by_label("Frames 3 to 8")
    label.select_option("non_rigid")
    page.get_by_role("button", name="◇ Keyframe").click()
    for _ in range(5):
        after.click()
    drag(page, page.locator(".grip.n"), 0, -60)
    label.select_option("rigid")
    breaks("rigid in frames 3 to 8, but its aspect changes by more than 2%")
    breach.get_by_role("button", name="Keep its shape").click()
    expect(breach).to_have_count(0)
    # What the page knows nothing of: the API's refusal is shown at the thing.
    page.get_by_label("Name").evaluate("field => field.maxLength = 200")
    page.get_by_label("Name").fill("car" * 50)
    make.click()
    expect(breach).to_contain_text("at most 120 characters")
    page.get_by_label("Name").fill("car")
    expect(breach).to_have_count(0)


def test_a_long_timeline(page: Page) -> None:
    """121 frames, of a model for which no worker is up."""
    page.goto("/")
    page.get_by_label("Model").select_option("wan2.2-ti2v-5b")
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_role("button", name="See the plan").click()
    car = page.locator("[data-instance=car] > rect")
    expect(page.get_by_label("Frame", exact=True)).to_have_text("frame 0 of 120")
    drag(page, car, 0, -40)
    lane = page.locator("[data-lane=car]").bounding_box()
    assert lane is not None
    page.mouse.click(lane["x"] + lane["width"] - 2, lane["y"] + 15)
    expect(page.get_by_label("Frame", exact=True)).to_have_text("frame 120 of 120")
    drag(page, car, 0, 40)
    expect(page.locator("[data-keyframe]")).to_have_count(2)
    page.reload()
    expect(page.locator("[data-keyframe]")).to_have_count(2)
    boxes = saved_plan(page).tracks[0].boxes
    assert len(boxes) == 121
    assert boxes[60].center[1] == pytest.approx((boxes[0].center[1] + boxes[120].center[1]) / 2, abs=0.01)


def test_an_edited_plan_becomes_a_video_with_what_is_found_of_it(page: Page, client: Client, stack: LocalStack) -> None:
    plan_prompt(page)
    drag(page, page.locator("[data-instance=car] > rect"), 0, -40)
    edited = saved_plan(page)
    page.get_by_role("button", name="Make the video").click()
    status = page.locator(".result [data-status]")
    expect(status).to_have_text("succeeded", timeout=120_000)
    job = client.get(page.url.rpartition("/")[2])
    assert job.settings.seed == SEED
    assert Plan.model_validate(client._http.get(f"/jobs/{job.id}/plan").json()) == edited
    assert job.diagnostics.adherence is not None
    seen = [its.instance for its in job.diagnostics.adherence if its.detected]
    expect(page.locator("[data-found]")).to_have_count(len(seen))
    expect(page.locator(".seen")).to_contain_text("IoU" if seen else "not seen")

    video = page.locator(".stage video")
    for frame in range(3):  # the overlays' frame is the video's
        page.get_by_role("button", name="Frame after").click()
        expect(video).to_have_attribute("data-frame", str(frame + 1))
    picture(page, "result")
    page.get_by_label("found", exact=True).uncheck()
    expect(page.locator("[data-found]")).to_have_count(0)
    page.get_by_label("planned", exact=True).uncheck()
    expect(page.locator("[data-instance]")).to_have_count(0)
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_label("Frame", exact=True)).not_to_have_text("frame 3 of 8")
    with page.expect_download() as download:
        page.locator(".result").get_by_role("button", name="MP4").click()
    assert download.value.suggested_filename == "video.mp4"
    assert download.value.url.startswith(stack.addresses.s3)
    assert download.value.path().read_bytes()[4:8] == b"ftyp"

    page.reload()  # the address has the job, the tab what was edited
    expect(page.locator("[data-keyframe]")).to_have_count(1)
    expect(page.get_by_role("button", name="Make it again")).to_be_enabled()
    expect(status).to_have_text("succeeded")
    page.get_by_role("button", name="Beside it without guidance").click()
    if PICTURES:
        page.get_by_role("button", name="Three more seeds").click()
    beside = 5 if PICTURES else 2
    expect(page.locator(".cell video")).to_have_count(beside, timeout=60_000 * beside)
    other = client.get(re.search(r"with=([0-9a-f]{32})", page.url)[1])  # type: ignore[index]
    assert (other.settings.seed, other.settings.guidance.is_off) == (SEED, True)
    page.locator(".cell").last.scroll_into_view_if_needed()
    picture(page, "beside")
    page.get_by_role("button", name="To the stage").first.click()
    expect(page).to_have_url(re.compile(f"jobs/{other.id}"))
    expect(page.locator("[data-instance]")).to_have_count(2)
    page.go_back()
    expect(page).to_have_url(re.compile(f"jobs/{job.id}"))
    expect(page.locator("[data-keyframe]")).to_have_count(1)


def test_a_job_is_canceled_found_in_the_gallery_and_deleted(page: Page, client: Client) -> None:
    page.goto("/")
    page.get_by_label("Prompt", exact=True).fill("three purple dogs run to the left")
    page.get_by_label("Steps", exact=True).fill("200")
    page.get_by_role("button", name="Make it right away").click()
    expect(page.locator("progress")).to_be_visible()
    page.locator("main > .progress, .result").get_by_role("button", name="Cancel").click()
    expect(page.locator("main > .progress, .result").locator("[data-status]")).to_have_text("canceled")
    job = page.url.rpartition("/")[2].partition("?")[0]
    assert client.get(job).status == "canceled"
    cards = page.locator("[data-job]")
    page.get_by_label("Search prompts").fill("PURPLE")
    expect(cards).to_have_count(1)
    page.get_by_label("Status").select_option("succeeded")
    expect(cards).to_have_count(0)
    page.get_by_label("Status").select_option("canceled")
    expect(cards).to_have_count(1)
    cards.get_by_role("button", name="Delete").click()
    cards.get_by_role("button", name="Really?").click()
    expect(cards).to_have_count(0)
    page.get_by_label("Search prompts").fill("")
    page.get_by_label("Status").select_option("")
    expect(cards.first).to_be_visible()
    page.goto("/")
    picture(page, "jobs")


def test_a_phone_in_the_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    plan_prompt(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 150
    drag(page, page.locator("[data-instance=car] > rect"), 20, 0)
    expect(page.locator("[data-keyframe]")).to_have_count(1)
