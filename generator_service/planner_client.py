"""The planner as workers and API see it: a prompt in, a valid plan out, or the error that the job will show."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from generator_service.contract.answers import ExplainedPlan
from generator_service.jobs.record import JobRecord
from shared.errors import (
    InvalidRequest,
    LanguageModelUnavailable,
    NotEnglish,
    NothingToDraw,
    PlannerUnavailable,
    PlanningFailed,
    Problem,
    ServiceError,
)
from shared.plan import Plan
from shared.wire import WireModel
from telemetry.request_id import HEADER
from telemetry.tracing import trace_client

CONNECT_SECONDS: Final = 5.0
FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(seconds=10)
MAXIMUM_BYTES: Final = 4 * 1024 * 1024
"""Of an answer; the largest plan there can be has half of that."""
LOOK_SECONDS: Final = 0.5
"""While the planner thinks, it is asked so often whether the plan is still wanted."""

_ERRORS: Final[dict[str, type[ServiceError]]] = {
    error.code: error
    for error in (
        InvalidRequest,
        LanguageModelUnavailable,
        PlannerUnavailable,
        PlanningFailed,
        NotEnglish,
        NothingToDraw,
    )
}
"""What the planner may say that a job's owner should read as it is."""


A = TypeVar("A", bound=WireModel)


class PlannerGone(Exception):
    """The planner, or its language model, cannot be reached or is not ready: another time it may be."""

    def __init__(self, reason: PlannerUnavailable | LanguageModelUnavailable) -> None:
        super().__init__(reason.detail)
        self.reason = reason

    def pause(self, waited: timedelta, patience: timedelta) -> timedelta:
        """Before the next try: as long as the job has waited already, within limits, or as the planner says.

        Where patience ends first, the last try is too early; the planner then answers without its language model.
        """
        usual = min(max(waited, FIRST_PAUSE), LONGEST_PAUSE)
        said = timedelta(seconds=self.reason.retry_after or 0)
        return max(usual, min(said, patience - waited))


class PlannerClient:
    def __init__(self, url: str, timeout: float, token: SecretStr | None = None) -> None:
        """timeout: seconds that one plan may take, to its last byte.  token: the planner's, where it asks for one."""
        self._url = url
        self._timeout = timeout
        self._token = token
        self._certificates = httpx.create_ssl_context(trust_env=False)

    def plan(self, record: JobRecord, while_thinking: Callable[[], None] = lambda: None) -> Plan:
        """Asks once.

        `while_thinking` is called every `LOOK_SECONDS`; whatever it raises breaks the connection off, and is raised.
        Else raises PlannerGone, whose reason may say in `retry_after` when to ask again, what the planner answered
        (PlanningFailed and InvalidRequest with their violations), or PlannerUnavailable where the plan took too long.
        """
        try:
            return asyncio.run(self._plan(record, while_thinking))
        except (PlannerUnavailable, LanguageModelUnavailable) as reason:
            if isinstance(reason.__cause__, TimeoutError):
                raise
            raise PlannerGone(reason) from reason

    async def explained(self, record: JobRecord) -> ExplainedPlan:
        """The same plan with the planner's reasons, asked for once.

        Raises what the planner answered, or PlannerUnavailable where it cannot be reached or takes too long.
        """
        async with self._connected(record.request_id) as http:
            explained = await self._ask(http, record, ExplainedPlan, {"explain": "true"})
        return explained.model_copy(update={"plan": _checked(explained.plan, record)})

    async def _plan(self, record: JobRecord, while_thinking: Callable[[], None]) -> Plan:
        async with self._connected(record.request_id) as http:
            asking: asyncio.Future[Plan] = asyncio.ensure_future(self._ask(http, record, Plan))
            try:
                while not (await asyncio.wait({asking}, timeout=LOOK_SECONDS))[0]:
                    while_thinking()
            finally:
                asking.cancel()
            return _checked(asking.result(), record)

    @asynccontextmanager
    async def _connected(self, request_id: str | None) -> AsyncIterator[httpx.AsyncClient]:
        limits = httpx.Timeout(None, connect=CONNECT_SECONDS)
        headers = {} if request_id is None else {HEADER: request_id}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        # No proxy between our own parts.
        client = httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=limits, verify=self._certificates, trust_env=False
        )
        trace_client(client)
        async with client as http:
            yield http

    async def _ask(
        self, http: httpx.AsyncClient, record: JobRecord, kind: type[A], params: dict[str, str] | None = None
    ) -> A:
        settings = record.settings
        order: dict[str, Any] = {
            "prompt": record.prompt,
            "frames": settings.frames,
            "width": settings.width,
            "height": settings.height,
            "planner": record.planner,
            "seed": settings.seed,
        }
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout),
                http.stream("POST", "/plans", json=order, params=params) as response,
            ):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAXIMUM_BYTES:
                        raise PlanningFailed(f"the planner answered with more than {MAXIMUM_BYTES} bytes")
        except TimeoutError as error:
            raise PlannerUnavailable(f"no plan within {self._timeout:g} seconds") from error
        except httpx.TransportError as error:
            raise PlannerUnavailable("the planner does not answer") from error
        if not response.is_success:
            raise _error(response, bytes(body))
        try:
            return kind.model_validate_json(bytes(body))
        except ValidationError as error:
            raise PlanningFailed("the planner answered with something that is no valid plan") from error


def _checked(plan: Plan, record: JobRecord) -> Plan:
    if plan.prompt != record.prompt:
        raise PlanningFailed("the planner answered with the plan of another prompt")
    if plan.frames != record.settings.frames:
        raise PlanningFailed(f"the plan has {plan.frames} frames, but the job needs {record.settings.frames}")
    return plan


def _error(response: httpx.Response, body: bytes) -> ServiceError:
    wait = response.headers.get("Retry-After", "")
    retry_after = int(wait) if wait.isdecimal() and len(wait) < 10 else None
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        problem = None
    if problem is not None and problem.code in _ERRORS:
        return _ERRORS[problem.code](problem.detail, problem.violations, retry_after)
    if response.status_code == 401:  # one of the two has been given another token, and the other not yet
        return PlannerUnavailable("the planner refuses this worker's token")
    if response.status_code in (429, 502, 503, 504):
        return PlannerUnavailable("the planner is not ready", retry_after=retry_after)
    return PlanningFailed(f"the planner answered with status {response.status_code}")
