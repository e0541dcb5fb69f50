"""Job records in Redis: the truth about every job.

    job:{id}            hash, a field of `JobRecord` each, as JSON
    job:{id}:plan       the plan, as JSON
    jobs                sorted set of all ids by time of creation
    jobs:{status}       the same, of the jobs in that status

Every change of state is one method here, atomic (WATCH/MULTI), refused with `Conflict` where `states.py` does not
allow it.  Nothing else writes these keys.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from pydantic import TypeAdapter
from redis.client import Pipeline

from generator_service.jobs.connection import answering
from generator_service.jobs.record import Diagnostics, JobError, JobRecord, Results
from generator_service.jobs.states import JobStatus, Stage
from shared.errors import Conflict, NotFound, ServiceError
from shared.plan import Plan

_FIELDS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(cast(Any, field.annotation)) for name, field in JobRecord.model_fields.items()
}

_REPORT = """
local status = redis.call('HGET', KEYS[1], 'status')
if status == '"running"' then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return status
"""
"""Only a running job's record is written: a late report must not touch a job that has ended, nor bring a deleted one
half back."""


@dataclass(frozen=True)
class Page:
    jobs: tuple[JobRecord, ...]
    """Fewer than were asked for where one is deleted at this moment."""
    next: str | None
    """What the page that follows comes after; None on the last one."""


class JobStore:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._redis = redis_client
        self._report = redis_client.register_script(_REPORT)
        self._now = now

    # reading

    def get(self, job_id: str) -> JobRecord:
        """Raises NotFound."""
        with answering():
            fields = cast(dict[str, str], self._redis.hgetall(_job(job_id)))
        return _record(job_id, fields)

    def plan(self, job_id: str) -> Plan | None:
        """The job's plan; None while there is none."""
        with answering():
            text = cast(str | None, self._redis.get(_plan(job_id)))
        return None if text is None else Plan.model_validate_json(text)

    def list(self, *, status: JobStatus | None = None, after: str | None = None, limit: int) -> Page:
        """Newest first, those that come after the job `after`, whatever its own status is by now.

        Jobs of the same microsecond are in descending order of their ids.  Raises NotFound for an unknown `after`.
        """
        key = _index(status)
        with answering():
            highest: str | float = "+inf"
            seen = 0
            if after is not None:
                score = self._redis.zscore(_index(None), after)
                if score is None:
                    raise NotFound(f"there is no job '{after}'")
                highest = score
                twins = cast(list[str], self._redis.zrangebyscore(key, score, score))
                seen = sum(twin >= after for twin in twins)
            ids = cast(list[str], self._redis.zrevrangebyscore(key, highest, "-inf", start=seen, num=limit + 1))
            here = ids[:limit]
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in here:
                pipeline.hgetall(_job(job_id))
            hashes = pipeline.execute()
        jobs = tuple(_record(job_id, fields) for job_id, fields in zip(here, hashes, strict=True) if fields)
        return Page(jobs, next=here[-1] if len(ids) > limit else None)

    def counts(self) -> dict[JobStatus, int]:
        """Jobs in each status."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for status in JobStatus:
                pipeline.zcard(_index(status))
            return dict(zip(JobStatus, pipeline.execute(), strict=True))

    # the life of a job

    def create(self, record: JobRecord, plan: Plan | None) -> None:
        """Persist a new job.  Call before enqueueing it."""
        # Microseconds since 1970 are exact in a double, and tell jobs of the same millisecond apart.
        score = round(record.created_at.timestamp() * 1_000_000)
        with answering():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hset(_job(record.id), mapping=_fields(record.model_dump(mode="json")))
            if plan is not None:
                pipeline.set(_plan(record.id), plan.model_dump_json())
            pipeline.zadd(_index(None), {record.id: score})
            pipeline.zadd(_index(record.status), {record.id: score})
            pipeline.execute()

    def start(self, job_id: str, *, worker: str, stage: Stage) -> JobRecord:
        """A worker takes a queued job.  Conflict where it was canceled meanwhile."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            return {"worker": worker, "stage": stage, "started_at": record.started_at or now, "running_since": now}

        return self._move(job_id, JobStatus.RUNNING, changes)

    def hand_over(self, job_id: str, plan: Plan, *, progress: float, seconds: float) -> JobRecord:
        """Planning is done: keep the plan, back to queued for rendering."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            return {
                "worker": None,
                "running_since": None,
                "stage": Stage.SAMPLING,
                "progress": progress,
                "diagnostics": record.diagnostics.model_copy(update={"seconds": {Stage.PLANNING.value: seconds}}),
            }

        return self._move(job_id, JobStatus.QUEUED, changes, plan=plan)

    def report(self, job_id: str, *, stage: Stage, progress: float, step: int) -> JobStatus:
        """A worker's sign of progress; answers the status, so that the worker sees a wish to cancel.

        Changes nothing unless the job is running.  Raises NotFound.
        """
        values = {"stage": stage, "progress": progress, "step": step, "updated_at": self._now().isoformat()}
        arguments = [part for pair in _fields(values).items() for part in pair]
        with answering():
            status = self._report(keys=[_job(job_id)], args=arguments)
        if status is None:
            raise NotFound(f"there is no job '{job_id}'")
        return JobStatus(json.loads(status))

    def succeed(self, job_id: str, *, results: Results, diagnostics: Diagnostics) -> JobRecord:
        """Conflict where the job is to be canceled: the wish came first."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            seconds = record.diagnostics.seconds | diagnostics.seconds
            return {
                **_ended(now),
                "progress": 1.0,
                "results": results,
                "diagnostics": diagnostics.model_copy(update={"seconds": seconds}),
            }

        return self._move(job_id, JobStatus.SUCCEEDED, changes)

    def fail(self, job_id: str, error: ServiceError, *, worker: str | None) -> JobRecord:
        """`worker` gives the job up; None: a job that no worker has.  Conflict where another worker has it."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return {**_ended(now), "error": JobError.of(error)}

        return self._move(job_id, JobStatus.FAILED, changes)

    def cancel(self, job_id: str) -> JobRecord:
        """Queued: canceled at once.  Running: `canceling`, until its worker confirms.  Otherwise nothing changes."""
        while True:
            record = self.get(job_id)
            try:
                match record.status:
                    case JobStatus.QUEUED:
                        return self._move(job_id, JobStatus.CANCELED, lambda _, now: _ended(now))
                    case JobStatus.RUNNING:
                        return self._move(job_id, JobStatus.CANCELING, lambda _record, _now: {})
                    case _:
                        return record
            except Conflict:
                continue  # it moved on between the look and the change

    def confirm_cancel(self, job_id: str, *, worker: str) -> JobRecord:
        """`worker` has let go of a job that was to be canceled.

        Conflict where nobody wished that, or where another worker has the job.
        """

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            if record.status is not JobStatus.CANCELING:
                raise Conflict(f"job '{job_id}' is {record.status}, not canceling")
            return _ended(now)

        return self._move(job_id, JobStatus.CANCELED, changes)

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended.  Raises NotFound, and Conflict while it has not."""
        status = self.get(job_id).status
        if not status.is_terminal:
            raise Conflict(f"job '{job_id}' is {status}: cancel it first")
        with answering():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.delete(_job(job_id), _plan(job_id))
            for index in (_index(None), _index(status)):
                pipeline.zrem(index, job_id)
            pipeline.execute()

    def _move(
        self,
        job_id: str,
        target: JobStatus,
        changes: Callable[[JobRecord, datetime], dict[str, Any]],
        plan: Plan | None = None,
    ) -> JobRecord:
        """Raises NotFound, and Conflict where the job's status has no such successor."""
        key = _job(job_id)
        tried: list[JobRecord] = []

        def attempt(pipeline: Pipeline) -> JobRecord:
            record = _record(job_id, cast(dict[str, str], pipeline.hgetall(key)))
            if record in tried:  # the connection broke after an earlier attempt was written and before its answer
                return record
            if target not in record.status.successors:
                raise Conflict(f"job '{job_id}' is {record.status} and cannot become {target}")
            now = self._now()
            update = {**changes(record, now), "status": target, "updated_at": now}
            moved = record.model_copy(update=update)
            tried.append(moved)
            pipeline.multi()
            pipeline.hset(key, mapping=_fields(moved.model_dump(mode="json", include=set(update))))
            if plan is not None:
                pipeline.set(_plan(job_id), plan.model_dump_json())
            pipeline.zrem(_index(record.status), job_id)
            pipeline.zadd(_index(target), {job_id: round(record.created_at.timestamp() * 1_000_000)})
            return moved

        with answering():
            return cast(JobRecord, self._redis.transaction(cast(Any, attempt), key, value_from_callable=True))


def _require_own(record: JobRecord, worker: str | None) -> None:
    """Who has handed a job over must not end it under the next one's hands.

    The other moves of a worker need no such look: while a job runs, nobody but its worker takes it from there.
    """
    if record.worker not in (None, worker):
        raise Conflict(f"job '{record.id}' is {record.status} in another worker's hands")


def _ended(now: datetime) -> dict[str, Any]:
    return {"worker": None, "running_since": None, "stage": None, "finished_at": now}


def _job(job_id: str) -> str:
    return f"job:{job_id}"


def _plan(job_id: str) -> str:
    return f"job:{job_id}:plan"


def _index(status: JobStatus | None) -> str:
    return "jobs" if status is None else f"jobs:{status}"


def _fields(values: dict[str, Any]) -> dict[Any, Any]:
    return {name: json.dumps(value) for name, value in values.items()}


def _record(job_id: str, fields: dict[str, str]) -> JobRecord:
    if "id" not in fields:
        raise NotFound(f"there is no job '{job_id}'")
    return JobRecord(**{name: _FIELDS[name].validate_json(text) for name, text in fields.items()})
