"""Wiring: settings become planners, planners become an application."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from planner_service.api import create_app
from planner_service.language_model.client import LanguageModel
from planner_service.language_model.planner import LanguageModelPlanner
from planner_service.metrics import PlannerMetrics
from planner_service.parser.planner import Parser
from planner_service.reasoning import Planner
from planner_service.settings import Settings
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing


@contextmanager
def open_planners(settings: Settings, metrics: PlannerMetrics | None = None) -> Iterator[Mapping[str, Planner]]:
    """The planners by name, the preferred one first; the connection to a language model is closed at the end.

    `metrics` hears of every completion.
    """
    parser = Parser()
    if settings.language_model_url is None:
        yield {parser.name: parser}
        return
    key = settings.language_model_key
    language_model = LanguageModel(
        url=settings.language_model_url,
        model=settings.language_model_name,
        key=key.get_secret_value() if key is not None else None,
        seconds=settings.language_model_seconds,
        connections=settings.language_model_connections,
        on_completion=(metrics or PlannerMetrics()).count_completion,
    )
    try:
        planners: list[Planner] = [LanguageModelPlanner(language_model, parser), parser]
        yield {planner.name: planner for planner in planners}
    finally:
        language_model.close()


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop."""
    set_up_logging(settings.log_format)
    set_up_tracing("planner")
    metrics = PlannerMetrics()
    with open_planners(settings, metrics) as planners:
        app = create_app(
            planners,
            settings.maximum_body_bytes,
            fall_back=settings.language_model_fallback,
            metrics=metrics,
            token=settings.token.get_secret_value() if settings.token is not None else None,
        )
        uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False)
