"""Who calls: the owner of what is submitted, and how far the caller's key reaches.

Where keys are required, every route but those of `OPEN_ROUTERS` in `app.py` depends on `permission`; a route with
`KnownJob` among its parameters sees the caller's own jobs alone.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from generator_service.api.wiring import UseParts
from generator_service.jobs.api_keys import Scope
from shared.errors import Forbidden, Unauthenticated

_READING: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Caller:
    owner: str
    """Stays the same while keys are rotated."""
    scopes: frozenset[Scope] = frozenset()

    @property
    def sees_jobs_of(self) -> str | None:
        """Whose jobs there are for this caller; None: everybody's."""
        return None if Scope.ADMIN in self.scopes else self.owner

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANYONE: Final = Caller(owner="anyone", scopes=frozenset(Scope))
"""Where no keys are asked for."""

BEARER: Final = HTTPBearer(
    scheme_name="key",
    bearerFormat="mfv_<id>_<secret>",
    description="Where the service requires keys.  Scope `read` is for GET and `submit` for everything else, with jobs "
    "of the key's owner; `admin` is for both, with everybody's jobs.",
    auto_error=False,
)


async def _caller(parts: UseParts, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> Caller:
    """Where nobody is asked for a key it waits for nothing, and so needs no thread."""
    if parts.keys is None:
        return ANYONE
    if given is None:
        raise Unauthenticated("give a key in the header Authorization: Bearer mfv_<id>_<secret>")
    key = await run_sync(parts.keys.verified, given.credentials)
    return Caller(key.owner, frozenset(key.scopes))


UseCaller = Annotated[Caller, Depends(_caller)]


async def permission(request: Request, caller: UseCaller) -> None:
    """Raises Unauthenticated and Forbidden.  Waits for nothing, and so needs no thread."""
    needed = Scope.READ if request.method in _READING else Scope.SUBMIT
    if not caller.may(needed):
        raise Forbidden(f"{request.method} needs a key with the scope '{needed}'")
