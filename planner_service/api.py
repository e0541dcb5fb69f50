"""The planner's HTTP interface."""

import hmac
import time
from collections.abc import Mapping
from typing import Annotated, Literal

import structlog
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from starlette.exceptions import HTTPException

from planner_service import reasoning
from planner_service.explanation import ExplainedPlan
from planner_service.metrics import PlannerMetrics
from planner_service.reasoning import Planner
from shared.asgi import BodyLimit
from shared.errors import (
    PROBLEM_MEDIA_TYPE,
    InvalidRequest,
    LanguageModelUnavailable,
    NotFound,
    Problem,
    ServiceError,
    Unauthenticated,
    Violation,
    invalid_request,
)
from shared.plan import MAXIMUM_FRAMES, Plan, Prompt
from shared.wire import WireModel
from telemetry.request_id import HEADER, RequestIds
from telemetry.tracing import trace_app

MINIMUM_FRAMES = 8
MAXIMUM_SIDE = 4096
MAXIMUM_SEED = 2**32 - 1

PlannerChoice = Literal["auto", "language-model", "parser"]
Pixels = Annotated[int, Field(strict=True, ge=16, le=MAXIMUM_SIDE)]

BEARER = HTTPBearer(scheme_name="token", description="Where PLANNER_TOKEN is set.", auto_error=False)

logger = structlog.get_logger()

EXAMPLES = {
    "rigid and motionless": {
        "value": {"prompt": "a red car drives to the right while a tree stands still", "frames": 49}
    },
    "a relation": {"value": {"prompt": "a truck passes by, with a bird perching in a tree behind", "frames": 16}},
    "by the parser": {"value": {"prompt": "three dogs run to the left on a beach", "frames": 49, "planner": "parser"}},
}


class PlanRequest(WireModel):
    """The body of `POST /plans`."""

    prompt: Annotated[Prompt, Field(examples=["a red car drives to the right while a tree stands still"])]
    frames: Annotated[int, Field(strict=True, ge=MINIMUM_FRAMES, le=MAXIMUM_FRAMES, description="Layout frames.")] = 49
    width: Annotated[Pixels, Field(description="Pixels; with the height it decides how wide things are.")] = 720
    height: Annotated[Pixels, Field(description="Pixels.")] = 480
    planner: Annotated[
        PlannerChoice, Field(description="auto: the language model where one is configured, else the parser.")
    ] = "auto"
    seed: Annotated[int, Field(strict=True, ge=0, le=MAXIMUM_SEED)] = 0


class Health(WireModel):
    status: Literal["ok"] = "ok"


