"""The generator's HTTP API, put together."""

from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from generator_service.api import (
    catalogue,
    events,
    images,
    jobs,
    metrics,
    openai_videos,
    operations,
    overview,
    plans,
    results,
    studio,
    webhooks,
)
from generator_service.api.at_once import AtOnce
from generator_service.api.auth import require_scope
from generator_service.api.middleware import AnswersFinished
from generator_service.api.openapi import DESCRIPTION, document_answers, document_that_keys_are_optional
from generator_service.api.parts import lifespan
from generator_service.api.problems import add_problem_handlers, problem_responses
from generator_service.contract.request import MAXIMUM_IMAGE_BYTES
from generator_service.jobs.recovery import reclaimed_counter
from generator_service.settings import Settings
from shared.asgi import BodyLimit
from shared.errors import Forbidden, InvalidRequest, TooManyStreams, Unauthenticated, Unavailable
from telemetry.request_id import HEADER, RequestIds
from telemetry.tracing import trace_app

ROUTERS = (
    jobs.router,
    events.router,
    webhooks.router,
    results.router,
    catalogue.router,
    overview.router,
    openai_videos.router,
    images.router,
)
OPEN_ROUTERS = (operations.router, metrics.router, studio.router)
"""For probes, scrapers and browsers, which hold no key: they tell of parts and numbers, never of a job."""


def create_app(settings: Settings, counting_together: str | None = None) -> FastAPI:
    """The app connects to nothing before it is used, so it starts while the parts it needs are still down.

    counting_together: the folder in which several processes count requests, PROMETHEUS_MULTIPROC_DIR in all of them.
    Raises BadSettings and OSError for addresses that make no sense.
    """
    app: FastAPI = FastAPIOffline(  # its documentation loads nothing from elsewhere
        title="Motion-Factorized Video",
        version=version("motion-factorized-video"),
        description=DESCRIPTION,
        lifespan=lifespan(settings),
        redoc_url=None,
        redirect_slashes=False,  # to an address made of whatever Host a client sends
        responses=problem_responses(InvalidRequest, Unavailable),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `trace_app` and `AnswersFinished` are instead
    )
    dependencies, refusals = [Depends(require_scope)], problem_responses(Unauthenticated, Forbidden)
    jobs.add_direct_routes(app, dependencies, refusals)
    plans.add_plan_route(app, dependencies, refusals)
    images.add_upload_route(app, dependencies, refusals)
    app.root_path = settings.root_path  # uvicorn's own is put before every path, whether the proxy took it away or not
    for router in ROUTERS:
        app.include_router(router, dependencies=dependencies, responses=refusals)
    for router in OPEN_ROUTERS:
        app.include_router(router)
    add_problem_handlers(app)
    counted = CollectorRegistry()
    app.state.looker = operations.PartsLooker()
    app.state.streams = AtOnce(settings.owner_streams, "event streams open", TooManyStreams)
    app.state.plannings = AtOnce(plans.AT_ONCE, "plans being made")
    app.state.counted = counted if counting_together is None else metrics.combined_registry(counting_together)
    app.state.count_reclaimed = reclaimed_counter(counted)
    at_path = {images.PATH: MAXIMUM_IMAGE_BYTES}
    app.add_middleware(BodyLimit, maximum_bytes=settings.maximum_body_bytes, at_path=at_path)
    app.add_middleware(RequestIds)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", HEADER],
            expose_headers=[HEADER, "Retry-After", *jobs.HEADERS],
        )
    app.add_middleware(AnswersFinished, registry=counted)
    trace_app(app)
    document_answers(app)
    if not settings.require_keys:
        document_that_keys_are_optional(app)
    return app
