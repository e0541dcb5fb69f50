"""Who calls: the owner of what is submitted."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends


@dataclass(frozen=True)
class Caller:
    owner: str
    """Stays the same while keys are rotated."""


ANYONE: Final = Caller(owner="anyone")
"""Where no keys are asked for."""


async def _caller() -> Caller:
    return ANYONE


UseCaller = Annotated[Caller, Depends(_caller)]
