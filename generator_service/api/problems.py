"""Every error of the API is problem+json: one handler for each source of errors."""

from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from generator_service.api.middleware import NOSNIFF, OWN_FILES
from shared.errors import PROBLEM_MEDIA_TYPE, InvalidRequest, NotFound, Problem, ServiceError, invalid_request
from telemetry.request_id import HEADER

RETRY_AFTER_SECONDS: Final = 5
"""Retry-After of a 503: about as long as a restart of Redis or of a worker takes."""

_CHALLENGES: Final = {
    401: 'Bearer realm="motion-factorized-video"',
    403: 'Bearer realm="motion-factorized-video", error="insufficient_scope"',
}
"""RFC 6750, 3."""

log = structlog.get_logger(__name__)


def problem_responses(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: its errors beside those of every route.  Retryable ones have Retry-After."""
    when = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return {
        error.status: {
            "model": Problem,
            "description": error.title,
            "headers": when if error.retryable else {},
        }
        for error in errors
    }


def add_problem_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected_error)


def _respond(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    problem = problem.model_copy(update={"request_id": request.state.request_id})
    own = {"Retry-After": str(RETRY_AFTER_SECONDS)} if problem.status == 503 else {}
    if problem.status in _CHALLENGES:
        own["WWW-Authenticate"] = _CHALLENGES[problem.status]
    return Response(problem.model_dump_json(), problem.status, {**own, **(headers or {})}, PROBLEM_MEDIA_TYPE)


def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101  (so it was registered)
    if error.status >= 500:
        log.warning("answered_with_problem", code=error.code, detail=error.detail, path=request.url.path)
    retry = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _respond(request, error.problem, retry)


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _respond(request, invalid_request(error.errors()).problem)


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
    allowed = {"Allow": _allowed_methods(request)} if error.status_code == 405 else {}
    return _respond(request, problem, {**(error.headers or {}), **allowed})


def _allowed_methods(request: Request) -> str:
    """All methods of the path (RFC 9110, 15.5.6); Starlette lists only those of the first route."""
    routes = [each for each in iter_route_contexts(request.app.routes) if each.path_regex.match(request.url.path)]
    methods = {method for route in routes for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _unexpected_error(request: Request, error: Exception) -> Response:
    its = request.state.request_id  # runs outside all middleware, which would bind it and set the headers
    log.error("request_failed", method=request.method, path=request.url.path, request_id=its, exc_info=error)
    problem = ServiceError("something went wrong here; it is in the service's log").problem
    own = {HEADER: its, "X-Content-Type-Options": NOSNIFF, "Content-Security-Policy": OWN_FILES}
    return _respond(request, problem, own)
