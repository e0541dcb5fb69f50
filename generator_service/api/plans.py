"""A job's plan before there is a job: to be looked at, changed, and sent with `POST /jobs`."""

from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response

from generator_service.api.at_once import AtOnce
from generator_service.api.auth import identify_submitter
from generator_service.api.direct import add_direct_route, read_body
from generator_service.api.jobs import job_request, json_answer, new_record
from generator_service.api.parts import Parts
from generator_service.api.problems import problem_responses
from generator_service.contract.answers import ExplainedPlan
from generator_service.contract.request import JobRequest, require_affordable
from shared.errors import BodyTooLarge, LimitReached, UnsupportedMediaType

AT_ONCE: Final = 4
"""Plans that are being made for one owner at each process of the API: each may keep the language model busy."""


async def see_plan(request: Request) -> Response:
    """The plan that `POST /jobs` would make of the same request, and why it is as it is: nothing is rendered, no job is
    made.  Another seed may give another plan.

    A plan of your own is checked as `POST /jobs` would check it, and answered.
    """
    parts: Parts = request.app.state.parts
    submitter = await identify_submitter(request)
    wish = await read_body(request, JobRequest)
    record = new_record(wish, submitter.caller, request.state.request_id, submitter.at)
    require_affordable(record.settings, parts.maximum_work)
    if wish.plan is not None:
        return json_answer(ExplainedPlan(plan=wish.plan))
    plannings: AtOnce = request.app.state.plannings
    with plannings.one_more(submitter.caller.owner):
        return json_answer(await parts.plans.explained(record))


def add_plan_route(app: FastAPI, dependencies: list[Any], responses: dict[int | str, dict[str, Any]]) -> None:
    add_direct_route(
        app,
        "/plans",
        "POST",
        see_plan,
        summary="See a plan",
        response_model=ExplainedPlan,
        responses=responses | problem_responses(BodyTooLarge, LimitReached, UnsupportedMediaType),
        dependencies=[*dependencies, Depends(job_request)],
        tags=["jobs"],
    )
