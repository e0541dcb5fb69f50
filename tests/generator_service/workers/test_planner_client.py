"""A planner on loopback that answers well, badly, late or not at all."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deploy.servers import free_ports
from generator_service.jobs.record import JobRecord
from generator_service.planner_client import MAXIMUM_BYTES, PlannerClient, PlannerGone
from shared.errors import (
    InvalidRequest,
    LanguageModelUnavailable,
    NotEnglish,
    NothingToDraw,
    PlannerUnavailable,
    PlanningFailed,
    ServiceError,
    Unauthenticated,
    Violation,
)
from shared.plan import Plan

Submit = Callable[..., JobRecord]


def ask(planner: Any, record: JobRecord, timeout: float = 5.0) -> Plan:
    return PlannerClient(planner.url, timeout).plan(record)


def test_order_and_plan(planner: Any, submit: Submit, plan: Plan) -> None:
    assert ask(planner, submit()) == plan
    assert planner.orders == [
        {
            "prompt": plan.prompt,
            "frames": 9,
            "width": 96,
            "height": 64,
            "planner": "parser",
            "seed": 7,
        }
    ]


@pytest.mark.parametrize("error", [PlanningFailed, NotEnglish, NothingToDraw])
def test_a_refusal_keeps_what_the_planner_said(error: Any, planner: Any, answer: Any, submit: Submit) -> None:
    violations = (Violation(field="prompt", message="names no thing"),)
    planner.answers = [answer.problem(error("nothing to draw", violations))]
    with pytest.raises(PlanningFailed) as caught:
        ask(planner, submit())
    assert type(caught.value) is error
    assert (caught.value.detail, caught.value.violations) == ("nothing to draw", violations)
    assert len(planner.orders) == 1


def test_an_invalid_order_is_the_callers_fault(planner: Any, answer: Any, submit: Submit) -> None:
    planner.answers = [answer.problem(InvalidRequest("frames: too many"))]
    with pytest.raises(InvalidRequest, match="frames: too many"):
        ask(planner, submit())
    assert len(planner.orders) == 1


@pytest.mark.parametrize("error", [PlannerUnavailable("starting"), LanguageModelUnavailable("no vLLM")])
def test_who_is_not_ready_is_asked_once(error: ServiceError, planner: Any, answer: Any, submit: Submit) -> None:
    planner.answers = [answer.problem(error)]
    with pytest.raises(PlannerGone) as caught:
        ask(planner, submit())
    assert (type(caught.value.reason), caught.value.reason.detail) == (type(error), error.detail)
    assert len(planner.orders) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_gateway_without_planner_is_not_ready(status: int, planner: Any, answer: Any, submit: Submit) -> None:
    planner.answers = [answer(status, b"<html>oops</html>", "text/html")]
    with pytest.raises(PlannerGone, match="not ready"):
        ask(planner, submit())


def test_while_the_token_is_changed_no_job_is_lost(planner: Any, answer: Any, submit: Submit, plan: Plan) -> None:
    planner.answers = [answer.problem(Unauthenticated("plans are made for those who show the planner's token"))]
    with pytest.raises(PlannerGone, match="refuses this worker's token"):
        ask(planner, submit())
    planner.answers = [*planner.answers, answer.plan(plan)]
    assert ask(planner, submit()) == plan


def test_nobody_listens(planner: Any, submit: Submit) -> None:
    planner.url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(PlannerGone, match="does not answer"):
        ask(planner, submit())


def test_a_plan_that_takes_too_long_is_not_asked_for_twice(planner: Any, submit: Submit) -> None:
    given_up = threading.Event()
    planner.before_answer = lambda: given_up.wait(20)
    with pytest.raises(PlannerUnavailable, match=r"within 0\.3 seconds"):
        ask(planner, submit(), timeout=0.3)
    given_up.set()
    assert len(planner.orders) == 1


def test_a_plan_that_dribbles_takes_too_long_though_every_byte_comes_in_time(
    planner: Any, answer: Any, submit: Submit, plan: Plan
) -> None:
    planner.answers = [replace(answer.plan(plan), dribble=0.1)]
    began = time.monotonic()
    with pytest.raises(PlannerUnavailable, match=r"within 0\.5 seconds"):
        ask(planner, submit(), timeout=0.5)
    assert time.monotonic() - began < 5


def test_an_answer_without_end_is_not_read_to_it(planner: Any, answer: Any, submit: Submit) -> None:
    planner.answers = [answer(200, b" " * (MAXIMUM_BYTES + 1))]
    with pytest.raises(PlanningFailed, match=f"more than {MAXIMUM_BYTES} bytes"):
        ask(planner, submit())


@pytest.mark.parametrize(("said", "heard"), [("40", 40), ("soon", None), ("9" * 5000, None)])
def test_the_planner_says_when_to_ask_again(
    said: str, heard: int | None, planner: Any, answer: Any, submit: Submit
) -> None:
    planner.answers = [replace(answer.problem(LanguageModelUnavailable("busy")), headers={"Retry-After": said})]
    with pytest.raises(PlannerGone) as caught:
        ask(planner, submit())
    assert caught.value.reason.retry_after == heard


@pytest.mark.parametrize(
    ("waited", "said", "pause"),
    [
        (0, None, 1),
        (4, None, 4),
        (100, None, 10),
        (0, 40, 40),
        (30, 5, 10),
        (580, 40, 20),
        (0, 900, 600),
        (595, 40, 10),
    ],
)
def test_the_next_try_is_as_late_as_the_planner_says_within_patience(waited: int, said: int | None, pause: int) -> None:
    gone = PlannerGone(LanguageModelUnavailable("busy", retry_after=said))
    assert gone.pause(timedelta(seconds=waited), timedelta(seconds=600)) == timedelta(seconds=pause)


def test_an_error_of_its_own_stays_with_the_planner(planner: Any, answer: Any, submit: Submit) -> None:
    planner.answers = [answer.problem(ServiceError("KeyError: 'sk-secret'"))]
    with pytest.raises(PlanningFailed) as caught:
        ask(planner, submit())
    assert caught.value.detail == "the planner answered with status 500"
    assert len(planner.orders) == 1


def broken_plans(plan: Plan) -> dict[str, bytes]:
    whole = plan.model_dump(mode="json")
    outside = json.loads(json.dumps(whole))
    outside["tracks"][0]["boxes"][0] = [0.5, 0.5, 1.5, 0.8]
    return {
        "no json": b"<html>",
        "empty": b"{}",
        "unknown field": json.dumps(whole | {"surprise": 1}).encode(),
        "box outside": json.dumps(outside).encode(),
    }


@pytest.mark.parametrize("name", ["no json", "empty", "unknown field", "box outside"])
def test_what_is_no_valid_plan_is_refused(name: str, planner: Any, answer: Any, submit: Submit, plan: Plan) -> None:
    planner.answers = [answer(200, broken_plans(plan)[name])]
    with pytest.raises(PlanningFailed, match="no valid plan"):
        ask(planner, submit())


def test_the_plan_of_another_prompt_is_refused(planner: Any, answer: Any, submit: Submit, plan: Plan) -> None:
    planner.answers = [answer.plan(plan.model_copy(update={"prompt": "a blue boat"}))]
    with pytest.raises(PlanningFailed, match="another prompt"):
        ask(planner, submit())


def test_a_plan_of_another_length_is_refused(planner: Any, submit: Submit) -> None:
    record = submit()
    longer = record.model_copy(update={"settings": record.settings.model_copy(update={"frames": 17})})
    with pytest.raises(PlanningFailed, match="9 frames, but the job needs 17"):
        ask(planner, longer)
