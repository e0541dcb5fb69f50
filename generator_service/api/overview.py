"""Everything at a glance, for those who run the service: everybody's jobs."""

from datetime import UTC, datetime

from fastapi import APIRouter

from generator_service.api.caller import UseCaller
from generator_service.api.health import missing
from generator_service.api.wiring import UseParts
from generator_service.jobs.load import loads
from generator_service.jobs.outbox import Overdue
from generator_service.overview import Overview, leases, problems, worker_states
from shared.errors import Forbidden, Unavailable

router = APIRouter(tags=["operations"])


@router.get("/overview", summary="Everything at a glance")
def overview(parts: UseParts, caller: UseCaller) -> Overview:
    """Workers, the jobs they hold, queues, and what is wrong, in plain words.  For keys of scope `admin`.

    Where Redis does not answer, that is what is said, and the rest is empty; where keys are asked for it is 503, since
    none can be looked up.
    """
    if caller.sees_jobs_of is not None:
        raise Forbidden("the overview shows everybody's jobs: it takes a key of scope admin")
    absent = missing(parts)
    now = datetime.now(UTC)
    try:
        infos = parts.workers.workers()
        workers = worker_states(infos, parts.workers.silence(info.name for info in infos))
        held = leases(parts.store.held(), infos)
        queues = dict(loads(parts.store, parts.delivery, now))
        counts = parts.store.counts()
        webhooks = parts.outbox.overdue(now)
    except Unavailable:
        workers, held, queues, counts, webhooks = (), (), {}, {}, Overdue(events=0, oldest_seconds=None)
    told = tuple(problems(absent, workers, held, queues, webhooks))
    return Overview(at=now, problems=told, workers=workers, leases=held, queues=queues, jobs=counts, webhooks=webhooks)
