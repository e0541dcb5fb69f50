"""Who calls: the owner of what is submitted, and how far the caller's key reaches; and about which job.

Where keys are required, every route but those of `OPEN_ROUTERS` in `app.py` depends on `require_scope`; a route with
`VisibleJob` among its parameters sees the caller's own jobs alone.

All of them are coroutines, which need no thread; key and job are read in one round trip.
"""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import uuid4

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from generator_service.api.parts import Parts
from generator_service.contract.job import JOB_ID, JobId
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import KeyRecord, ReadTicket, Scope
from generator_service.jobs.rate import Quota
from generator_service.jobs.reading import NOTHING, Found, Look
from shared.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated, Violation

_BELOW_A_JOB: Final = "/jobs/{job_id}/"
"""Where the URLs of what is read may hold a ticket in place of a key."""
_READING: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Caller:
    owner: str
    """Stays the same while keys are rotated."""
    scopes: frozenset[Scope] = frozenset()
    key: KeyRecord | None = None
    """None where no keys are asked for."""

    @property
    def sees_jobs_of(self) -> str | None:
        """Whose jobs there are for this caller; None: everybody's."""
        return None if Scope.ADMIN in self.scopes else self.owner

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def ticket(self, job_id: str) -> str:
        """The query of a URL below the job, for whoever has it; empty where no keys are asked for."""
        if self.key is None:
            return ""
        until = (int(time.time()) // TICKET_SECONDS + 2) * TICKET_SECONDS
        return f"?ticket={ReadTicket.sign(self.key, job_id, until).text}"


TICKET_SECONDS: Final = 900
"""A ticket is good for this long at least, and stays the same meanwhile: another URL would be loaded again."""

ANYONE: Final = Caller(owner="anyone", scopes=frozenset(Scope))
"""Where no keys are asked for."""

BEARER: Final = HTTPBearer(
    scheme_name="key",
    bearerFormat="mfv_<id>_<secret>",
    description="Where the service requires keys.  Scope `read` is for GET and `submit` for everything else, with jobs "
    "of the key's owner; `admin` is for both, with everybody's jobs.",
    auto_error=False,
)


@dataclass(frozen=True)
class _Access:
    caller: Caller
    job: Found
    """What there is of the job in the path, and when."""


async def _authenticate(request: Request, _documented: Annotated[object, Depends(BEARER)] = None) -> _Access:
    """Raises Unauthenticated."""
    return await _ask(request)


async def _ask(request: Request, *, submits: bool = False) -> _Access:
    """submits: the request is counted as a submission.  Raises Unauthenticated."""
    parts: Parts = request.app.state.parts
    job_id = request.path_params.get("job_id", "")
    if re.fullmatch(JOB_ID, job_id) is None:
        job_id = ""
    if not parts.require_keys:
        asks = job_id != "" or submits
        found = await parts.reader.find(job_id, submits=ANYONE.owner if submits else "") if asks else NOTHING
        return _Access(ANYONE, found)
    scheme, _, key_text = request.headers.get("Authorization", "").partition(" ")
    has_key = scheme.lower() == "bearer" and key_text != ""
    may_hold_ticket = request.method in _READING and request.scope["route"].path.startswith(_BELOW_A_JOB)
    ticket = request.query_params.get("ticket") if may_hold_ticket else None
    if not has_key and ticket is None:
        raise Unauthenticated("give a key in the header Authorization: Bearer mfv_<id>_<secret>")
    proof = ApiKey.parse(key_text.strip()) if has_key else ReadTicket.parse(ticket or "", job_id)
    key, job = await parts.reader.find_as(proof, job_id, submits=submits)
    return _Access(Caller(key.owner, frozenset(key.scopes), key), job)


_UseAccess = Annotated[_Access, Depends(_authenticate)]


async def _caller(asked: _UseAccess) -> Caller:
    return asked.caller


UseCaller = Annotated[Caller, Depends(_caller)]


async def require_scope(request: Request, asked: _UseAccess) -> None:
    """Raises Unauthenticated and Forbidden."""
    needed = Scope.READ if request.method in _READING else Scope.SUBMIT
    request.state.caller = asked.caller
    if not asked.caller.may(needed):
        raise Forbidden(f"{request.method} needs a key with the scope '{needed}'")


_JobPath = Annotated[JobId, Path(description="The job's id: 32 hexadecimal digits.", examples=[uuid4().hex])]


async def job_in_path(job_id: _JobPath, asked: _UseAccess) -> Look:
    """Somebody else's job is answered as one that does not exist."""
    owner = asked.caller.sees_jobs_of
    look = asked.job.look()
    if owner is not None and look.record.owner != owner:
        raise NotFound(f"there is no job '{job_id}'")
    return look


VisibleJob = Annotated[Look, Depends(job_in_path)]
"""The job in the path, as it was when the request came, if the caller may know of it.  Raises NotFound."""


@dataclass(frozen=True)
class Submitter:
    caller: Caller
    at: datetime
    """When, by Redis' clock."""
    quota: Quota


async def identify_submitter(request: Request) -> Submitter:
    """Who sends one more submission, for a `DirectRoute`.  Raises Unauthenticated, Forbidden and TooFast."""
    parts: Parts = request.app.state.parts
    asked = await _ask(request, submits=True)
    await require_scope(request, asked)
    return Submitter(asked.caller, asked.job.at, parts.rate.quota(asked.caller.owner, asked.job.counted))


async def visible_job(request: Request) -> Look:
    """The same job as `VisibleJob`, for a `DirectRoute`.  Raises Unauthenticated, Forbidden and NotFound."""
    asked = await _ask(request)
    await require_scope(request, asked)
    job_id = request.path_params["job_id"]
    if not asked.job.job_id:
        raise InvalidRequest(
            "job_id: 32 hexadecimal digits", [Violation(field="job_id", message=f"must match {JOB_ID}")]
        )
    return await job_in_path(job_id, asked)
