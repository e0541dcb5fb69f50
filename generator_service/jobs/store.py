"""Job records in Redis: the truth about every job.  `keyspace.py` has the keys.

Every change of state is one method here, atomic (WATCH/MULTI), refused with `Conflict` where `states.py` does not
allow it.  The same transaction changes the job's place: its turn, its indexes, and the event of its end.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import redis
import structlog
from pydantic import ValidationError
from redis.client import Pipeline

from generator_service.contract.job import JobError, JobStatus, Missing, Stage
from generator_service.contract.report import Diagnostics
from generator_service.jobs import outbox, queues
from generator_service.jobs.connection import redis_errors_as_unavailable
from generator_service.jobs.keyspace import (
    BYTES,
    ENDED,
    OWNERS,
    STORED,
    delayed_key,
    index_key,
    job_key,
    moment,
    plan_key,
    score,
    waiting_key,
)
from generator_service.jobs.queues import QUEUES, queue_of
from generator_service.jobs.record import JobRecord, Results, fields_of, record_of
from generator_service.jobs.states import MOVES
from generator_service.jobs.submission import SUBMIT, submission
from shared.errors import Conflict, NotFound, ServiceError, Unavailable, Unreadable
from shared.plan import Plan

_REPORT: Final = """
local status, worker = unpack(redis.call('HMGET', KEYS[1], 'status', 'worker'))
if worker ~= table.remove(ARGV, 1) then return {status, 0} end
if status == '"running"' then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return {status, 1}
"""
"""Only the record of a running job is written, by its own worker: a late report must not touch a job that has ended or
is another's, nor bring a deleted one half back."""

_SKIP: Final = """
local job, waiting = unpack(KEYS)
local id, unreadable = unpack(ARGV)
if redis.call('HGET', job, 'status') ~= '"queued"' then
  redis.call('ZREM', waiting, id)
elseif unreadable == '1' then
  redis.call('ZADD', waiting, 'XX', '+inf', id)
end
"""
"""One that cannot be read waits behind all others: for a worker of a newer version, which may read it."""

_FORGET_OWNER: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
"""

_CLAIM: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
return 1
"""
"""A server whose memory is full refuses what may need more; but within a script that has deleted something, nothing."""

_DROP_PLAN: Final = """
local plan, job, bytes = unpack(KEYS)
local size = redis.call('STRLEN', plan)
redis.call('DEL', plan)
redis.call('HINCRBY', job, 'bytes', -size)
redis.call('HINCRBY', bytes, ARGV[1], -size)
"""

_FORGET: Final = """
local job, plan, bytes, stored = unpack(KEYS, 1, 4)
local size = redis.call('HGET', job, 'bytes') or 0
redis.call('DEL', job, plan)
for index = 5, #KEYS do
  if redis.call('ZREM', KEYS[index], ARGV[1]) == 1 and ARGV[index - 3] then
    redis.call('HINCRBY', bytes, ARGV[index - 3], -size)
  end
end
redis.call('SADD', stored, ARGV[1])
"""
"""It deletes first, so that a full server does it."""

MOST_RUNNING: Final = 10_000
"""Looked at at once: more jobs than there are workers."""

_UNFINISHED: Final = tuple(status for status in JobStatus if not status.is_terminal)
_BEFORE_OTHERS: Final = frozenset({"release", "promote"})
"""Moves of jobs that have had their turn already."""

