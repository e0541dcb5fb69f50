"""Is this process alive, and could a job that is submitted now be done?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request

from generator_service.api.parts import Parts, UseParts
from generator_service.api.problems import problem_responses
from generator_service.contract.answers import Health, QueueLoad, Readiness
from generator_service.jobs.queue_load import queue_loads
from shared.errors import ServiceError, Unavailable, Violation

router = APIRouter(tags=["operations"])


@dataclass(frozen=True)
class PartsLook:
    missing: tuple[Violation, ...]
    """What a job needs and is not there, and why."""
    backbones: tuple[str, ...]
    """Those that have a worker."""


class PartsLooker:
    """Of one event loop.  Those who ask at the same time share one look, in threads of its own: a part that hangs, and
    anybody who asks for it a hundred times, keeps no other request waiting."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(8)
        self._looking: asyncio.Task[PartsLook] | None = None

    async def look(self, parts: Parts) -> PartsLook:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(parts))
        return await asyncio.shield(self._looking)  # whoever goes away leaves it to the others

    async def _look(self, parts: Parts) -> PartsLook:
        checks = _checks(parts)
        backbones, messages = await asyncio.gather(  # together they take as long as the slowest
            run_sync(_backbones, parts, limiter=self._threads),
            asyncio.gather(*(run_sync(_error_message, check, limiter=self._threads) for check in checks.values())),
        )
        told = zip(checks, messages, strict=True)
        return PartsLook(
            tuple(Violation(field=part, message=text) for part, text in told if text is not None), backbones
        )


async def look_at_parts(request: Request, parts: UseParts) -> PartsLook:
    looker: PartsLooker = request.app.state.looker
    return await looker.look(parts)


UseLook = Annotated[PartsLook, Depends(look_at_parts)]


@router.get("/health", summary="Alive?")
async def health() -> Health:
    """200 as long as the process answers; it looks at nothing else, and needs no thread that something may hold."""
    return Health()


@router.get("/ready", summary="Ready for jobs?", responses=problem_responses(Unavailable))
async def ready(parts: UseParts, look: UseLook) -> Readiness:
    """200 if every part that a job needs is there; else 503, each missing part as a violation.

    One live render worker is enough, whichever backbone it holds.  `backbones` names those that have a worker; a job
    for another one waits until somebody starts a worker for it.
    """
    if look.missing:
        detail = "; ".join(f"{each.field}: {each.message}" for each in look.missing)
        raise Unavailable(f"not ready: {detail}", look.missing)
    return Readiness(parts=tuple(_checks(parts)), backbones=look.backbones)


def _checks(parts: Parts) -> dict[str, Callable[[], object]]:
    """Each returns where its part is there, and raises a ServiceError where it is not."""

    def worker(kind: str) -> None:
        if all(info.kind != kind for info in parts.workers.alive()):
            raise Unavailable(f"no {kind} worker is alive")

    return {
        "redis": parts.store.check,
        "storage": parts.objects.check,
        "planner": parts.planner.check,
        "plan_worker": lambda: worker("plan"),
        "render_worker": lambda: worker("render"),
    }


def _backbones(parts: Parts) -> tuple[str, ...]:
    try:
        return tuple(sorted({info.backbone for info in parts.workers.alive() if info.backbone is not None}))
    except Unavailable:
        return ()


def _error_message(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ServiceError as error:
        return error.detail
    return None


@router.get("/load", summary="How much there is to do", responses=problem_responses(Unavailable))
def load(parts: UseParts) -> dict[str, dict[str, QueueLoad]]:
    """By kind of worker and by backbone, to scale workers on: `{"plan": {"any": …}, "render": {"emoji-world": …}}`.

    A job that a worker has is in no queue any more, so that scaling on the queues alone would stop busy workers.
    """
    by_kind: dict[str, dict[str, QueueLoad]] = {"plan": {}, "render": {}}
    for name, queue in queue_loads(parts.store).items():
        kind, _, backbone = name.partition(".")
        by_kind[kind][backbone or "any"] = queue
    return by_kind
