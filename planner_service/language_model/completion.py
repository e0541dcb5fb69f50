"""How a call of the language model went, for whoever counts."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["answered", "unavailable", "refused"]
"""`refused`: the server does not take this request."""


@dataclass(frozen=True)
class Completion:
    """Retries included."""

    outcome: Outcome
    seconds: float
    prompt_tokens: int = 0
    """As the server counts them; 0 where it does not say."""
    completion_tokens: int = 0
