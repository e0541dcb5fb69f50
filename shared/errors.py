"""The errors of both services, and how they travel: problem+json (RFC 9457).

    ServiceError                    500  internal
    ├── InvalidRequest              422  invalid_request           each violation names a field
    │   └── KeyReused                 422  idempotency_key_reused    it belongs to another request
    ├── BodyTooLarge                413  body_too_large
    ├── UnsupportedMediaType            415  unsupported_media_type    the body is of no kind that is read there
    ├── Unauthenticated             401  unauthenticated           no key, or an unknown or expired one
    ├── Forbidden                   403  forbidden                 the key lacks a scope
    ├── NotFound                    404  not_found
    │   ├── Gone                      410  gone                      it has been there, and is deleted
    │   └── Unreadable                404  unreadable                written by an incompatible version
    ├── Conflict                    409  conflict                  not possible in the job's present state
    ├── LimitReached                429  limit_reached             not now: try again after `retry_after` seconds
    │   ├── QueueFull                 429  queue_full                as many jobs wait as may
    │   ├── TooManyUnfinished         429  too_many_unfinished       the owner has as many jobs as it may
    │   ├── TooMuchKept               429  too_much_kept             the owner has to delete jobs first
    │   ├── TooFast                   429  too_fast                  the owner has submitted as fast as it may
    │   └── TooManyStreams            429  too_many_streams          the owner follows as many jobs as it may
    ├── PlanningFailed              422  planning_failed           no valid plan came of this prompt
    │   ├── NotEnglish                422  not_english               and without a language model only English is read
    │   └── NothingToDraw             422  nothing_to_draw           it names nothing that could be in a box
    ├── RenderingFailed             500  rendering_failed
    │   ├── WeightsMissing          500  weights_missing
    │   └── OutOfMemory             500  out_of_memory
    └── Unavailable                 503  unavailable               a part this one depends on is missing: try again
        ├── DiskFull                  503  disk_full                 the worker's, for temporary files
        ├── LanguageModelUnavailable  503  language_model_unavailable
        ├── PlannerUnavailable        503  planner_unavailable
        └── StorageUnavailable        503  storage_unavailable

A failed job's `error` (`code`, `message`, `retryable`) is made from one of these.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from pydantic import ValidationError

from shared.wire import WireModel

PROBLEM_MEDIA_TYPE = "application/problem+json"

MAXIMUM_VIOLATIONS = 50
MAXIMUM_ERRORS = 1000
"""Of pydantic's: to list more takes too long for an answer that names so few."""
MAXIMUM_NAME_CHARACTERS = 100
"""Longer ones are cut: a hostile body must not cause a long answer."""


class Violation(WireModel):
    """One field that is not valid."""

    field: str
    """Dotted path: "plan.tracks.0.boxes.3"; "" for the whole body."""
    message: str
    """What is wrong, and the limit."""


