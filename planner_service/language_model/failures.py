"""What goes wrong with a call of the language model, and what is made of it.

    what happens                                    what is raised                                  again?  a failure?
    no connection                                   LanguageModelUnavailable "cannot be reached"    yes     yes
    the connection breaks                           LanguageModelUnavailable "cannot be reached"    no      yes
    no whole answer in time, however it dribbles    LanguageModelUnavailable "in time"              no      yes
    429                                             LanguageModelUnavailable, the server's words    yes     no
    502, 503                                        LanguageModelUnavailable, the server's words    yes     yes
    other 5xx, 3xx                                  LanguageModelUnavailable, the server's words    no      yes
    401, 403, 404 (wrong key, wrong model)          LanguageModelUnavailable, the server's words    no      no
    other 4xx that speaks of the schema, or of a
    server that takes none                          LanguageModelUnavailable, the server's words    no      no
    other 4xx (prompt too long)                     PlanningFailed, the server's words              no      no
    200 with an error, finish_reason "error"        LanguageModelUnavailable, the server's words    yes     yes
    200 without content: tool calls, thoughts       LanguageModelUnavailable that names them        no      yes
    a body that is no completion, or is too large   LanguageModelUnavailable "no completion"        no      yes
    a refusal                                       PlanningFailed, the model's words               no      no
    before a Retry-After of 429 or 503 is over      LanguageModelUnavailable "left alone"           no      no
    too many failures in a row                      LanguageModelUnavailable "left alone"           no      no
    cut off at the token limit, not JSON,
    not the schema                                  BadAnswer, with the violations                  no      no
    the same from a server that ignores schemas     LanguageModelUnavailable "response_format"      no      no

"Again?": asked again at once, or after a short Retry-After; only where the server has not begun to work, or asks for
it.  "A failure?": counts for the circuit breaker.  A BadAnswer is worth a repair, which the planner asks for.  Where it
is known when another try makes sense, LanguageModelUnavailable says so (`retry_after`).
"""

import math
import re

import httpx

from planner_service.language_model.chat_completion import QUOTED_CHARACTERS, NoCompletion, Refusal
from shared.errors import LanguageModelUnavailable, PlanningFailed

RETRIED_STATUSES = frozenset((429, 502, 503))
MISCONFIGURED_STATUSES = frozenset((401, 403, 404))
OF_SCHEMAS = re.compile("response_format|schema|grammar", re.IGNORECASE)


class Status(Exception):
    """The server has answered, and not with success.  `retry_after`: seconds for which it is to be left alone."""

    def __init__(self, status: int, said: str, retry_after: float) -> None:
        super().__init__(f"{status}: {said[:QUOTED_CHARACTERS]}")
        self.status = status
        self.said = said
        self.retry_after = retry_after

    @property
    def is_of_the_prompt(self) -> bool:
        ours = 400 <= self.status < 500 and self.status not in RETRIED_STATUSES | MISCONFIGURED_STATUSES
        return ours and OF_SCHEMAS.search(self.said) is None


class LeftAlone(Exception):
    """The server has said that it is not to be called before so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it asks for another {seconds:.0f} s")
        self.seconds = seconds


def is_failure(error: Exception) -> bool | None:
    """None: the server has not been asked."""
    match error:
        case LeftAlone():
            return None
        case Status(status=status):
            return not 400 <= status < 500
        case _:
            return not isinstance(error, Refusal)


def named_error(error: Exception) -> LanguageModelUnavailable | PlanningFailed:
    match error:
        case Status():
            said = f"the language model's server answered {error}"
            if error.is_of_the_prompt:
                return PlanningFailed(said)
            return LanguageModelUnavailable(said, retry_after=math.ceil(error.retry_after) or None)
        case LeftAlone(seconds=seconds):
            said = f"the language model is left alone: {error}"
            return LanguageModelUnavailable(said, retry_after=math.ceil(seconds))
        case Refusal():
            return PlanningFailed(f"the language model refuses: {error}")
        case TimeoutError() | httpx.TimeoutException():
            return LanguageModelUnavailable("the language model did not answer in time")
        case NoCompletion():
            return LanguageModelUnavailable(f"the language model's server {error}")
        case httpx.DecodingError():
            return LanguageModelUnavailable("the language model's server answered with no completion")
        case _:
            return LanguageModelUnavailable(f"the language model cannot be reached: {error}")


def is_worth_a_retry(error: BaseException, longest_wait: float) -> bool:
    """Only where the server has not begun to work, or may do better; `longest_wait`: seconds, more is the caller's."""
    match error:
        case Status():
            return error.status in RETRIED_STATUSES and error.retry_after <= longest_wait
        case NoCompletion():
            return error.again
        case _:
            return isinstance(error, httpx.ConnectError)
