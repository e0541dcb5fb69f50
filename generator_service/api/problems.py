"""Every error of the API is problem+json: one handler for each place that errors come from."""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from shared.errors import PROBLEM_MEDIA_TYPE, InvalidRequest, NotFound, Problem, ServiceError, invalid_request

RETRY_AFTER_SECONDS: Final = 5
"""What a 503 asks for: about as long as a restart of Redis or of a worker takes."""

MAXIMUM_VIOLATIONS: Final = 50
"""More are not listed: a hostile body must not make a long answer."""

log = structlog.get_logger(__name__)


def problem_responses(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the errors it may answer, beside those of every route."""
    return {error.status: {"model": Problem, "description": error.title} for error in errors}


def add_problem_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _surprise)


def _answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if problem.status == 503 else {}
    return Response(problem.model_dump_json(), problem.status, {**retry, **(headers or {})}, PROBLEM_MEDIA_TYPE)


def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101  (so it was registered)
    if error.status >= 500:
        log.warning("answered_with_problem", code=error.code, detail=error.detail, path=request.url.path)
    retry = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _answer(error.problem, retry)


def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _answer(invalid_request(_printable(error.errors())).problem)


def _printable(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """The first errors; names that a client made up may hold half a surrogate pair, which no answer can."""
    found = []
    for error in errors[:MAXIMUM_VIOLATIONS]:
        place, message = error["loc"], error["msg"]
        if error["type"] == "json_invalid":  # FastAPI's place is the character, and no field
            place, message = (), f"not JSON at character {error['loc'][-1]}: {error['ctx']['error']}"
        found.append({"loc": [str(part).encode(errors="replace").decode() for part in place], "msg": message})
    return found


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    match error.status_code:
        case 404:
            problem = NotFound(f"there is nothing at {request.url.path}").problem
        case 400:
            problem = InvalidRequest("the body cannot be read: it must be JSON in UTF-8, not nested too deep").problem
        case status:
            code = str(error.detail).lower().replace(" ", "_")
            detail = f"{request.method} {request.url.path}: {error.detail}"
            problem = Problem(title=error.detail, status=status, detail=detail, code=code, retryable=False)
    return _answer(problem, dict(error.headers or {}))


def _surprise(request: Request, error: Exception) -> Response:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return _answer(ServiceError("something went wrong here; it is in the service's log").problem)
