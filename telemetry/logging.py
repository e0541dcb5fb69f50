"""Structured logs: one event per line on stderr, from our code and libraries, with `job_id` and `request_id` bound."""

import logging
import sys
from collections.abc import Sequence
from typing import Final, Literal

import structlog
from structlog.typing import Processor

_VERBOSE: Final = ("httpcore", "httpx", "rq.worker")
"""Libraries that log every call, or events that our code logs itself."""

_WITH_OWN_HANDLER: Final = ("diffusers", "transformers")
"""Libraries that install a handler of their own."""


def set_up_logging(log_format: Literal["console", "json"]) -> None:
    """For the whole process; a second call replaces the first.

    Call it after the imports: some libraries set up their own loggers as they are imported.
    """
    common: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    )
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _WITH_OWN_HANDLER:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)


def _rendering(log_format: Literal["console", "json"]) -> list[Processor]:
    # Plain tracebacks in both: pretty ones print local variables, which may hold keys and passwords.
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    ]
