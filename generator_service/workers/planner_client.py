"""The planner as its worker sees it: a prompt in, a valid plan out, or the error that the job will show."""

from types import TracebackType
from typing import Any, Final, Self

import httpx
import structlog
from pydantic import SecretStr, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from generator_service.jobs.record import JobRecord
from shared.errors import (
    InvalidRequest,
    LanguageModelUnavailable,
    PlannerUnavailable,
    PlanningFailed,
    Problem,
    ServiceError,
)
from shared.plan import Plan
from telemetry.request_id import HEADER
from telemetry.tracing import trace_client

CONNECT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 600.0
"""For how long a planner that is gone, or whose language model is, is asked again."""
FIRST_PAUSE_SECONDS: Final = 0.5
"""Between the first attempt and the second; each later pause is twice as long."""
LONGEST_PAUSE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)

_ERRORS: Final[dict[str, type[ServiceError]]] = {
    error.code: error for error in (InvalidRequest, LanguageModelUnavailable, PlannerUnavailable, PlanningFailed)
}
"""What the planner may say that a job's owner should read as it is."""


class PlannerClient:
    """Closes its connections at the end of a `with` block."""

    def __init__(
        self,
        url: str,
        timeout: float,
        patience: float = PATIENCE_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
        token: SecretStr | None = None,
    ) -> None:
        """timeout: seconds that one plan may take.  patience: seconds after which no further attempt begins.  token:
        the planner's, where it asks for one."""
        self._timeout = timeout
        limits = httpx.Timeout(timeout, connect=CONNECT_SECONDS)
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        # No proxy between our own parts.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=limits, trust_env=False)
        trace_client(self._http)
        self._retrying = Retrying(
            retry=retry_if_exception_type((PlannerUnavailable, LanguageModelUnavailable)),
            stop=stop_after_delay(patience),
            before_sleep=_say_so,
            wait=wait_exponential(multiplier=first_pause, max=LONGEST_PAUSE_SECONDS),
            reraise=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def plan(self, record: JobRecord) -> Plan:
        """Tries again where the planner cannot be reached or is not ready; not where a plan took too long.

        Raises what the planner answered (PlanningFailed and InvalidRequest with their violations,
        LanguageModelUnavailable), or PlannerUnavailable.
        """
        settings = record.settings
        order = {
            "prompt": record.prompt,
            "frames": settings.frames,
            "width": settings.width,
            "height": settings.height,
            "planner": record.planner,
            "seed": settings.seed,
        }
        try:
            return self._retrying(self._ask, order, {} if record.request_id is None else {HEADER: record.request_id})
        except httpx.ReadTimeout as error:
            raise PlannerUnavailable(f"no plan within {self._timeout:g} seconds") from error

    def _ask(self, order: dict[str, Any], headers: dict[str, str]) -> Plan:
        try:
            response = self._http.post("/plans", json=order, headers=headers)
        except httpx.ReadTimeout:
            raise
        except httpx.TransportError as error:
            raise PlannerUnavailable("the planner does not answer") from error
        if not response.is_success:
            raise _error(response)
        try:
            plan = Plan.model_validate_json(response.content)
        except ValidationError as error:
            raise PlanningFailed("the planner answered with something that is no valid plan") from error
        if plan.frames != order["frames"]:
            raise PlanningFailed(f"the plan has {plan.frames} frames, but the job needs {order['frames']}")
        return plan


def _say_so(attempt: RetryCallState) -> None:
    assert attempt.outcome is not None  # noqa: S101  (it has failed)
    error = attempt.outcome.exception()
    log.warning("planner_waited_for", reason=str(error), attempts=attempt.attempt_number)


def _error(response: httpx.Response) -> ServiceError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = None
    if problem is not None and problem.code in _ERRORS:
        return _ERRORS[problem.code](problem.detail, problem.violations)
    if response.status_code in (429, 502, 503, 504):
        return PlannerUnavailable("the planner is not ready")
    return PlanningFailed(f"the planner answered with status {response.status_code}")
