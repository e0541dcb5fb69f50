"""The numbers to scale workers on; like the metrics they tell of no single job."""

from datetime import UTC, datetime

from fastapi import APIRouter

from generator_service.api.problems import problem_responses
from generator_service.api.wiring import UseParts
from generator_service.jobs.load import QueueLoad, loads
from shared.errors import Unavailable

router = APIRouter(tags=["operations"])


@router.get("/load", summary="How much there is to do", responses=problem_responses(Unavailable))
def load(parts: UseParts) -> dict[str, dict[str, QueueLoad]]:
    """By kind of worker and by backbone, to scale workers on: `{"plan": {"any": …}, "render": {"emoji-world": …}}`.

    A job that a worker has is in no queue any more, so that scaling on the queues alone would stop busy workers.
    """
    by_kind: dict[str, dict[str, QueueLoad]] = {"plan": {}, "render": {}}
    for name, queue in loads(parts.store, parts.delivery, datetime.now(UTC)).items():
        kind, _, backbone = name.partition(".")
        by_kind[kind][backbone or "any"] = queue
    return by_kind
