"""Any OpenAI-compatible server as "messages in, one valid schema out".

Structured output goes by `response_format` with a JSON schema, which vLLM and llama.cpp honour; the answer is
checked all the same, for it can be cut off, and can say what a schema cannot forbid.

    what happens                              what is raised
    connection refused, timeout, 5xx, 429     LanguageModelUnavailable
    401, 403, 404 (wrong key, wrong model)    LanguageModelUnavailable, with the server's words
    other 4xx (prompt too long, bad schema)   PlanningFailed, with the server's words
    a body that is no completion              LanguageModelUnavailable
    cut off at the token limit, not JSON,
    not the schema                            BadAnswer, with the violations: worth another attempt
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from shared.errors import LanguageModelUnavailable, PlanningFailed, Violation, violations_of

CONNECT_SECONDS = 5.0
MAXIMUM_TOKENS = 4096
RETRIED_STATUSES = frozenset((429, 502, 503))
MISCONFIGURED_STATUSES = frozenset((401, 403, 404))
ATTEMPTS = 3
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
    """One model on one server; safe to use from several threads."""

    def __init__(self, url: str, model: str, key: str | None, seconds: float, *, retry_seconds: float = 0.5) -> None:
        """`seconds`: the longest one completion may take; `retry_seconds`: the wait before the first retry."""
        self.model = model
        self._retry_seconds = retry_seconds
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        )

    def close(self) -> None:
        self._client.close()

    def complete(self, messages: Sequence[Message], schema: type[Schema], seed: int) -> Schema:
        """The model's answer; raises BadAnswer, LanguageModelUnavailable or PlanningFailed."""
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "seed": seed,
            "max_tokens": MAXIMUM_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": schema.__name__.lower(), "schema": schema.model_json_schema()},
            },
        }
        text, finish_reason = self._answer(self._post(body))
        if finish_reason == "length":
            reason = Violation(field="", message=f"the answer was cut off at {MAXIMUM_TOKENS} tokens: be shorter")
            raise BadAnswer("", [reason])
        try:
            return schema.model_validate_json(text)
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
            self._answer(self._post(body))
        except PlanningFailed as error:
            raise LanguageModelUnavailable(error.detail) from error

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        retrying = Retrying(
            retry=retry_if_exception(_is_worth_a_retry),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=self._retry_seconds, max=5.0, jitter=self._retry_seconds),
            reraise=True,
        )
        try:
            return retrying(self._post_once, body)
        except httpx.HTTPStatusError as error:
            raise _refusal(error.response) from error
        except httpx.TimeoutException as error:
            raise LanguageModelUnavailable("the language model did not answer in time") from error
        except httpx.TransportError as error:
            raise LanguageModelUnavailable(f"the language model cannot be reached: {error}") from error

    def _post_once(self, body: dict[str, Any]) -> httpx.Response:
        response = self._client.post("chat/completions", json=body)
        response.raise_for_status()
        return response

    @staticmethod
    def _answer(response: httpx.Response) -> tuple[str, str]:
        """The first choice's text and the reason for its end."""
        try:
            choice = response.json()["choices"][0]
            return str(choice["message"]["content"]), str(choice.get("finish_reason"))
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise LanguageModelUnavailable("the language model's server answered with no completion") from error


def _is_worth_a_retry(error: BaseException) -> bool:
    """Only where the server has not begun to work, or asks to be asked again."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in RETRIED_STATUSES
    return isinstance(error, httpx.ConnectError)


def _refusal(response: httpx.Response) -> LanguageModelUnavailable | PlanningFailed:
    status = response.status_code
    said = f"the language model's server answered {status}: {response.text[:QUOTED_CHARACTERS]}"
    if status >= 500 or status in RETRIED_STATUSES or status in MISCONFIGURED_STATUSES or status < 400:
        return LanguageModelUnavailable(said)
    return PlanningFailed(said)
