"""Job records in Redis: the truth about every job.

    job:{id}            hash, a field of `JobRecord` each, as JSON
    job:{id}:plan       the plan, as JSON
    jobs                sorted set of all ids by time of creation
    jobs:{status}       the same, of the jobs in that status
    jobs:of:{owner}, jobs:of:{owner}:{status}   the same, of one owner's jobs
    jobs:owners         set of all who have jobs: by it a job is found whose record does not say whose it is
    jobs:put_aside:{queue}   sorted set of the ids of queued jobs that go into that queue later, by when (`retry_at`)
    jobs:ended          sorted set of the ids of those in a terminal state, by time of their end
    jobs:stored         set of the ids of jobs for which object storage may hold more than their results
    jobs:tidying        there while a round of tidying up is somebody's

Every change of state is one method here, atomic (WATCH/MULTI), refused with `Conflict` where `states.py` does not
allow it.  Nothing else writes these keys.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import redis
from pydantic import ValidationError
from pydantic_core import from_json
from redis.client import Pipeline

from generator_service.contract.job import JobError, JobStatus, Missing, Stage
from generator_service.contract.report import Diagnostics
from generator_service.jobs import outbox
from generator_service.jobs.connection import answering
from generator_service.jobs.delivery import QUEUES, queue_of
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.states import MOVES
from shared.errors import Conflict, NotFound, ServiceError, Unavailable, Unreadable
from shared.plan import Plan

_CREATE = """
local id, score, created_at, plan, owner, indexes = unpack(ARGV)
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HGET', KEYS[1], 'created_at') == created_at end
local reservation = KEYS[4 + indexes]
local holder = reservation and redis.call('HGET', reservation, 'holder')
if holder == '' then return false end
if holder then redis.call('HSET', reservation, 'holder', '') end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
if plan ~= '' then redis.call('SET', KEYS[2], plan) end
redis.call('SADD', KEYS[3], owner)
for index = 4, 3 + indexes do redis.call('ZADD', KEYS[index], score, id) end
return true
"""
"""A record that is there may be this very one: the connection broke before the answer, and it was sent again."""

_REPORT = """
local status, worker = unpack(redis.call('HMGET', KEYS[1], 'status', 'worker'))
if worker ~= table.remove(ARGV, 1) then return {status, 0} end
if status == '"running"' then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return {status, 1}
"""
"""Only the record of a running job is written, by its own worker: a late report must not touch a job that has ended or
is another's, nor bring a deleted one half back."""


_TAKE_DUE = """
local due = {}
for _, key in ipairs(KEYS) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
    redis.call('ZREM', key, id)
    table.insert(due, id)
  end
end
return due
"""

