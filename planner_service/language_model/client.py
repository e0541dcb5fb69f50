"""Any OpenAI-compatible server as "messages in, one valid schema out".

Structured output goes by `response_format` with a JSON schema, which vLLM and llama.cpp honour; the answer is
checked all the same, for it can be cut off, and can say what a schema cannot forbid.

    what happens                                    what is raised                                  again?  a failure?
    no connection                                   LanguageModelUnavailable "cannot be reached"    yes     yes
    the connection breaks                           LanguageModelUnavailable "cannot be reached"    no      yes
    no whole answer in time, however it dribbles    LanguageModelUnavailable "in time"              no      yes
    429                                             LanguageModelUnavailable, the server's words    yes     no
    502, 503                                        LanguageModelUnavailable, the server's words    yes     yes
    other 5xx, 3xx                                  LanguageModelUnavailable, the server's words    no      yes
    401, 403, 404 (wrong key, wrong model)          LanguageModelUnavailable, the server's words    no      no
    other 4xx (prompt too long, bad schema)         PlanningFailed, the server's words              no      no
    a body that is no completion                    LanguageModelUnavailable "no completion"        no      yes
    too many failures in a row                      LanguageModelUnavailable "left alone"           no      no
    cut off at the token limit, not JSON,
    not the schema                                  BadAnswer, with the violations                  no      no

"Again?": asked again at once, only where the server has not begun to work.  "A failure?": counts for the circuit
breaker.  A BadAnswer is worth a repair, which the planner asks for.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, TypedDict, TypeVar

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from planner_service.language_model.circuit import Circuit, CircuitOpen
from planner_service.language_model.completion import Completion, Outcome
from shared.errors import LanguageModelUnavailable, PlanningFailed, Violation, violations_of
from telemetry.tracing import trace_client

CONNECT_SECONDS = 5.0
MAXIMUM_TOKENS = 4096
RETRIED_STATUSES = frozenset((429, 502, 503))
MISCONFIGURED_STATUSES = frozenset((401, 403, 404))
ATTEMPTS = 3
FAILURES = 5
"""So many in a row, and the server is left alone for `REST_SECONDS`."""
REST_SECONDS = 20.0
QUOTED_CHARACTERS = 300

Schema = TypeVar("Schema", bound=BaseModel)


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


class BadAnswer(Exception):
    """A completion that is no instance of the schema; `text` is empty where it was cut off, and too long to repeat."""

    def __init__(self, text: str, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(violation.message for violation in violations))
        self.text = text
        self.violations = tuple(violations)


class LanguageModel:
    """One model on one server, for use from any thread.

    All requests are made in one event loop, in a thread of its own: that is what lets a deadline end a request
    wherever it is, be it in the middle of a header.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None,
        seconds: float,
        *,
        tokens: int = MAXIMUM_TOKENS,
        connections: int = 8,
        retry_seconds: float = 0.5,
        circuit: Circuit | None = None,
        on_completion: Callable[[Completion], None] = lambda _: None,
    ) -> None:
        """`seconds`: the longest one completion may take, waiting for one of the `connections` and retries included;
        `tokens`: the longest it may be; `retry_seconds`: the wait before the first retry; `on_completion` hears how
        each one went."""
        self.model = model
        self._tokens = tokens
        self._seconds = seconds
        self._retry_seconds = retry_seconds
        self._circuit = circuit or Circuit(FAILURES, REST_SECONDS)
        self._on_completion = on_completion
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        trace_client(self._client)
        self._stack.callback(self._portal.call, self._client.aclose)

    def close(self) -> None:
        self._stack.close()

    def complete(
        self, messages: Sequence[Message], answer: type[Schema], seed: int, schema: dict[str, Any] | None = None
    ) -> Schema:
        """The model's answer, at temperature 0; `schema` may be narrower than the answer's own.

        Raises BadAnswer, LanguageModelUnavailable or PlanningFailed.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "seed": seed,
            "max_tokens": self._tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": answer.__name__.lower(), "schema": schema or answer.model_json_schema()},
            },
        }
        text, finish_reason = self._portal.call(self._completion, body)
        if finish_reason == "length":
            reason = Violation(field="", message=f"the answer was cut off at {self._tokens} tokens: be shorter")
            raise BadAnswer("", [reason])
        try:
            return answer.model_validate_json(text)
        except ValidationError as error:
            raise BadAnswer(text, violations_of(error)) from error

    def check(self) -> None:
        """Raises LanguageModelUnavailable unless the server completes a few tokens."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "Say yes."}],
            "temperature": 0,
            "max_tokens": 4,
        }
        try:
            self._portal.call(self._completion, body)
        except PlanningFailed as error:
            raise LanguageModelUnavailable(error.detail) from error

    async def _completion(self, body: dict[str, Any]) -> tuple[str, str]:
        """The first choice's text and the reason for its end; the circuit hears how it went."""
        try:
            self._circuit.enter()
        except CircuitOpen as error:
            raise LanguageModelUnavailable(f"the language model is left alone: {error}") from error
        begin = time.perf_counter()
        try:
            with anyio.fail_after(self._seconds):
                response = await self._post(body)
                answer = _answer(response)
        except (TimeoutError, httpx.HTTPError, _NoCompletion) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                self._circuit.succeeded()  # it is there, and says what it wants
            else:
                self._circuit.failed()
            named = _named(error)
            outcome: Outcome = "unavailable" if isinstance(named, LanguageModelUnavailable) else "refused"
            self._on_completion(Completion(outcome, time.perf_counter() - begin))
            raise named from error
        self._circuit.succeeded()
        self._on_completion(Completion("answered", time.perf_counter() - begin, *_tokens(response)))
        return answer

    async def _post(self, body: dict[str, Any]) -> httpx.Response:
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_worth_a_retry),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=self._retry_seconds, max=5.0, jitter=self._retry_seconds),
            reraise=True,
        )
        return await retrying(self._post_once, body)

    async def _post_once(self, body: dict[str, Any]) -> httpx.Response:
        response = await self._client.post("chat/completions", json=body)
        response.raise_for_status()
        return response


