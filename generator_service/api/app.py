"""The generator's HTTP API, put together."""

from importlib.metadata import version
from typing import Any, Final

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from generator_service.api import catalogue, deliveries, events, health, jobs, load, metrics, overview, results
from generator_service.api.caller import permission
from generator_service.api.problems import add_problem_handlers, problem_responses
from generator_service.api.wiring import wiring
from generator_service.jobs.counters import taken_back_counter
from generator_service.settings import Settings
from shared.asgi import BodyLimit
from shared.errors import PROBLEM_MEDIA_TYPE, Forbidden, InvalidRequest, Unauthenticated, Unavailable
from telemetry.request_id import RequestIds
from telemetry.tracing import trace_app

DESCRIPTION = """
A prompt becomes a plan (what moves how, and where), the plan steers a video diffusion model, the video is an MP4.

1. `POST /jobs` with a prompt; the answer is a job.
2. `GET /jobs/{id}` until its `status` is `succeeded`, `failed` or `canceled`; or follow `GET /jobs/{id}/events`; or
   give a `webhook` to be told.
3. `GET /jobs/{id}/content` is the video.

Every error is `application/problem+json` (RFC 9457) with a `code` to act on and, where fields are wrong, `violations`.

Every answer has an `X-Request-Id`: yours, where you sent one, else a new one.  By it the services' logs tell
what became of the request and of its job.

Where the service requires keys, give yours as `Authorization: Bearer mfv_<id>_<secret>`; without one there are
`/health`, `/ready`, `/metrics`, `/load` and this documentation.  A key sees its owner's jobs: another's is `404`.
"""

HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's own, where it had a good one, else a new one: the services' logs have it.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "After so many seconds the same request makes sense again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}

ROUTERS = (jobs.router, events.router, deliveries.router, results.router, catalogue.router, overview.router)
OPEN_ROUTERS = (health.router, load.router, metrics.router)
"""For probes and scrapers, which hold no key: they tell of parts and numbers, never of a job."""


def create_app(settings: Settings, counting_together: str | None = None) -> FastAPI:
    """The app connects to nothing before it is used, so it starts while the parts it needs are still down.

    counting_together: the folder in which several processes count requests, PROMETHEUS_MULTIPROC_DIR in all of them.
    Raises BadSettings and OSError for addresses that make no sense.
    """
    app = FastAPI(
        title="Motion-Factorized Video",
        version=version("motion-factorized-video"),
        description=DESCRIPTION,
        lifespan=wiring(settings),
        responses=problem_responses(InvalidRequest, Unavailable),
    )
    for router in ROUTERS:
        refusals = problem_responses(Unauthenticated, Forbidden)
        app.include_router(router, dependencies=[Depends(permission)], responses=refusals)
    for router in OPEN_ROUTERS:
        app.include_router(router)
    add_problem_handlers(app)
    counted = CollectorRegistry()
    app.state.counted = counted if counting_together is None else metrics.of_all(counting_together)
    app.state.count_taken_back = taken_back_counter(counted)
    app.add_middleware(BodyLimit, maximum_bytes=settings.maximum_body_bytes)
    app.add_middleware(metrics.RequestMetrics, registry=counted)
    app.add_middleware(RequestIds)
    trace_app(app)
    _document_answers(app)
    if not settings.require_keys:
        _document_that_keys_are_optional(app)
    return app


def _document_answers(app: FastAPI) -> None:
    """What handlers and middleware make of them: errors are problem+json, where FastAPI documents every model as
    application/json; and the headers that are the same everywhere."""
    document = app.openapi

    def as_they_are() -> dict[str, Any]:
        schema = document()
        schema["components"]["headers"] = HEADERS
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    told = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
                    response["headers"] = response.get("headers", {}) | told
                    if int(status) >= 400 and "application/json" in response["content"]:
                        response["content"][PROBLEM_MEDIA_TYPE] = response["content"].pop("application/json")
        return schema

    app.openapi = as_they_are  # type: ignore[method-assign]


def _document_that_keys_are_optional(app: FastAPI) -> None:
    document = app.openapi

    def without_need() -> dict[str, Any]:
        schema = document()
        for operations in schema["paths"].values():
            for operation in operations.values():
                if "security" in operation:
                    operation["security"] = [{}, {"key": []}]
        return schema

    app.openapi = without_need  # type: ignore[method-assign]
