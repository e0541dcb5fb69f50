"""Any OpenAI-compatible server as "messages in, one valid schema out".

Structured output goes by `response_format` with a JSON schema, which vLLM and llama.cpp honour; the answer is
checked all the same, for it can be cut off, and can say what a schema cannot forbid.

What can go wrong is in `failures`; a BadAnswer is worth a repair, which the planner asks for.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, TypedDict, TypeVar

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from planner_service.language_model.chat_completion import (
    QUOTED_CHARACTERS,
    ChatCompletion,
    NoCompletion,
    Refusal,
    chat_completion,
    one_object,
)
from planner_service.language_model.circuit import Circuit, CircuitOpen
from planner_service.language_model.completion import Completion, Outcome
from planner_service.language_model.failures import LeftAlone, Status, is_failure, is_worth_a_retry, named_error
from planner_service.language_model.readiness import Readiness
from planner_service.language_model.retry_after import Pause, retry_after
from shared.errors import LanguageModelUnavailable, PlanningFailed, Violation, violations_of
from telemetry.tracing import trace_client

CONNECT_SECONDS = 5.0
MAXIMUM_TOKENS = 4096
MAXIMUM_BYTES = 1024 * 1024
"""Of a server's answer, thoughts included."""
ATTEMPTS = 3
FAILURES = 5
"""So many in a row, and the server is left alone for `REST_SECONDS`."""
REST_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 5.0
"""A Retry-After that is longer is the caller's to wait for."""
PATIENCE_SECONDS = 600.0
"""A server that wants to be left alone for longer is asked again all the same."""
READY_SECONDS = 10.0
"""The longest that it may take to be told whether the server is ready."""
FRESH_SECONDS = 10.0
"""For so long a server that took a schema counts as ready, and one that did not as not."""

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


class Ready(BaseModel):
    """What readiness is asked for: something that no model answers of its own accord."""

    state: Literal["ready"]


class TakesNoSchema(LanguageModelUnavailable):
    """The server refuses `response_format`, or ignores it."""


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
        fresh_seconds: float = FRESH_SECONDS,
        on_completion: Callable[[Completion], None] = lambda _: None,
    ) -> None:
        """`seconds`: the longest one completion may take, waiting for one of the `connections` and retries included;
        `tokens`: the longest it may be; `retry_seconds`: the wait before the first retry; `fresh_seconds`: for how long
        readiness is not asked for again; `on_completion` hears how each one went."""
        self.model = model
        self._tokens = tokens
        self._seconds = seconds
        self._ready_seconds = min(READY_SECONDS, seconds)
        self._retry_seconds = retry_seconds
        self._longest_wait = min(LONGEST_WAIT_SECONDS, seconds / ATTEMPTS)
        self._circuit = circuit or Circuit(FAILURES, REST_SECONDS)
        self._pause = Pause(PATIENCE_SECONDS)
        self._readiness = Readiness(self._require_schemas, fresh_seconds)
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
        self,
        messages: Sequence[Message],
        answer: type[Schema],
        seed: int,
        schema: dict[str, Any] | None = None,
        derive: Callable[[Any], Any] = lambda written: written,
    ) -> Schema:
        """The model's answer, at temperature 0; `schema` may be narrower than the answer's own, and `derive` fills in,
        in the JSON as it was written, what follows from the rest.

        Raises BadAnswer, LanguageModelUnavailable or PlanningFailed.
        """
        try:
            made = self._answer(messages, answer, seed, schema, derive, seconds=self._seconds)
        except (BadAnswer, PlanningFailed):
            self._blame_the_server()
            raise
        self._readiness.record()
        return made

    def check(self) -> None:
        """Raises LanguageModelUnavailable unless the server completes a few tokens as a schema says; asks seldom."""
        self._readiness.check()

    def _answer(
        self,
        messages: Sequence[Message],
        answer: type[Schema],
        seed: int,
        schema: dict[str, Any] | None = None,
        derive: Callable[[Any], Any] = lambda written: written,
        *,
        seconds: float,
    ) -> Schema:
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
        completion = self._portal.call(self._completion, body, seconds)
        if completion.finish_reason == "length":
            reason = Violation(field="", message=f"the answer was cut off at {self._tokens} tokens: be shorter")
            raise BadAnswer("", [reason])
        text = one_object(completion.text)
        try:
            return answer.model_validate_json(json.dumps(derive(from_json(text))))
        except ValidationError as error:
            raise BadAnswer(text, violations_of(error)) from error
        except ValueError as error:
            raise BadAnswer(text, [Violation(field="", message=f"Invalid JSON: {error}")]) from error

    def _require_schemas(self) -> None:
        """Raises TakesNoSchema; LanguageModelUnavailable where it cannot be told."""
        try:
            self._answer([{"role": "user", "content": "Say hello."}], Ready, 0, seconds=self._ready_seconds)
        except BadAnswer as bad:
            if not bad.text:
                raise LanguageModelUnavailable(f"the language model is not ready: {bad}") from bad
            quoted = bad.text[:QUOTED_CHARACTERS]
            raise TakesNoSchema(f"the language model's server ignores response_format: {quoted!r}") from bad
        except PlanningFailed as failed:
            raise TakesNoSchema(failed.detail) from failed

    def _blame_the_server(self) -> None:
        """Raises TakesNoSchema where no prompt would do."""
        try:
            self._readiness.check()
        except TakesNoSchema:
            raise
        except LanguageModelUnavailable:
            return

    async def _completion(self, body: dict[str, Any], seconds: float) -> ChatCompletion:
        """The first choice; the circuit hears how it went."""
        try:
            self._circuit.enter()
        except CircuitOpen as error:
            raise LanguageModelUnavailable(
                f"the language model is left alone: {error}", retry_after=math.ceil(error.seconds)
            ) from error
        begin = time.perf_counter()
        try:
            with anyio.fail_after(seconds):
                completion = await self._post(body)
        except (TimeoutError, httpx.HTTPError, Status, LeftAlone, NoCompletion, Refusal) as error:
            match is_failure(error):
                case True:
                    self._circuit.record_failure()
                case False:
                    self._circuit.record_success()  # it is there, and says what it wants
            named = named_error(error)
            outcome: Outcome = "unavailable" if isinstance(named, LanguageModelUnavailable) else "refused"
            self._on_completion(Completion(outcome, time.perf_counter() - begin))
            raise named from error
        self._circuit.record_success()
        took = time.perf_counter() - begin
        self._on_completion(Completion("answered", took, completion.prompt_tokens, completion.completion_tokens))
        return completion

    async def _post(self, body: dict[str, Any]) -> ChatCompletion:
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: is_worth_a_retry(error, self._longest_wait)),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=self._retry_seconds, max=5.0, jitter=self._retry_seconds),
            reraise=True,
        )
        return await retrying(self._post_once, body)

    async def _post_once(self, body: dict[str, Any]) -> ChatCompletion:
        while (remaining := self._pause.remaining) > 0.0:
            if remaining > self._longest_wait:
                raise LeftAlone(remaining)
            await anyio.sleep(remaining)
        async with self._client.stream("POST", "chat/completions", json=body) as response:
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAXIMUM_BYTES:
                    raise NoCompletion(f"answered with no completion, but more than {MAXIMUM_BYTES} bytes")
        if response.is_success:
            return chat_completion(bytes(content))
        if response.status_code in (429, 503) and (seconds := retry_after(response.headers)) is not None:
            self._pause.ask(seconds)
        raise Status(response.status_code, content.decode(errors="replace"), self._pause.remaining)