_Change = Callable[[JobRecord, datetime], dict[str, Any]]
"""The fields that a move changes, at this time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Page:
    jobs: tuple[JobRecord, ...]
    """Fewer than were asked for where one is deleted at this moment."""
    next: str | None
    """What the page that follows comes after; None on the last one."""


@dataclass(frozen=True)
class QueueFront:
    waiting: int
    delayed: int
    first: tuple[str, ...]
    """Ids of the first of both."""


class JobStore:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis, now: Callable[[], datetime] | None = None) -> None:
        """now: None for Redis' own clock, which is the same for all."""
        self._redis = redis_client
        self._report = redis_client.register_script(_REPORT)
        self._skip_script = redis_client.register_script(_SKIP)
        self._forget_owner = redis_client.register_script(_FORGET_OWNER)
        self._claim = redis_client.register_script(_CLAIM)
        self._now = now

    def now(self) -> datetime:
        with redis_errors_as_unavailable():
            return self._time(self._redis)

    def _time(self, client: redis.Redis) -> datetime:
        if self._now is not None:
            return self._now()
        return moment(*client.time())

    def check(self) -> None:
        """Returns where Redis takes writes."""
        with redis_errors_as_unavailable():
            self._redis.set("jobs:round:check", 1, px=1)

    # reading

    def get(self, job_id: str) -> JobRecord:
        """Raises NotFound; Unreadable where there is such a job."""
        with redis_errors_as_unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(job_key(job_id)))
        return record_of(job_id, fields)

    def plan(self, job_id: str) -> Plan | None:
        """The job's plan; None while there is none.  Raises Unreadable where what is there is no plan."""
        with redis_errors_as_unavailable():
            text = cast(str | None, self._redis.get(plan_key(job_id)))
        try:
            return None if text is None else Plan.from_storage(text)
        except ValidationError as error:
            raise Unreadable(f"the plan of job '{job_id}' cannot be read") from error

    def list(
        self, *, status: JobStatus | None = None, owner: str | None = None, after: str | None = None, limit: int
    ) -> Page:
        """Newest first, those that come after the job `after`, whatever its own status is by now; of one owner, or all.

        Jobs of the same microsecond are in descending order of their ids.  Raises NotFound for an `after` that is
        unknown, or another owner's.
        """
        key = index_key(status, owner)
        with redis_errors_as_unavailable():
            highest: str | float = "+inf"
            seen = 0
            if after is not None:
                created = self._redis.zscore(index_key(None, owner), after)
                if created is None:
                    raise NotFound(f"there is no job '{after}'")
                highest = created
                twins = cast(list[str], self._redis.zrangebyscore(key, created, created))
                seen = sum(twin >= after for twin in twins)
            ids = cast(list[str], self._redis.zrevrangebyscore(key, highest, "-inf", start=seen, num=limit + 1))
        here = ids[:limit]
        return Page(self.get_many(here), next=here[-1] if len(ids) > limit else None)

    def get_many(self, job_ids: Iterable[str]) -> tuple[JobRecord, ...]:
        """Those of these jobs that there are, and can be read: a broken record hides no other, from nobody."""
        wanted = tuple(job_ids)
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in wanted:
                pipeline.hgetall(job_key(job_id))
            hashes = cast(list[dict[str, str]], pipeline.execute())

        def readable() -> Iterator[JobRecord]:
            for job_id, fields in zip(wanted, hashes, strict=True):
                with suppress(NotFound):
                    yield record_of(job_id, fields)

        return tuple(readable())

    def list_running(self) -> tuple[JobRecord, ...]:
        """All jobs that a worker has."""
        pages = (self.list(status=status, limit=MOST_RUNNING) for status in (JobStatus.RUNNING, JobStatus.CANCELING))
        return tuple(record for page in pages for record in page.jobs if record.worker is not None)

    def positions(self, records: Iterable[JobRecord]) -> tuple[int | None, ...]:
        """How many jobs are before each in its queue now; None where it does not wait.  Later ones may yet come before
        it."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for record in records:
                pipeline.zrank(waiting_key(queue_of(record)), record.id)
            return tuple(cast(list[int | None], pipeline.execute()))

    def fronts(self, depth: int) -> dict[str, QueueFront]:
        """Of each queue: how many jobs wait, how many are delayed, and the ids of the first `depth` of either."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in QUEUES:
                for key in (waiting_key(queue), delayed_key(queue)):
                    pipeline.zcard(key)
                    pipeline.zrange(key, 0, depth - 1)
            found = iter(pipeline.execute())
        return {
            queue: QueueFront(waiting, delayed, (*first, *later))
            for queue, waiting, first, delayed, later in zip(QUEUES, found, found, found, found, strict=True)
        }

    def count_waiting(self) -> dict[str, int]:
        """How many jobs wait in each queue."""
        return {queue: front.waiting for queue, front in self.fronts(1).items()}

    def first_queued(self, limit: int) -> tuple[str, ...]:
        """The ids of the queued jobs that were submitted first."""
        with redis_errors_as_unavailable():
            return tuple(cast(list[str], self._redis.zrange(index_key(JobStatus.QUEUED), 0, limit - 1)))

    def counts(self) -> dict[JobStatus, int]:
        """Jobs in each status."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for status in JobStatus:
                pipeline.zcard(index_key(status))
            return dict(zip(JobStatus, pipeline.execute(), strict=True))

    # the life of a job

    def create(self, record: JobRecord, plan: Plan | None) -> None:
        """Persist a new job that waits from now on, whatever the limits of those who submit.

        Conflict where there is another job of that id.
        """
        with redis_errors_as_unavailable():
            (verdict, *_) = cast(list[str], self._redis.eval(SUBMIT, 0, *submission(record, plan)))
        if verdict != "created":
            raise Conflict(f"there is a job '{record.id}'")

    def start(self, queue: str, *, worker: str) -> JobRecord | None:
        """The worker takes the job whose turn it is; None where none waits."""

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            if queue_of(record) != queue:
                raise Conflict(f"job '{record.id}' is queued for {record.stage} by now")
            started_at = record.started_at or now
            return {"status": JobStatus.RUNNING, "worker": worker, "started_at": started_at, "running_since": now}

        while True:
            with redis_errors_as_unavailable():
                first = cast(list[tuple[str, float]], self._redis.zrange(waiting_key(queue), 0, 0, withscores=True))
            for job_id, turn in first:
                try:
                    return self._move("start", job_id, change)
                except (Conflict, NotFound) as reason:  # another worker was faster; or nobody can do anything with it
                    is_unreadable = isinstance(reason, NotFound)
                    if is_unreadable and turn == math.inf:
                        return None
                    self._skip(queue, job_id, is_unreadable=is_unreadable)
            if not first:
                return None

    def _skip(self, queue: str, job_id: str, *, is_unreadable: bool) -> None:
        """The job at the front is to keep nobody behind it waiting."""
        if is_unreadable:
            log.warning("job_quarantined", job_id=job_id, queue=queue)
        with redis_errors_as_unavailable():
            self._skip_script(keys=[job_key(job_id), waiting_key(queue)], args=[job_id, int(is_unreadable)])

    def hand_over(self, job_id: str, plan: Plan, *, worker: str, progress: float, seconds: float) -> JobRecord:
        """Planning is done: keep the plan, back to queued for rendering."""

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return {
                **_queued_fields(Stage.SAMPLING),
                "waiting_for": None,
                "progress": progress,
                "diagnostics": record.diagnostics.model_copy(update={"seconds": {Stage.PLANNING.value: seconds}}),
            }

        return self._move("hand_over", job_id, change, plan=plan)

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
            "updated_at": datetime.now(UTC).isoformat(),  # nothing is decided by it
        }
        arguments = [part for pair in fields_of(values).items() for part in pair]
        with redis_errors_as_unavailable():
            text, own = self._report(keys=[job_key(job_id)], args=[json.dumps(worker), *arguments])
        if text is None:
            raise NotFound(f"there is no job '{job_id}'")
        status = JobStatus(json.loads(text))
        if not own:
            raise _not_yours(job_id, status)
        return status

    def release(self, job_id: str, *, worker: str) -> JobRecord:
        """A worker that is to stop lets go of its job, which costs the job no attempt: it waits before all others.

        Conflict where the job is to be canceled.
        """

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return _queued_fields(_queued_stage(record))

        return self._move("release", job_id, change)

    def retry_later(self, job_id: str, missing: ServiceError, *, worker: str, pause: timedelta) -> JobRecord:
        """A worker lets go of a job that needs what is `missing`, which costs the job no attempt.

        It waits for its turn again after the `pause`.  Conflict where the job is to be canceled.
        """

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            since = now if record.waiting_for is None else record.waiting_for.since
            seconds = (record.waited_for_missing(now) + pause).total_seconds()
            waiting_for = Missing(code=missing.code, message=missing.detail, since=since, seconds=seconds)
            return {**_queued_fields(_queued_stage(record), now + pause), "waiting_for": waiting_for}

        return self._move("retry_later", job_id, change)

    def reclaim(self, seen: JobRecord, reason: str, *, attempts: int, pause: timedelta) -> JobRecord:
        """The worker that ran the job, as it was `seen`, is gone: the job goes on without it.

        Canceled where that was wished, failed for that reason where this was the last of its `attempts`, else queued,
        to wait for its turn after the `pause`.  Conflict where somebody else, or that worker after all, has moved it
        since.
        """

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            if (record.worker, record.running_since) != (seen.worker, seen.running_since):
                raise _not_yours(record.id, record.status)
            if record.status is JobStatus.CANCELING:
                return _ended_fields(JobStatus.CANCELED, now)
            if record.attempt >= attempts:
                error = JobError.of(Unavailable(f"{reason}, in attempt {record.attempt} of {attempts}"))
                return {**_ended_fields(JobStatus.FAILED, now), "error": error}
            again = _queued_fields(_queued_stage(record), now + pause)
            return {**again, "attempt": record.attempt + 1, "progress": 0.0, "step": 0}

        return self._move("reclaim", seen.id, change)

    def promote(self, job_id: str) -> JobRecord:
        """A delayed job whose time has come waits for its turn again.

        Before all others; but one that waits for a missing part gets the next turn of its owner: many may, and each is
        tried again and again.  Conflict where it is not delayed, or not due.
        """

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            if record.retry_at is None or record.retry_at > now:
                raise Conflict(f"job '{job_id}' is {record.status}, and not due")
            return {"status": JobStatus.QUEUED, "retry_at": None}

        return self._move("promote", job_id, change)

    def promote_due(self, limit: int) -> tuple[JobRecord, ...]:
        """Of the delayed jobs of each queue, promote the first `limit` whose time has come, the oldest first."""
        now = score(self.now())
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in QUEUES:
                pipeline.zrangebyscore(delayed_key(queue), "-inf", now, start=0, num=limit)
            due = [job_id for job_ids in cast(list[list[str]], pipeline.execute()) for job_id in job_ids]
        promoted = []
        for record in sorted(self.get_many(due), key=lambda record: record.created_at):
            with suppress(Conflict, NotFound):  # canceled meanwhile
                promoted.append(self.promote(record.id))
        return tuple(promoted)

    def succeed(self, job_id: str, *, worker: str, results: Results, diagnostics: Diagnostics) -> JobRecord:
        """Conflict where the job is to be canceled: the wish came first."""

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            seconds = record.diagnostics.seconds | diagnostics.seconds
            return {
                **_ended_fields(JobStatus.SUCCEEDED, now),
                "progress": 1.0,
                "step": record.settings.steps_in_all,  # the last reports may have been lost
                "results": results,
                "diagnostics": diagnostics.model_copy(update={"seconds": seconds}),
            }

        return self._move("succeed", job_id, change)

    def fail(self, job_id: str, error: ServiceError, *, worker: str) -> JobRecord:
        """The worker gives the job up.  Conflict where it is not the worker's."""

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return {**_ended_fields(JobStatus.FAILED, now), "error": JobError.of(error)}

        return self._move("fail", job_id, change)

    def cancel(self, job_id: str) -> JobRecord:
        """Queued: canceled at once.  Running: `canceling`, until its worker confirms.  Otherwise nothing changes."""

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            if record.status is JobStatus.QUEUED:
                return _ended_fields(JobStatus.CANCELED, now)
            return {"status": JobStatus.CANCELING}

        try:
            return self._move("cancel", job_id, change)
        except Conflict:
            return self.get(job_id)

    def confirm_cancel(self, job_id: str, *, worker: str) -> JobRecord:
        """`worker` has let go of a job that was to be canceled.

        Conflict where nobody wished that, or where the job is not the worker's.
        """

        def change(record: JobRecord, now: datetime) -> dict[str, Any]:
            _require_own(record, worker)
            return _ended_fields(JobStatus.CANCELED, now)

        return self._move("confirm_cancel", job_id, change)

    def _move(self, move: str, job_id: str, change: _Change, *, plan: Plan | None = None) -> JobRecord:
        """Raises NotFound, and Conflict where `states.MOVES` has no such move."""
        written: list[JobRecord] = []

        def attempt(pipeline: Pipeline) -> JobRecord:
            record = record_of(job_id, cast(dict[str, str], pipeline.hgetall(job_key(job_id))))
            if record in written:  # the connection broke after an earlier attempt was written and before its answer
                return record
            now = self._time(pipeline)
            update = {**change(record, now), "updated_at": now}
            moved = record.model_copy(update=update)
            if (record.status, moved.status) not in MOVES[move]:
                raise Conflict(f"job '{job_id}' is {record.status} and cannot become {moved.status}")
            written.append(moved)
            pipeline.multi()
            pipeline.hset(job_key(job_id), mapping=fields_of(moved.model_dump(mode="json", include=set(update))))
            if plan is not None:
                text = plan.model_dump_json()
                pipeline.set(plan_key(job_id), text)
                pipeline.hincrby(job_key(job_id), "bytes", len(text.encode()))
                pipeline.hincrby(BYTES, record.owner, len(text.encode()))
            if moved.status is JobStatus.CANCELED:
                pipeline.eval(_DROP_PLAN, 3, plan_key(job_id), job_key(job_id), BYTES, record.owner)
            for index in _indexes_by_status(record):
                pipeline.zrem(index, job_id)
            for index in _indexes_by_status(moved):
                pipeline.zadd(index, {job_id: score(record.created_at)})
            _leave_queue(pipeline, record, moved)
            _enter_queue(pipeline, moved, first=move in _BEFORE_OTHERS and moved.waiting_for is None)
            if moved.finished_at is not None:
                pipeline.zadd(ENDED, {job_id: score(moved.finished_at)})
            outbox.enter(pipeline, moved)
            return moved

        with redis_errors_as_unavailable():
            return cast(
                JobRecord, self._redis.transaction(cast(Any, attempt), job_key(job_id), value_from_callable=True)
            )

    # the end of a job

    def list_ended_before(self, moment: datetime, limit: int) -> tuple[str, ...]:
        """The ids of jobs that ended before then, those that did first before others."""
        with redis_errors_as_unavailable():
            ids = self._redis.zrangebyscore(ENDED, "-inf", f"({score(moment)}", start=0, num=limit)
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
            _forget(pipeline, job_id, [record.owner], [record.status])
            return record

        with redis_errors_as_unavailable():
            return cast(
                JobRecord, self._redis.transaction(cast(Any, attempt), job_key(job_id), value_from_callable=True)
            )

    def list_broken_before(self, moment: datetime) -> tuple[str, ...]:
        """The ids of jobs submitted before then that have not ended, so far as is known, and cannot be read."""
        with redis_errors_as_unavailable():
            ids = cast(list[str], self._redis.zrangebyscore(index_key(), "-inf", f"({score(moment)}"))
            ended = self._redis.zmscore(ENDED, ids) if ids else []
        unended = [job_id for job_id, at in zip(ids, ended, strict=True) if at is None]
        readable = {record.id for record in self.get_many(unended)}
        return tuple(job_id for job_id in unended if job_id not in readable)

    def drop(self, job_id: str) -> None:
        """Forget a job whose record is gone or cannot be read, as `delete` does those that can.

        Raises NotFound where no job is known by this id, and Conflict where its record can be read.
        """

        def attempt(pipeline: Pipeline) -> None:
            with suppress(NotFound):
                record_of(job_id, cast(dict[str, str], pipeline.hgetall(job_key(job_id))))
                raise Conflict(f"the record of job '{job_id}' can be read")
            if pipeline.zscore(index_key(), job_id) is None:
                raise NotFound(f"there is no job '{job_id}'")
            owners = cast(set[str], pipeline.smembers(OWNERS))
            pipeline.multi()
            _forget(pipeline, job_id, owners, JobStatus)
            for queue in QUEUES:
                queues.withdraw(pipeline, queue, job_id)
                pipeline.zrem(delayed_key(queue), job_id)

        with redis_errors_as_unavailable():
            self._redis.transaction(cast(Any, attempt), job_key(job_id))

    def forget_owners(self) -> None:
        """Those who have no jobs any more."""
        with redis_errors_as_unavailable():
            owners = sorted(cast(set[str], self._redis.smembers(OWNERS)))
            pipeline = self._redis.pipeline(transaction=False)
            for owner in owners:
                pipeline.exists(index_key(None, owner))
            for owner, exists in zip(owners, pipeline.execute(), strict=True):
                if not exists:
                    self._forget_owner(keys=[index_key(None, owner), OWNERS, BYTES], args=[owner])

    # what is stored for a job

    def note_objects(self, job_id: str) -> None:
        """Object storage may hold something for this job from now on.  Call before it does."""
        with redis_errors_as_unavailable():
            self._redis.sadd(STORED, job_id)

    def may_have_objects(self, job_id: str) -> bool:
        with redis_errors_as_unavailable():
            return bool(self._redis.sismember(STORED, job_id))

    def leftovers(self) -> dict[str, int | None]:
        """The jobs that have ended, or are deleted, and may have objects that nobody needs: id -> the attempt whose
        objects are its results, None where there are none.
        """
        with redis_errors_as_unavailable():
            ids = sorted(cast(set[str], self._redis.smembers(STORED)))
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in ids:
                pipeline.exists(job_key(job_id))
            gone = {job_id for job_id, exists in zip(ids, pipeline.execute(), strict=True) if not exists}
        records = {record.id: record for record in self.get_many(ids)}
        over = {job_id for job_id, record in records.items() if record.status.is_terminal}
        # A record that is there and cannot be read may be of a newer version, and its job at work.
        ended = [job_id for job_id in ids if job_id in gone | over]
        won = {job_id for job_id in ended if job_id in records and records[job_id].results is not None}
        return {job_id: records[job_id].attempt if job_id in won else None for job_id in ended}

    def forget_objects(self, job_id: str) -> None:
        """There are none left but its results."""
        with redis_errors_as_unavailable():
            self._redis.srem(STORED, job_id)

    def images_in_use(self, owner: str) -> frozenset[str]:
        """Those that the owner's jobs which have not ended begin with."""
        with redis_errors_as_unavailable():
            at_once = self._redis.pipeline(transaction=True)  # none slips from one status into another
            for status in JobStatus:
                if not status.is_terminal:
                    at_once.zrange(index_key(status, owner), 0, -1)
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in (job_id for ids in at_once.execute() for job_id in ids):
                pipeline.hget(job_key(job_id), "image")
            return frozenset(text.strip('"') for text in pipeline.execute() if text is not None)

    def claim_round(self, task: str, seconds: float) -> bool:
        """Of all who ask within these seconds, one is to do the task."""
        with redis_errors_as_unavailable():
            return bool(self._claim(keys=[f"jobs:round:{task}"], args=[round(seconds * 1000)]))


