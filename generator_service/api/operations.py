"""Is this process alive, and could a job that is submitted now be done?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter

from generator_service.api.parts import Parts, UseParts
from generator_service.api.problems import problem_responses
from generator_service.contract.answers import Health, QueueLoad, Readiness
from generator_service.jobs.queue_load import queue_loads
from shared.errors import ServiceError, Unavailable, Violation

router = APIRouter(tags=["operations"])


@router.get("/health", summary="Alive?")
async def health() -> Health:
    """200 as long as the process answers; it looks at nothing else, and needs no thread that something may hold."""
    return Health()


@router.get("/ready", summary="Ready for jobs?", responses=problem_responses(Unavailable))
def ready(parts: UseParts) -> Readiness:
    """200 if every part that a job needs is there; else 503, each missing part as a violation.

    One live render worker is enough, whichever backbone it holds.  `backbones` names those that have a worker; a job
    for another one waits until somebody starts a worker for it.
    """
    if absent := find_missing(parts):
        raise Unavailable("not ready: " + "; ".join(f"{v.field}: {v.message}" for v in absent), absent)
    backbones = {info.backbone for info in parts.workers.alive() if info.backbone is not None}
    return Readiness(parts=tuple(_checks(parts)), backbones=tuple(sorted(backbones)))


def find_missing(parts: Parts) -> list[Violation]:
    """What a job needs and is not there, and why."""
    checks = _checks(parts)
    with ThreadPoolExecutor(len(checks)) as pool:  # together they take as long as the slowest
        messages = dict(zip(checks, pool.map(_error_message, checks.values()), strict=True))
    return [Violation(field=part, message=message) for part, message in messages.items() if message is not None]


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
