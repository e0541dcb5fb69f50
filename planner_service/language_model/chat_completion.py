"""What is in the body of a chat completion, as servers really write it.

    the body                                                    what comes of it
    content: text, or a list of parts                           the text; of parts, those of text joined
    an error in place of choices, finish_reason "error"         NoCompletion, worth another try
    a refusal, finish_reason "content_filter"                   Refusal
    content: null or blank, whatever else there is              NoCompletion that names it
    not JSON, no choices, no message                            NoCompletion

A text that should be one JSON object may come with a byte order mark, thoughts in <think>, a fence or prose around it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

QUOTED_CHARACTERS = 300

OBJECT_START = re.compile(r'\{\s*["}]')
THOUGHTS_END = "</think>"


@dataclass(frozen=True)
class ChatCompletion:
    text: str
    finish_reason: str
    prompt_tokens: int
    """As the server counts them; 0 where it does not say, or says nonsense."""
    completion_tokens: int


class NoCompletion(Exception):
    """The server has answered 200, but not with a completion.  `again`: another try may well give one."""

    def __init__(self, said: str, again: bool = False) -> None:
        super().__init__(said)
        self.again = again


class Refusal(Exception):
    """The model, or a filter of its server's, does not want to."""


def chat_completion(body: bytes) -> ChatCompletion:
    """The first choice.  Raises NoCompletion and Refusal."""
    try:
        answer = json.loads(body)
        if said := answer.get("error") or (answer.get("object") == "error" and answer):
            raise NoCompletion(f"answered with an error: {_quote(said)}", again=True)
        choice = answer["choices"][0]
        message, finish_reason = choice["message"], str(choice.get("finish_reason"))
        if finish_reason == "error":
            raise NoCompletion(f"answered with finish_reason error: {_quote(choice.get('error'))}", again=True)
        if refusal := message.get("refusal"):
            raise Refusal(_quote(refusal))
        if finish_reason == "content_filter":
            raise Refusal("finish_reason content_filter")
        text = _text(message["content"])
        if not text.strip():
            raise NoCompletion(f"answered with no content; {_in_place_of_content(message, finish_reason)}")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise NoCompletion("answered with no completion") from error
    usage = answer.get("usage")
    counts = [usage.get(f"{kind}_tokens") if isinstance(usage, dict) else 0 for kind in ("prompt", "completion")]
    prompt, completion = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
    return ChatCompletion(text, finish_reason, prompt, completion)


def one_object(text: str) -> str:
    """The one JSON object in a text; all of the text where there is none, or more than one."""
    said = text.rpartition(THOUGHTS_END)[2]
    if (start := OBJECT_START.search(said)) is None:
        return said
    try:
        _, end = json.JSONDecoder().raw_decode(said, start.start())
    except (ValueError, RecursionError):
        return said[start.start() :]
    return said[start.start() : end] if OBJECT_START.search(said, end) is None else said


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _in_place_of_content(message: dict[str, Any], finish_reason: str) -> str:
    there = [name for name in ("reasoning_content", "reasoning", "tool_calls", "function_call") if message.get(name)]
    given = f"finish_reason {finish_reason}" + "".join(f", but {name}" for name in there[:1])
    return f"{given}; is a reasoning parser or a tool parser on?" if there or finish_reason == "tool_calls" else given


def _quote(said: Any) -> str:
    return (said if isinstance(said, str) else json.dumps(said))[:QUOTED_CHARACTERS]