class Problem(WireModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    violations: tuple[Violation, ...] = ()
    request_id: str | None = None
    """The answer's `X-Request-Id`, by which to find it in the services' logs."""


class ServiceError(Exception):
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    retry_after: int | None = None
    """Seconds until another try makes sense, where that is known."""

    def __init__(self, detail: str, violations: Iterable[Violation] = (), retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.violations = tuple(violations)
        self.retry_after = retry_after

    @property
    def problem(self) -> Problem:
        return Problem(
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            retryable=self.retryable,
            violations=self.violations,
        )


class InvalidRequest(ServiceError):
    code, title, status = "invalid_request", "The request is not valid", 422


class KeyReused(InvalidRequest):
    code, title = "idempotency_key_reused", "The Idempotency-Key belongs to another request"


class BodyTooLarge(ServiceError):
    code, title, status = "body_too_large", "The request body is too large", 413


class UnsupportedMediaType(ServiceError):
    code, title, status = "unsupported_media_type", "The body must be of another kind", 415


class Unauthenticated(ServiceError):
    code, title, status = "unauthenticated", "A good key is needed", 401


class Forbidden(ServiceError):
    code, title, status = "forbidden", "The key's scopes do not allow it", 403


class NotFound(ServiceError):
    code, title, status = "not_found", "Not found", 404


class Gone(NotFound):
    code, title, status = "gone", "Deleted", 410


class Unreadable(NotFound):
    code, title = "unreadable", "Cannot be read"


class Conflict(ServiceError):
    code, title, status = "conflict", "Not possible in the present state", 409


class LimitReached(ServiceError):
    code, title, status, retryable = "limit_reached", "A limit is reached", 429, True


class QueueFull(LimitReached):
    code, title = "queue_full", "The queue is full"


class TooManyUnfinished(LimitReached):
    code, title = "too_many_unfinished", "Too many jobs that have not ended"


class TooMuchKept(LimitReached):
    code, title = "too_much_kept", "Too much is kept"


class TooFast(LimitReached):
    code, title = "too_fast", "Submitted too fast"


class TooManyStreams(LimitReached):
    code, title = "too_many_streams", "Too many event streams"


class PlanningFailed(ServiceError):
    code, title, status = "planning_failed", "No valid plan came of this prompt", 422


class NotEnglish(PlanningFailed):
    code, title = "not_english", "The prompt is not in English"


class NothingToDraw(PlanningFailed):
    code, title = "nothing_to_draw", "The prompt names nothing to draw"


class RenderingFailed(ServiceError):
    code, title = "rendering_failed", "The video could not be rendered"


class WeightsMissing(RenderingFailed):
    code, title = "weights_missing", "The backbone's weights are not on this machine"


class OutOfMemory(RenderingFailed):
    code, title = "out_of_memory", "The device has too little memory for this job"


class Unavailable(ServiceError):
    code, title, status, retryable = "unavailable", "A part of the service is unavailable", 503, True


class DiskFull(Unavailable):
    code, title = "disk_full", "A disk is full"


class LanguageModelUnavailable(Unavailable):
    code, title = "language_model_unavailable", "The language model is unavailable"


class PlannerUnavailable(Unavailable):
    code, title = "planner_unavailable", "The planner is unavailable"


class StorageUnavailable(Unavailable):
    code, title = "storage_unavailable", "The object storage is unavailable"


def violations_of(errors: ValidationError | Sequence[dict[str, Any]]) -> tuple[Violation, ...]:
    """Pydantic's errors (or FastAPI's list of them) as violations; FastAPI's leading "body" is left out."""
    if isinstance(errors, ValidationError):
        if (count := errors.error_count()) > MAXIMUM_ERRORS:
            return (Violation(field="", message=f"{count} mistakes, too many to name"),)
        # Without the inputs: each would be all of a large body once more.
        listed = cast(
            list[dict[str, Any]], errors.errors(include_url=False, include_context=False, include_input=False)
        )
        # A list whose first item is wrong is read no further, and so is too short as well.
        inside = [(), *(error["loc"] for error in listed)]
        errors = [
            error
            for error, before in zip(listed, inside, strict=False)
            if error["type"] != "too_short" or before[: len(error["loc"])] != error["loc"]
        ]
    violations = []
    for error in errors[:MAXIMUM_VIOLATIONS]:
        path = [_printable(str(part)) for part in error["loc"]]
        if path and path[0] in ("body", "query", "path"):
            path = path[1:]
        violations.append(Violation(field=".".join(path), message=error["msg"].removeprefix("Value error, ")))
    return tuple(violations)


def _printable(name: str) -> str:
    """A client's field name: cut, and without lone surrogates, which JSON in UTF-8 cannot hold."""
    return name[:MAXIMUM_NAME_CHARACTERS].encode(errors="replace").decode()


def invalid_request(errors: ValidationError | Sequence[dict[str, Any]]) -> InvalidRequest:
    """All of pydantic's errors as one."""
    violations = violations_of(errors)
    detail = "; ".join(f"{v.field}: {v.message}" if v.field else v.message for v in violations[:3])
    return InvalidRequest(detail, violations)


@contextmanager
def validation_errors_as_invalid_request() -> Iterator[None]:
    """Raises InvalidRequest for a ValidationError inside."""
    try:
        yield
    except ValidationError as error:
        raise invalid_request(error) from error