class _NoCompletion(Exception):
    """The body is not what an OpenAI-compatible server answers."""


def _answer(response: httpx.Response) -> tuple[str, str]:
    try:
        choice = response.json()["choices"][0]
        return str(choice["message"]["content"]), str(choice.get("finish_reason"))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _NoCompletion from error


def _tokens(response: httpx.Response) -> tuple[int, int]:
    """Of prompt and answer; 0 where the server does not say, or says nonsense."""
    usage = response.json().get("usage")
    if not isinstance(usage, dict):
        return 0, 0
    counts = [usage.get(f"{kind}_tokens") for kind in ("prompt", "completion")]
    prompt, completion = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
    return prompt, completion


def _is_worth_a_retry(error: BaseException) -> bool:
    """Only where the server has not begun to work, or asks to be asked again."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in RETRIED_STATUSES
    return isinstance(error, httpx.ConnectError)


def _named(error: Exception) -> LanguageModelUnavailable | PlanningFailed:
    match error:
        case httpx.HTTPStatusError(response=response):
            said = f"the language model's server answered {response.status_code}: {response.text[:QUOTED_CHARACTERS]}"
            ours = response.is_client_error and response.status_code not in RETRIED_STATUSES | MISCONFIGURED_STATUSES
            return PlanningFailed(said) if ours else LanguageModelUnavailable(said)
        case TimeoutError() | httpx.TimeoutException():
            return LanguageModelUnavailable("the language model did not answer in time")
        case _NoCompletion() | httpx.DecodingError():
            return LanguageModelUnavailable("the language model's server answered with no completion")
        case _:
            return LanguageModelUnavailable(f"the language model cannot be reached: {error}")