def create_app(
    planners: Mapping[str, Planner],
    maximum_body_bytes: int,
    *,
    fall_back: bool = False,
    metrics: PlannerMetrics | None = None,
    token: str | None = None,
) -> FastAPI:
    """`planners`, by name, in the order in which "auto" prefers them.

    `fall_back`: "auto" takes the next one where the language model is unavailable.  `metrics`: what `/metrics` exposes.
    `token`: who wants a plan must show it as a bearer token.
    """
    metrics = metrics or PlannerMetrics()
    planners = {name: metrics.watch(planner) for name, planner in planners.items()}
    app: FastAPI = FastAPIOffline(  # its documentation loads nothing from elsewhere
        title="Planner",
        summary="A prompt becomes a plan: a motion graph and a box for every instance and frame.",
        version=reasoning.VERSION,
        redoc_url=None,
        redirect_slashes=False,  # to an address made of whatever Host a client sends
        responses={422: {"model": Problem, "content": {PROBLEM_MEDIA_TYPE: {}}, "description": "Not valid"}},
    )

    def require_token(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        shown = "" if given is None else given.credentials
        if token is not None and not hmac.compare_digest(shown.encode(), token.encode()):
            raise Unauthenticated("plans are made for those who show the planner's token")

    @app.post(
        "/plans",
        dependencies=[] if token is None else [Depends(require_token)],
        responses={
            401: {"model": Problem, "content": {PROBLEM_MEDIA_TYPE: {}}, "description": "No token"},
            413: {"model": Problem, "content": {PROBLEM_MEDIA_TYPE: {}}, "description": "Too large"},
            503: {
                "model": Problem,
                "content": {PROBLEM_MEDIA_TYPE: {}},
                "description": "Unavailable; with Retry-After where it is known when to try again",
            },
        },
        openapi_extra={"requestBody": {"content": {"application/json": {"examples": EXAMPLES}}}},
    )
    def create_plan(
        body: PlanRequest,
        explain: Annotated[
            bool, Query(description="Answer with the plan and the reasons for it, not with the plan alone.")
        ] = False,
    ) -> Plan | ExplainedPlan:
        """Plan the motion of a prompt.

        The answer is the plan; with `explain=true` it is `{"plan": …, "reasons": […]}`.
        """
        request = reasoning.Request(body.prompt, body.frames, body.width, body.height, body.seed)
        chosen = _choose_planners(planners, body.planner)
        try:
            explained = measured_plan(chosen[0], request)
        except LanguageModelUnavailable:
            if not (fall_back and len(chosen) > 1):
                raise
            metrics.count_fallback()
            explained = measured_plan(chosen[1], request, instead_of=chosen[0].name)
        return explained if explain else explained.plan

    def measured_plan(planner: Planner, request: reasoning.Request, instead_of: str | None = None) -> ExplainedPlan:
        started = time.perf_counter()
        outcome = "internal"
        try:
            explained = reasoning.explained_plan(planner, request, instead_of)
            outcome = "planned"
            return explained
        except ServiceError as error:
            outcome = error.code
            raise
        finally:
            took = time.perf_counter() - started
            metrics.count_plan(planner.name, outcome, took)
            logger.info("plan", planner=planner.name, outcome=outcome, seconds=round(took, 3), instead_of=instead_of)

    @app.get("/health")
    def health() -> Health:
        """The process is alive."""
        return Health()

    @app.get("/ready", responses={503: {"model": Problem, "content": {PROBLEM_MEDIA_TYPE: {}}}})
    def ready() -> Health:
        """Plans can be made: the language model answers, where one is configured and nothing stands in for it."""
        for planner in list(planners.values())[-1 if fall_back else 0 :]:
            planner.check()
        return Health()

    @app.get("/metrics", response_class=Response)
    def expose_metrics() -> Response:
        """Prometheus metrics."""
        return Response(metrics.expose(), media_type=CONTENT_TYPE_LATEST)

    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_surprise)
    app.add_middleware(BodyLimit, maximum_bytes=maximum_body_bytes)
    app.add_middleware(RequestIds)
    trace_app(app)
    return app


def _choose_planners(planners: Mapping[str, Planner], choice: PlannerChoice) -> list[Planner]:
    """Who may plan, the preferred one first."""
    if choice == "auto":
        return list(planners.values())
    if choice not in planners:
        # Not PlannerUnavailable: waiting does not help, and the plan worker would wait.
        raise InvalidRequest(
            f"planner '{choice}' is not configured here; there is: {', '.join(planners)}",
            [Violation(field="planner", message=f"'{choice}' is not configured")],
        )
    return [planners[choice]]


def _problem_response(request: Request, error: ServiceError) -> JSONResponse:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return _answer(request, error.problem, headers)


def _answer(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    told = problem.model_copy(update={"request_id": request.state.request_id})
    return JSONResponse(told.model_dump(mode="json"), problem.status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


async def _on_service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)  # noqa: S101  # Starlette's types cannot say it
    return _problem_response(request, error)


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # Starlette's types cannot say it
    return _problem_response(request, invalid_request(error.errors()))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, and bodies that cannot be read."""
    assert isinstance(error, HTTPException)  # noqa: S101  # Starlette's types cannot say it
    if error.status_code == 404:
        return _problem_response(request, NotFound(f"there is nothing at {request.url.path}"))
    if error.status_code == 400:
        return _problem_response(request, InvalidRequest("the body cannot be read: it must be JSON in UTF-8"))
    problem = Problem(
        title=error.detail, status=error.status_code, detail=error.detail, code="http_error", retryable=False
    )
    return _answer(request, problem, error.headers)


async def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    its = request.state.request_id  # this is answered around all middleware, which would bind it and give the header
    logger.error("unexpected", exc_info=error, path=request.url.path, request_id=its)
    return _answer(request, ServiceError("an unexpected error; the service's log has it").problem, {HEADER: its})
