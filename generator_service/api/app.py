"""The generator's HTTP API, put together."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from generator_service.api import catalogue, events, health, jobs, metrics, results
from generator_service.api.problems import add_problem_handlers, problem_responses
from generator_service.api.wiring import wiring
from generator_service.settings import Settings
from shared.asgi import BodyLimit
from shared.errors import PROBLEM_MEDIA_TYPE, InvalidRequest, Unavailable

DESCRIPTION = """
A prompt becomes a plan (what moves how, and where), the plan steers a video diffusion model, the video is an MP4.

1. `POST /jobs` with a prompt; the answer is a job.
2. `GET /jobs/{id}` until its `status` is `succeeded`, `failed` or `canceled`; or follow `GET /jobs/{id}/events`.
3. `GET /jobs/{id}/content` is the video.

Every error is `application/problem+json` (RFC 9457) with a `code` to act on and, where fields are wrong, `violations`.
"""

ROUTERS = (jobs.router, events.router, results.router, catalogue.router, health.router, metrics.router)


def create_app(settings: Settings, counting_together: str | None = None) -> FastAPI:
    """The app connects to nothing before it is used, so it starts while the parts it needs are still down.

    counting_together: the folder in which several processes count requests, PROMETHEUS_MULTIPROC_DIR in all of them.
    Raises ValueError for addresses that make no sense.
    """
    app = FastAPI(
        title="Motion-Factorized Video",
        version=version("motion-factorized-video"),
        description=DESCRIPTION,
        lifespan=wiring(settings),
        responses=problem_responses(InvalidRequest, Unavailable),
    )
    for router in ROUTERS:
        app.include_router(router)
    add_problem_handlers(app)
    counted = CollectorRegistry()
    app.state.request_metrics = counted if counting_together is None else metrics.of_all(counting_together)
    app.add_middleware(BodyLimit, maximum_bytes=settings.maximum_body_bytes)
    app.add_middleware(metrics.RequestMetrics, registry=counted)
    _document_problems(app)
    return app


def _document_problems(app: FastAPI) -> None:
    """FastAPI documents every model as application/json; what handlers answer in errors is problem+json."""
    document = app.openapi

    def with_problems() -> dict[str, Any]:
        schema = document()
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if int(status) >= 400 and "application/json" in response["content"]:
                        response["content"][PROBLEM_MEDIA_TYPE] = response["content"].pop("application/json")
        return schema

    app.openapi = with_problems  # type: ignore[method-assign]
