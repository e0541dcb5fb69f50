"""Wiring: settings become planners, planners become an application."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
import uvicorn

from planner_service.api import create_app
from planner_service.language_model import LanguageModel
from planner_service.parser.planner import Parser
from planner_service.reasoning import Planner
from planner_service.settings import Settings
from planner_service.thinking import LanguageModelPlanner


@contextmanager
def open_planners(settings: Settings) -> Iterator[Mapping[str, Planner]]:
    """The planners by name, the preferred one first; the connection to a language model is closed at the end."""
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
    )
    try:
        planners: list[Planner] = [LanguageModelPlanner(language_model, parser), parser]
        yield {planner.name: planner for planner in planners}
    finally:
        language_model.close()


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop."""
    configure_logging(settings)
    with open_planners(settings) as planners:
        token = settings.token.get_secret_value() if settings.token is not None else None
        app = create_app(planners, settings.maximum_body_bytes, fall_back=settings.language_model_fallback, token=token)
        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning")


def configure_logging(settings: Settings) -> None:
    renderer = structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ]
    )