def _leave_queue(pipeline: Pipeline, record: JobRecord, moved: JobRecord) -> None:
    if record.status is not JobStatus.QUEUED:
        return
    if record.retry_at is not None:
        pipeline.zrem(delayed_key(queue_of(record)), record.id)
    elif moved.status is JobStatus.RUNNING:
        queues.take(pipeline, record)
    else:
        queues.withdraw(pipeline, queue_of(record), record.id)


def _enter_queue(pipeline: Pipeline, record: JobRecord, *, first: bool) -> None:
    if record.status is not JobStatus.QUEUED:
        return
    if record.retry_at is not None:
        pipeline.zadd(delayed_key(queue_of(record)), {record.id: score(record.retry_at)})
    elif first:
        queues.enqueue_first(pipeline, record)
    else:
        queues.enqueue(pipeline, record)


def _forget(pipeline: Pipeline, job_id: str, owners: Collection[str], statuses: Iterable[JobStatus]) -> None:
    """`owners`: of whom one has it."""
    of_owners = {index_key(None, owner): owner for owner in owners}
    indexes = [index_key(status, owner) for owner in (None, *owners) for status in (None, *statuses)]
    others = [ENDED, *(index for index in indexes if index not in of_owners)]
    keys = [job_key(job_id), plan_key(job_id), BYTES, STORED, *of_owners, *others]
    pipeline.eval(_FORGET, len(keys), *keys, job_id, *of_owners.values())
    outbox.forget(pipeline, job_id)


