"""Plans that are looked at before there is a job."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from generator_service.api import plans
from generator_service.jobs.api_keys import ApiKeys, Scope
from shared.errors import PlanningFailed, Violation

REASON = {"about": "label", "instance": "car", "decided": "rigid", "words": ["drives"], "why": "'drives' is rigid"}


@pytest.fixture
def planning(api, plan) -> Iterator[None]:
    """The planner has one plan, with one reason."""
    text = json.dumps({"plan": plan.model_dump(mode="json"), "reasons": [REASON]})
    api.planner.orders.clear()
    api.planner.answer = lambda _: (200, text.encode())
    yield
    api.planner.answer = lambda _: (503, b"")


@pytest.mark.usefixtures("planning")
def test_a_plan_comes_with_its_reasons_and_without_a_job(api, plan):
    asked = []
    answer = api.planner.answer
    api.planner.answer = lambda path: (asked.append(path), answer(path))[1]
    told = api.http.post("/plans", json={"prompt": plan.prompt, "frames": plan.frames, "seed": 7})
    assert (told.status_code, told.json()) == (200, {"plan": plan.model_dump(mode="json"), "reasons": [REASON]})
    assert asked == ["/plans?explain=true"]
    assert [(order["prompt"], order["seed"], order["planner"]) for order in api.planner.orders] == [
        (plan.prompt, 7, "auto")
    ]
    assert api.http.get("/jobs").json()["jobs"] == []


def test_a_plan_of_ones_own_is_checked_as_a_job_would(api, plan):
    own = plan.model_dump(mode="json")
    assert api.http.post("/plans", json={"plan": own}).json() == {"plan": own, "reasons": []}
    own["tracks"][0]["boxes"][1] = [0.5, 0.5, 0.4, 0.6]
    for path in ("/plans", "/jobs"):
        refused = api.http.post(path, json={"plan": own})
        assert refused.status_code == 422
        assert refused.json()["violations"][0]["field"] == "plan.tracks.0.boxes.1"


def test_what_the_planner_says_is_said(api, problem):
    failed = PlanningFailed("nothing to draw", [Violation(field="prompt", message="names no thing")])
    api.planner.answer = lambda _: (422, failed.problem.model_dump_json().encode())
    told = problem(api.http.post("/plans", json={"prompt": "a red car"}), 422, "planning_failed")
    assert told.violations == failed.violations
    api.planner.answer = lambda _: (503, b"")
    problem(api.http.post("/plans", json={"prompt": "a red car"}), 503, "planner_unavailable")


def test_a_key_that_may_not_submit_sees_no_plan(serve, redis_url, text_client):
    key = ApiKeys(text_client).create("a", [Scope.READ]).text
    with serve(redis_url=redis_url, require_keys=True) as api:
        assert api.http.post("/plans", json={"prompt": "a red car"}).status_code == 401
        told = api.http.post("/plans", json={"prompt": "a red car"}, headers={"Authorization": f"Bearer {key}"})
        assert told.status_code == 403


@pytest.mark.usefixtures("planning")
def test_an_owner_has_so_many_plans_made_at_once(api, problem, plan):
    begun, go_on = threading.Semaphore(0), threading.Event()
    answer = api.planner.answer

    def wait(path: str) -> tuple[int, bytes]:
        begun.release()
        go_on.wait(20)
        return answer(path)

    api.planner.answer = wait
    wish = {"prompt": plan.prompt, "frames": plan.frames}
    with ThreadPoolExecutor(plans.AT_ONCE) as threads:
        waiting = [threads.submit(api.http.post, "/plans", json=wish) for _ in range(plans.AT_ONCE)]
        assert all(begun.acquire(timeout=20) for _ in waiting)
        refused = api.http.post("/plans", json=wish)
        go_on.set()
        assert [each.result().status_code for each in waiting] == [200] * plans.AT_ONCE
    problem(refused, 429, "limit_reached")
    assert "Retry-After" in refused.headers
    assert api.http.post("/plans", json=wish).status_code == 200