_FORGET_OWNER = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
"""

_ENDED: Final = "jobs:ended"
_OWNERS: Final = "jobs:owners"
_STORED: Final = "jobs:stored"
_TIDYING: Final = "jobs:tidying"

MOST_HELD: Final = 10_000
"""Looked at at once: more jobs than there are workers."""


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
        self._create = redis_client.register_script(_CREATE)
        self._report = redis_client.register_script(_REPORT)
        self._take_due = redis_client.register_script(_TAKE_DUE)
        self._forget_owner = redis_client.register_script(_FORGET_OWNER)
        self._now = now

    # reading

    def get(self, job_id: str) -> JobRecord:
        """Raises NotFound; Unreadable where there is such a job."""
        with answering():
            fields = cast(dict[str, str], self._redis.hgetall(job_key(job_id)))
        return record_of(job_id, fields)

    def plan(self, job_id: str) -> Plan | None:
        """The job's plan; None while there is none.  Raises Unreadable where what is there is no plan."""
        with answering():
            text = cast(str | None, self._redis.get(_plan(job_id)))
        try:
            return None if text is None else Plan.model_validate_json(text)
        except ValidationError as error:
            raise Unreadable(f"the plan of job '{job_id}' cannot be read") from error

    def list(
        self, *, status: JobStatus | None = None, owner: str | None = None, after: str | None = None, limit: int
    ) -> Page:
        """Newest first, those that come after the job `after`, whatever its own status is by now; of one owner, or all.

        Jobs of the same microsecond are in descending order of their ids.  Raises NotFound for an `after` that is
        unknown, or another owner's.
        """
        key = _index(status, owner)
        with answering():
            highest: str | float = "+inf"
            seen = 0
            if after is not None:
                score = self._redis.zscore(_index(None, owner), after)
                if score is None:
                    raise NotFound(f"there is no job '{after}'")
                highest = score
                twins = cast(list[str], self._redis.zrangebyscore(key, score, score))
                seen = sum(twin >= after for twin in twins)
            ids = cast(list[str], self._redis.zrevrangebyscore(key, highest, "-inf", start=seen, num=limit + 1))
        here = ids[:limit]
        return Page(self.some(here), next=here[-1] if len(ids) > limit else None)

    def some(self, job_ids: Iterable[str]) -> tuple[JobRecord, ...]:
        """Those of these jobs that there are, and can be read."""
        wanted = tuple(job_ids)
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in wanted:
                pipeline.hgetall(job_key(job_id))
            hashes = pipeline.execute()
        return tuple(_readable(zip(wanted, hashes, strict=True)))

    def queued(self, *, outside: Iterable[str] = ()) -> frozenset[str]:
        """The ids of all queued jobs, those that are put aside or in the sorted sets `outside` left out."""
        keys = [_index(JobStatus.QUEUED), *outside, *map(_put_aside, QUEUES)]
        with answering():
            return frozenset(cast(list[str], self._redis.zdiff(keys)))

    def adds_up(self, *, outside: Iterable[str]) -> bool:
        """Whether as many jobs are put aside or in the sorted sets `outside` as are queued.

        Then each of these is in one, unless something is there that is not queued, or is there twice.
        """
        with answering():
            pipeline = self._redis.pipeline(transaction=True)
            for key in (_index(JobStatus.QUEUED), *outside, *map(_put_aside, QUEUES)):
                pipeline.zcard(key)
            queued, *spoken_of = cast(list[int], pipeline.execute())
        return queued == sum(spoken_of)

    def take_due(self, limit: int) -> tuple[JobRecord, ...]:
        """Of the jobs that are put aside for each queue, the first `limit` whose time has come.

        Of all who ask, one gets them, and is to `deliver` them: they are put aside no more.
        """
        with answering():
            ids = self._take_due(keys=[*map(_put_aside, QUEUES)], args=[_score(self._now()), limit])
        return self.some(cast(list[str], ids))

    def put_aside(self, depth: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        """For each queue: how many jobs go into it later, and the ids of the first `depth` of them."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for key in map(_put_aside, QUEUES):
                pipeline.zcard(key)
                pipeline.zrange(key, 0, depth - 1)
            found = iter(pipeline.execute())
        return {name: (count, tuple(ids)) for name, count, ids in zip(QUEUES, found, found, strict=True)}

    def ended(self, *, inside: Iterable[str]) -> frozenset[str]:
        """The ids in the sorted sets `inside` of jobs that have ended or are deleted."""
        unfinished = [_index(status) for status in JobStatus if not status.is_terminal]
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for key in inside:
                pipeline.zdiff([key, *unfinished])
            return frozenset().union(*cast(list[list[str]], pipeline.execute()))

    def unfinished_keys(self, owner: str) -> tuple[str, ...]:
        """The sorted sets of an owner's jobs that have not ended."""
        return tuple(_index(status, owner) for status in JobStatus if not status.is_terminal)

    def first_queued(self, limit: int) -> tuple[str, ...]:
        """The ids of the queued jobs that were submitted first."""
        with answering():
            return tuple(cast(list[str], self._redis.zrange(_index(JobStatus.QUEUED), 0, limit - 1)))

    def held(self) -> tuple[JobRecord, ...]:
        """All jobs that a worker has."""
        statuses = (JobStatus.RUNNING, JobStatus.CANCELING)
        pages = (self.list(status=status, limit=MOST_HELD).jobs for status in statuses)
        return tuple(record for page in pages for record in page if record.worker is not None)

    def counts(self) -> dict[JobStatus, int]:
        """Jobs in each status."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for status in JobStatus:
                pipeline.zcard(_index(status))
            return dict(zip(JobStatus, pipeline.execute(), strict=True))

    # the life of a job

    def create(self, record: JobRecord, plan: Plan | None, reservation: str | None = None) -> None:
        """Persist a new job.  Call before enqueueing it.

        reservation: the Redis key of that of an Idempotency-Key (`idempotency.py`), which has made its job from now on.
        Conflict where there is another job of that id, or has been one for that reservation.
        """
        fields = _fields(record.model_dump(mode="json"))
        pairs = [part for pair in fields.items() for part in pair]
        indexes = _indexes(record)
        keys = [
            job_key(record.id),
            _plan(record.id),
            _OWNERS,
            *indexes,
            *([] if reservation is None else [reservation]),
        ]
        text = "" if plan is None else plan.model_dump_json()
        values = [record.id, _score(record.created_at), fields["created_at"], text, record.owner, len(indexes)]
        with answering():
            created = self._create(keys=keys, args=[*values, *pairs])
        if not created:
            raise Conflict(f"there is a job '{record.id}'")

    def start(self, job_id: str, *, worker: str, stage: Stage) -> JobRecord:
        """A worker takes a job queued for `stage`.  Conflict where it was canceled meanwhile, or planned already."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            if record.stage is not stage:
                raise Conflict(f"job '{job_id}' is {record.status} for {record.stage}, not for {stage}")
            started_at = record.started_at or now
            return {"worker": worker, "started_at": started_at, "running_since": now, "retry_at": None}

        return self._move("start", job_id, JobStatus.RUNNING, changes)

    def hand_over(self, job_id: str, plan: Plan, *, worker: str, progress: float, seconds: float) -> JobRecord:
        """Planning is done: keep the plan, back to queued for rendering."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return {
                "worker": None,
                "running_since": None,
                "expected_at": None,
                "waiting_for": None,
                "stage": Stage.SAMPLING,
                "progress": progress,
                "diagnostics": record.diagnostics.model_copy(update={"seconds": {Stage.PLANNING.value: seconds}}),
            }

        return self._move("hand_over", job_id, JobStatus.QUEUED, changes, plan=plan)

    def report(
        self,
        job_id: str,
        *,
        worker: str,
        stage: Stage,
        progress: float,
        step: int,
        expected_at: datetime | None = None,
    ) -> JobStatus:
        """A worker's sign of progress; answers the status, so that the worker sees a wish to cancel.

        Changes nothing unless the job is running.  Raises NotFound, and Conflict where the job is not the worker's.
        """
        values = {
            "stage": stage,
            "progress": progress,
            "step": step,
            "expected_at": None if expected_at is None else expected_at.isoformat(),
            "updated_at": self._now().isoformat(),
        }
        arguments = [part for pair in _fields(values).items() for part in pair]
        with answering():
            text, own = self._report(keys=[job_key(job_id)], args=[json.dumps(worker), *arguments])
        if text is None:
            raise NotFound(f"there is no job '{job_id}'")
        status = JobStatus(json.loads(text))
        if not own:
            raise _not_yours(job_id, status)
        return status

    def hand_back(self, job_id: str, *, worker: str) -> JobRecord:
        """A worker that is to stop lets go of its job, which costs the job no attempt.

        It is delivered anew by the watchdog.  Conflict where the job is to be canceled.
        """

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return _queued_again(record, now)

        return self._move("hand_back", job_id, JobStatus.QUEUED, changes)

    def postpone(self, job_id: str, missing: ServiceError, *, worker: str, pause: timedelta) -> JobRecord:
        """A worker lets go of a job that needs what is `missing`, which costs the job no attempt.

        It is delivered anew by the watchdog, after the `pause`.  Conflict where the job is to be canceled.
        """

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            since = now if record.waiting_for is None else record.waiting_for.since
            seconds = (record.waited(now) + pause).total_seconds()
            waiting_for = Missing(code=missing.code, message=missing.detail, since=since, seconds=seconds)
            return {**_queued_again(record, now + pause), "waiting_for": waiting_for}

        return self._move("postpone", job_id, JobStatus.QUEUED, changes)

    def take_back(self, seen: JobRecord, *, attempts: int, pause: timedelta) -> JobRecord:
        """The worker that ran the job, as it was `seen`, is gone: the job goes on without it.

        Canceled where that was wished, failed where this was the last of its `attempts`, else queued, to be delivered
        anew after the `pause`.  Conflict where somebody else, or that worker after all, has moved it since.
        """

        def target(record: JobRecord) -> JobStatus:
            if record.status is JobStatus.CANCELING:
                return JobStatus.CANCELED
            return JobStatus.FAILED if record.attempt >= attempts else JobStatus.QUEUED

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            if (record.worker, record.attempt) != (seen.worker, seen.attempt):
                raise _not_yours(record.id, record.status)
            match target(record):
                case JobStatus.CANCELED:
                    return _ended(now)
                case JobStatus.FAILED:
                    reason = f"its worker fell silent, in attempt {record.attempt} of {attempts}"
                    return {**_ended(now), "error": JobError.of(Unavailable(reason))}
                case _:
                    again = _queued_again(record, now + pause)
                    return {**again, "attempt": record.attempt + 1, "progress": 0.0, "step": 0}

        return self._move("take_back", seen.id, target, changes)

    def deliver(self, seen: JobRecord) -> JobRecord:
        """A queued job, as it was `seen`, is to be put into its queue anew: under this record's name.

        Of all who see the same, one may do so; Conflict for the others.
        """

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            if record.status is not JobStatus.QUEUED or record.delivery != seen.delivery:
                raise Conflict(f"job '{record.id}' is {record.status}, in delivery {record.delivery}")
            return {"delivery": record.delivery + 1, "retry_at": None}

        return self._move("deliver", seen.id, JobStatus.QUEUED, changes)

    def succeed(self, job_id: str, *, worker: str, results: Results, diagnostics: Diagnostics) -> JobRecord:
        """Conflict where the job is to be canceled: the wish came first."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            seconds = record.diagnostics.seconds | diagnostics.seconds
            return {
                **_ended(now),
                "progress": 1.0,
                "step": record.settings.steps,  # the last reports may have been lost
                "results": results,
                "diagnostics": diagnostics.model_copy(update={"seconds": seconds}),
            }

        return self._move("succeed", job_id, JobStatus.SUCCEEDED, changes)

    def fail(self, job_id: str, error: ServiceError, *, worker: str | None) -> JobRecord:
        """`worker` gives the job up; None: a job that no worker has.  Conflict where it is not the worker's."""

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return {**_ended(now), "error": JobError.of(error)}

        return self._move("fail", job_id, JobStatus.FAILED, changes)

    def cancel(self, job_id: str) -> JobRecord:
        """Queued: canceled at once.  Running: `canceling`, until its worker confirms.  Otherwise nothing changes."""
        while True:
            record = self.get(job_id)
            try:
                match record.status:
                    case JobStatus.QUEUED:
                        return self._move("cancel", job_id, JobStatus.CANCELED, lambda _, now: _ended(now))
                    case JobStatus.RUNNING:
                        return self._move("cancel", job_id, JobStatus.CANCELING, lambda _record, _now: {})
                    case _:
                        return record
            except Conflict:
                continue  # it moved on between the look and the change

    def confirm_cancel(self, job_id: str, *, worker: str) -> JobRecord:
        """`worker` has let go of a job that was to be canceled.

        Conflict where nobody wished that, or where the job is not the worker's.
        """

        def changes(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            if record.status is not JobStatus.CANCELING:
                raise Conflict(f"job '{job_id}' is {record.status}, not canceling")
            return _ended(now)

        return self._move("confirm_cancel", job_id, JobStatus.CANCELED, changes)

    def ended_before(self, moment: datetime, limit: int) -> tuple[str, ...]:
        """The ids of jobs that ended before then, those that did first before others."""
        with answering():
            ids = self._redis.zrangebyscore(_ENDED, "-inf", f"({_score(moment)}", start=0, num=limit)
        return tuple(cast(list[str], ids))

    def delete(self, job_id: str) -> JobRecord:
        """Forget a job that has ended, and note that object storage may hold what nobody needs any more; as it was.

        Of all who try, one may do so.  Raises NotFound, and Conflict while the job has not ended.
        """

        def attempt(pipeline: Pipeline) -> JobRecord:
            record = record_of(job_id, cast(dict[str, str], pipeline.hgetall(job_key(job_id))))
            if not record.status.is_terminal:
                raise Conflict(f"job '{job_id}' is {record.status}: cancel it first")
            pipeline.multi()
            pipeline.delete(job_key(job_id), _plan(job_id))
            for index in (*_indexes(record), _ENDED):
                pipeline.zrem(index, job_id)
            outbox.forget(pipeline, job_id)
            pipeline.sadd(_STORED, job_id)
            return record

        with answering():
            return cast(
                JobRecord, self._redis.transaction(cast(Any, attempt), job_key(job_id), value_from_callable=True)
            )

    def broken_before(self, moment: datetime) -> tuple[str, ...]:
        """The ids of jobs submitted before then that have not ended, so far as is known, and cannot be read."""
        with answering():
            ids = cast(list[str], self._redis.zrangebyscore(_index(None), "-inf", f"({_score(moment)}"))
            ended = self._redis.zmscore(_ENDED, ids) if ids else []
        unended = [job_id for job_id, score in zip(ids, ended, strict=True) if score is None]
        readable = {record.id for record in self.some(unended)}
        return tuple(job_id for job_id in unended if job_id not in readable)

    def drop(self, job_id: str) -> None:
        """Forget a job whose record is gone or cannot be read, as `delete` does those that can.

        Raises NotFound where no job is known by this id, and Conflict where its record can be read.
        """

        def attempt(pipeline: Pipeline) -> None:
            with suppress(NotFound):
                record_of(job_id, cast(dict[str, str], pipeline.hgetall(job_key(job_id))))
                raise Conflict(f"the record of job '{job_id}' can be read")
            if pipeline.zscore(_index(None), job_id) is None:
                raise NotFound(f"there is no job '{job_id}'")
            owners = cast(set[str], pipeline.smembers(_OWNERS))
            pipeline.multi()
            pipeline.delete(job_key(job_id), _plan(job_id))
            for owner in (None, *owners):
                for status in (None, *JobStatus):
                    pipeline.zrem(_index(status, owner), job_id)
            for key in (_ENDED, *map(_put_aside, QUEUES)):
                pipeline.zrem(key, job_id)
            outbox.forget(pipeline, job_id)
            pipeline.sadd(_STORED, job_id)

        with answering():
            self._redis.transaction(cast(Any, attempt), job_key(job_id))

    def forget_owners(self) -> None:
        """Those who have no jobs any more."""
        with answering():
            owners = sorted(cast(set[str], self._redis.smembers(_OWNERS)))
            pipeline = self._redis.pipeline(transaction=False)
            for owner in owners:
                pipeline.exists(_index(None, owner))
            for owner, exists in zip(owners, pipeline.execute(), strict=True):
                if not exists:
                    self._forget_owner(keys=[_index(None, owner), _OWNERS], args=[owner])

    # what is stored for a job

    def note_objects(self, job_id: str) -> None:
        """Object storage may hold something for this job from now on.  Call before it does."""
        with answering():
            self._redis.sadd(_STORED, job_id)

    def leftovers(self) -> dict[str, int | None]:
        """The jobs that have ended, or are deleted, and may have objects that nobody needs: id -> the attempt whose
        objects are its results, None where there are none.
        """
        with answering():
            ids = sorted(cast(set[str], self._redis.smembers(_STORED)))
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in ids:
                pipeline.exists(job_key(job_id))
            gone = {job_id for job_id, exists in zip(ids, pipeline.execute(), strict=True) if not exists}
        records = {record.id: record for record in self.some(ids)}
        over = {job_id for job_id, record in records.items() if record.status.is_terminal}
        # A record that is there and cannot be read may be of a newer version, and its job at work.
        ended = [job_id for job_id in ids if job_id in gone | over]
        won = {job_id for job_id in ended if job_id in records and records[job_id].results is not None}
        return {job_id: records[job_id].attempt if job_id in won else None for job_id in ended}

    def forget_objects(self, job_id: str) -> None:
        """There are none left but its results."""
        with answering():
            self._redis.srem(_STORED, job_id)

    def may_tidy_up(self, seconds: float) -> bool:
        """Of all who ask within these seconds, one may."""
        with answering():
            return bool(self._redis.set(_TIDYING, 1, nx=True, px=round(seconds * 1000)))

    def _move(
        self,
        move: str,
        job_id: str,
        target: JobStatus | Callable[[JobRecord], JobStatus],
        changes: Callable[[JobRecord, datetime], dict[str, Any]],
        plan: Plan | None = None,
    ) -> JobRecord:
        """Raises NotFound, and Conflict where `states.MOVES` has no such move."""
        key = job_key(job_id)
        tried: list[JobRecord] = []

        def attempt(pipeline: Pipeline) -> JobRecord:
            record = record_of(job_id, cast(dict[str, str], pipeline.hgetall(key)))
            if record in tried:  # the connection broke after an earlier attempt was written and before its answer
                return record
            status = target if isinstance(target, JobStatus) else target(record)
            if (record.status, status) not in MOVES[move]:
                raise Conflict(f"job '{job_id}' is {record.status} and cannot become {status}")
            now = self._now()
            update = {**changes(record, now), "status": status, "updated_at": now}
            moved = record.model_copy(update=update)
            tried.append(moved)
            pipeline.multi()
            pipeline.hset(key, mapping=_fields(moved.model_dump(mode="json", include=set(update))))
            if plan is not None:
                pipeline.set(_plan(job_id), plan.model_dump_json())
            for index in _indexes_by_status(record, record.status):
                pipeline.zrem(index, job_id)
            for index in _indexes_by_status(record, status):
                pipeline.zadd(index, {job_id: _score(record.created_at)})
            if record.retry_at is not None:
                pipeline.zrem(_put_aside(queue_of(record)), job_id)
            if moved.retry_at is not None:
                pipeline.zadd(_put_aside(queue_of(moved)), {job_id: _score(moved.retry_at)})
            if moved.finished_at is not None:
                pipeline.zadd(_ENDED, {job_id: _score(moved.finished_at)})
            outbox.enter(pipeline, moved)
            return moved

        with answering():
            return cast(JobRecord, self._redis.transaction(cast(Any, attempt), key, value_from_callable=True))


def _require_own(record: JobRecord, worker: str | None) -> None:
    """Who has handed a job over, or was taken for dead, must not touch it any more.

    Names are never used twice and a worker does one thing at a time, so its name is enough to tell.
    """
    if record.worker != worker:
        raise _not_yours(record.id, record.status)


def _not_yours(job_id: str, status: JobStatus) -> Conflict:
    return Conflict(f"job '{job_id}' is {status}, and not in this worker's hands")


def _queued_again(record: JobRecord, retry_at: datetime) -> dict[str, Any]:
    stage = Stage.PLANNING if record.stage is Stage.PLANNING else Stage.SAMPLING
    return {"worker": None, "running_since": None, "expected_at": None, "stage": stage, "retry_at": retry_at}


def _ended(now: datetime) -> dict[str, Any]:
    return {
        "worker": None,
        "running_since": None,
        "expected_at": None,
        "stage": None,
        "retry_at": None,
        "waiting_for": None,
        "finished_at": now,
    }


def job_key(job_id: str) -> str:
    return f"job:{job_id}"


def _plan(job_id: str) -> str:
    return f"job:{job_id}:plan"


def _index(status: JobStatus | None, owner: str | None = None) -> str:
    jobs = "jobs" if owner is None else f"jobs:of:{owner}"
    return jobs if status is None else f"{jobs}:{status}"


def _put_aside(queue: str) -> str:
    return f"jobs:put_aside:{queue}"


def _indexes(record: JobRecord) -> tuple[str, ...]:
    """All that a job stands in."""
    return _index(None), _index(None, record.owner), *_indexes_by_status(record, record.status)


def _indexes_by_status(record: JobRecord, status: JobStatus) -> tuple[str, ...]:
    return _index(status), _index(status, record.owner)


def _score(moment: datetime) -> int:
    """Microseconds since 1970: exact in a double, and they tell jobs of the same millisecond apart."""
    return round(moment.timestamp() * 1_000_000)


def _fields(values: dict[str, Any]) -> dict[Any, Any]:
    return {name: json.dumps(value) for name, value in values.items()}


def record_of(job_id: str, fields: dict[str, str]) -> JobRecord:
    if "id" not in fields:
        raise NotFound(f"there is no job '{job_id}'")
    try:  # fields that a newer version has added are passed over: while it is rolled out, both read the same records
        known = {name: from_json(text) for name, text in fields.items() if name in JobRecord.model_fields}
        return JobRecord.model_validate(known)
    except ValueError as error:  # no JSON, or not what belongs there
        raise Unreadable(f"the record of job '{job_id}' cannot be read") from error


def _readable(hashes: Iterable[tuple[str, dict[str, str]]]) -> Iterator[JobRecord]:
    """One broken record must hide no other, from nobody: neither from a client's list nor from the watchdog."""
    for job_id, fields in hashes:
        with suppress(NotFound):
            yield record_of(job_id, fields)