def _require_own(record: JobRecord, worker: str) -> None:
    """Who has handed a job over, or was taken for dead, must not touch it any more.

    Names are never used twice and a worker does one thing at a time, so its name is enough to tell.
    """
    if record.worker != worker:
        raise _not_yours(record.id, record.status)


def _not_yours(job_id: str, status: JobStatus) -> Conflict:
    return Conflict(f"job '{job_id}' is {status}, and not in this worker's hands")


def _queued_stage(record: JobRecord) -> Stage:
    """What the job of a worker that lets go of it is queued for."""
    return Stage.PLANNING if record.stage is Stage.PLANNING else Stage.SAMPLING


def _queued_fields(stage: Stage, retry_at: datetime | None = None) -> dict[str, Any]:
    return {"status": JobStatus.QUEUED, "stage": stage, "retry_at": retry_at, **_NOT_RUNNING}


def _ended_fields(status: JobStatus, now: datetime) -> dict[str, Any]:
    gone = {"stage": None, "retry_at": None, "waiting_for": None}
    return {"status": status, "finished_at": now, **gone, **_NOT_RUNNING}


_NOT_RUNNING: Final = {"worker": None, "running_since": None, "expected_at": None}


def _indexes_by_status(record: JobRecord) -> tuple[str, str]:
    return index_key(record.status), index_key(record.status, record.owner)
