"""Any order of events in the lives of several jobs and workers, against a model of what a life is: Hypothesis looks
for the order that breaks it.  Valkey is the real one, and so are store, recovery and cleanup; a worker is what it does
to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import redis
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.report import Diagnostics
from generator_service.contract.request import Priority
from generator_service.jobs import recovery as recovery_module
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.queues import PLAN_QUEUE, queue_of, render_queue
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.recovery import Recovery
from generator_service.jobs.states import MOVES
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import BEATS_TO_EXPIRY, WorkerInfo, WorkerRegistry
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys, ObjectStore
from shared.errors import Conflict, NotFound, RenderingFailed
from shared.plan import Plan

ATTEMPTS = 3
BEAT = 4.0
"""Seconds; they pass on the `Clock` alone."""
WEEK = timedelta(days=7)
STAGES = st.sampled_from([Stage.PLANNING, Stage.SAMPLING, Stage.SAMPLING])
OWNERS = st.sampled_from(["ada", "bob"])
PRIORITIES: st.SearchStrategy[Priority] = st.sampled_from(["high", "normal", "low"])
QUEUES = {Stage.PLANNING: PLAN_QUEUE, Stage.SAMPLING: render_queue("emoji-world")}
HELD = (JobStatus.RUNNING, JobStatus.CANCELING)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Expected:
    """What a job's record should say."""

    status: JobStatus
    stage: Stage
    """What it is queued for or was last taken for."""
    owner: str
    holder: str | None = None
    attempt: int = 1
    is_delayed: bool = False


@dataclass(eq=False)
class Worker:
    name: str
    stage: Stage
    """Where its part of a job begins."""
    job: str | None = None
    """What it believes to have in hand."""
    attempt: int = 0
    """At that job."""
    is_heard: bool = True
    """One that is not is dead, or will go on where it was."""

    @property
    def queue(self) -> str:
        return QUEUES[self.stage]


class EveryRound(JobStore):
    """Each round is for whoever asks: the tests' clock is faster than Redis'."""

    def claim_round(self, task: str, seconds: float) -> bool:
        return True


def test_any_order_of_events(
    text_client: redis.Redis,
    raw_client: redis.Redis,
    make_record: Callable[..., JobRecord],
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(recovery_module, "time", clock)
    monkeypatch.setattr(recovery_module, "FIRST_PAUSE", timedelta(0))

    class Life(RuleBasedStateMachine):
        jobs: Bundle[str] = Bundle("jobs")

        def __init__(self) -> None:
            super().__init__()
            text_client.flushall()
            self.store = EveryRound(text_client)
            self.tickets = Tickets(raw_client)
            self.registry = WorkerRegistry(text_client, BEAT)
            self.objects = ObjectStore.open(StorageSettings(url="memory://"))
            self.pack = [Recovery(self.store, self.tickets, self.registry, ATTEMPTS) for _ in range(2)]
            self.expected: dict[str, Expected] = {}
            self.seen: dict[str, JobRecord] = {}
            self.staff: list[Worker] = []

        # those who wish

        @rule(target=jobs, planned=st.booleans(), owner=OWNERS, priority=PRIORITIES)
        def submit(self, planned: bool, owner: str, priority: Priority) -> str:
            stage = Stage.SAMPLING if planned else Stage.PLANNING
            record = make_record(stage=stage, owner=owner, priority=priority)
            self.store.create(record, plan if planned else None)
            self.expected[record.id] = Expected(JobStatus.QUEUED, stage, owner)
            return record.id

        @rule(data=st.data(), job=jobs)
        def wish(self, data: st.DataObject, job: str) -> None:
            data.draw(st.sampled_from([self.cancel, self.cancel, self.delete]))(job)

        def cancel(self, job: str) -> None:
            if job not in self.expected:
                with pytest.raises(NotFound):
                    self.store.cancel(job)
                return
            its = self.expected[job]
            its.status = {JobStatus.QUEUED: JobStatus.CANCELED, JobStatus.RUNNING: JobStatus.CANCELING}.get(
                its.status, its.status
            )
            record = self.store.cancel(job)
            assert record.status is its.status

        def delete(self, job: str) -> None:
            if job not in self.expected:
                with pytest.raises(NotFound):
                    self.store.delete(job)
            elif self.expected[job].status.is_terminal:
                self.store.delete(job)
                del self.expected[job]
            else:
                with pytest.raises(Conflict):
                    self.store.delete(job)

        # those who work

        def hire(self, stage: Stage) -> Worker:
            worker = Worker(f"w{len(self.staff)}", stage)
            self.staff.append(worker)
            self.beat(worker)
            return worker

        def beat(self, worker: Worker) -> None:
            kind = "plan" if worker.stage is Stage.PLANNING else "render"
            info = WorkerInfo.model_validate(
                {"name": worker.name, "kind": kind, "job": worker.job, "started_at": datetime.now(UTC)}
            )
            self.registry.beat(info)

        def fall_silent(self, worker: Worker) -> None:
            worker.is_heard = False
            self.registry.forget(worker.name)

        def idle(self, stage: Stage) -> Worker:
            """One of those, or a new one."""
            idle = (worker for worker in self.staff if worker.is_heard and worker.job is None and worker.stage is stage)
            return next(idle, None) or self.hire(stage)

        @rule(stage=STAGES)
        def start(self, stage: Stage) -> None:
            worker = self.idle(stage)
            record = self.store.start(worker.queue, worker=worker.name)
            if record is None:
                queued = (JobStatus.QUEUED, stage)
                assert all(its.is_delayed for its in self.expected.values() if (its.status, its.stage) == queued)
                return
            its = self.expected[record.id]
            assert (its.status, its.stage, its.is_delayed) == (JobStatus.QUEUED, stage, False)
            worker.job, worker.attempt = record.id, record.attempt
            its.status, its.holder = JobStatus.RUNNING, worker.name
            self.beat(worker)

        @rule(stage=STAGES)
        def start_and_die(self, stage: Stage) -> None:
            """Before it can say so."""
            worker = self.idle(stage)
            record = self.store.start(worker.queue, worker=worker.name)
            if record is not None:
                self.expected[record.id].status = JobStatus.RUNNING
                self.expected[record.id].holder = worker.name
            self.fall_silent(worker)

        def busy(self) -> list[Worker]:
            """Those who believe to have a job, heard or not."""
            return [worker for worker in self.staff if worker.job is not None]

        @precondition(busy)
        @rule(data=st.data())
        def work(self, data: st.DataObject) -> None:
            """One of them does one of the things that end or go on with a job."""
            worker = data.draw(st.sampled_from(self.busy()))
            own = [self.hand_over] if worker.stage is Stage.PLANNING else [self.succeed, self.save, self.upload_and_die]
            any_ones = [self.report, self.release, self.retry_later, self.fail, self.confirm_cancel, self.fall_silent]
            data.draw(st.sampled_from(own + any_ones))(worker)

        @precondition(busy)
        @rule(data=st.data())
        def seem_dead(self, data: st.DataObject) -> None:
            """One of them is held up for so long that another has its job, or what comes next."""
            worker = data.draw(st.sampled_from(self.busy()))
            self.fall_silent(worker)
            self.time_passes()
            self.start(worker.stage)

        def act(self, worker: Worker, allowed: tuple[JobStatus, ...], act: Callable[[str], object]) -> Expected | None:
            """It does this to its job, and lets go of it; what is expected of the job, where that is not refused."""
            job, worker.job = str(worker.job), None
            its = self.expected.get(job)
            if its is not None and its.holder == worker.name and its.status in allowed:
                act(job)
                its.holder = None
                return its
            with pytest.raises(NotFound if its is None else Conflict):
                act(job)
            if its is not None and its.holder == worker.name:
                worker.job = job  # refused by its status alone: it is still there to do something else
            return None

        def report(self, worker: Worker) -> None:
            its = self.expected.get(str(worker.job))

            def report() -> JobStatus:
                return self.store.report(str(worker.job), worker=worker.name, stage=worker.stage, progress=0.5, step=1)

            if its is not None and its.holder == worker.name:
                assert report() is its.status
            else:
                with pytest.raises(NotFound if its is None else Conflict):
                    report()
                worker.job = None

        def hand_over(self, worker: Worker) -> None:
            its = self.act(
                worker,
                (JobStatus.RUNNING,),
                lambda job: self.store.hand_over(job, plan, worker=worker.name, progress=0.05, seconds=1.0),
            )
            if its is not None:
                its.status, its.stage = JobStatus.QUEUED, Stage.SAMPLING

        def release(self, worker: Worker) -> None:
            its = self.act(worker, (JobStatus.RUNNING,), lambda job: self.store.release(job, worker=worker.name))
            if its is not None:
                its.status = JobStatus.QUEUED

        def retry_later(self, worker: Worker) -> None:
            gone, pause = RenderingFailed("gone"), timedelta(0)
            its = self.act(
                worker,
                (JobStatus.RUNNING,),
                lambda job: self.store.retry_later(job, gone, worker=worker.name, pause=pause),
            )
            if its is not None:
                its.status, its.is_delayed = JobStatus.QUEUED, True

        def fail(self, worker: Worker) -> None:
            error = RenderingFailed("x")
            its = self.act(worker, HELD, lambda job: self.store.fail(job, error, worker=worker.name))
            if its is not None:
                its.status = JobStatus.FAILED

        def confirm_cancel(self, worker: Worker) -> None:
            canceling = (JobStatus.CANCELING,)
            its = self.act(worker, canceling, lambda job: self.store.confirm_cancel(job, worker=worker.name))
            if its is not None:
                its.status = JobStatus.CANCELED

        def save(self, worker: Worker) -> None:
            """A checkpoint; one that was taken for dead may do so as well."""
            self.store.note_objects(str(worker.job))
            self.objects.put(JobKeys(str(worker.job)).checkpoint, b"half a video", "application/octet-stream")

        def upload(self, worker: Worker) -> JobKeys:
            keys = JobKeys(str(worker.job), worker.attempt)
            self.store.note_objects(keys.job_id)
            self.objects.put(keys.video, b"a video", "video/mp4")
            return keys

        def upload_and_die(self, worker: Worker) -> None:
            self.upload(worker)
            self.fall_silent(worker)
            worker.job = None

        def succeed(self, worker: Worker) -> None:
            keys = self.upload(worker)
            results = Results(video=keys.video, plan=None, preview="w", manifest="m", report="r")
            its = self.act(
                worker,
                (JobStatus.RUNNING,),
                lambda job: self.store.succeed(job, worker=worker.name, results=results, diagnostics=Diagnostics()),
            )
            if its is not None:
                its.status = JobStatus.SUCCEEDED
            else:
                self.objects.delete_prefix(keys.attempt_prefix)

        # those who look after all that

        @rule()
        def time_passes(self) -> None:
            """Enough for recovery to see what is to be seen, and to act on it."""
            for _ in range(BEATS_TO_EXPIRY + 2):
                for worker in self.staff:
                    if worker.is_heard:
                        self.beat(worker)
                for recovery in self.pack:
                    recovery.run_once()
                clock.now += BEAT
            heard = {worker.name: worker.job for worker in self.staff if worker.is_heard}
            for job, its in self.expected.items():
                if its.status in HELD and heard.get(str(its.holder)) != job:
                    its.holder = None
                    if its.status is JobStatus.CANCELING:
                        its.status = JobStatus.CANCELED
                    elif its.attempt < ATTEMPTS:
                        its.status, its.attempt = JobStatus.QUEUED, its.attempt + 1
                    else:
                        its.status = JobStatus.FAILED
            for its in self.expected.values():
                its.is_delayed = False
            for queue, waiting in self.store.count_waiting().items():
                assert self.tickets.queue(queue).count > 0 or not waiting

        @rule(retention=st.sampled_from([timedelta(0), WEEK]))
        def clean_up(self, retention: timedelta) -> None:
            Cleanup(self.store, self.objects, retention, 1.0).clean_up()
            if not retention:
                self.expected = {job: its for job, its in self.expected.items() if not its.status.is_terminal}
            stored = self.objects.keys("jobs/")
            for job in {key.split("/")[1] for key in stored}:
                its = self.expected[job]
                if its.status.is_terminal:
                    results = self.store.get(job).results
                    assert results is not None
                    assert [key for key in stored if job in key] == [results.video]

        # what holds at any time

        @invariant()
        def all_is_as_it_should_be(self) -> None:
            records = self.store.list(limit=100).jobs  # once: it is what takes the time
            self.no_job_is_lost_and_each_is_as_expected(records)
            self.records_make_sense(records)
            self.states_follow_one_another_as_they_may_and_ends_are_final(records)
            self.indices_agree_with_records(records)

        def no_job_is_lost_and_each_is_as_expected(self, records: Sequence[JobRecord]) -> None:
            assert {record.id: (record.status, record.worker, record.attempt) for record in records} == {
                job: (its.status, its.holder, its.attempt) for job, its in self.expected.items()
            }

        def records_make_sense(self, records: Sequence[JobRecord]) -> None:
            for record in records:
                assert (record.finished_at is not None) == record.status.is_terminal
                assert (record.results is not None) == (record.status is JobStatus.SUCCEEDED)
                assert (record.error is not None) == (record.status is JobStatus.FAILED)
                assert (record.worker is not None) == (record.status in HELD)
                assert record.retry_at is None or record.status is JobStatus.QUEUED
                assert record.waiting_for is None or not record.status.is_terminal
                if record.results is not None:
                    assert self.objects.get(record.results.video)

        def states_follow_one_another_as_they_may_and_ends_are_final(self, records: Sequence[JobRecord]) -> None:
            steps = {step for move in MOVES.values() for step in move}
            for record in records:
                before = self.seen.get(record.id, record)
                reached = {before.status}
                for _ in JobStatus:
                    reached |= {after for first, after in steps if first in reached}
                assert record.status in reached
                assert record == before or not before.status.is_terminal
                self.seen[record.id] = record

        def indices_agree_with_records(self, records: Sequence[JobRecord]) -> None:
            expected: dict[str, set[str]] = {"jobs": set(self.expected)}
            for owner in ("ada", "bob"):
                expected[f"jobs:of:{owner}"] = {job for job, its in self.expected.items() if its.owner == owner}
            for status in JobStatus:
                expected[f"jobs:{status}"] = {job for job, its in self.expected.items() if its.status is status}
                for owner in ("ada", "bob"):
                    expected[f"jobs:of:{owner}:{status}"] = expected[f"jobs:{status}"] & expected[f"jobs:of:{owner}"]
            expected["jobs:ended"] = {job for job, its in self.expected.items() if its.status.is_terminal}
            for queue in QUEUES.values():
                queued = [job for job in records if job.status is JobStatus.QUEUED and queue_of(job) == queue]
                expected[f"waiting:{queue}"] = {job.id for job in queued if not self.expected[job.id].is_delayed}
                expected[f"delayed:{queue}"] = {job.id for job in queued if self.expected[job.id].is_delayed}
            pipeline = text_client.pipeline(transaction=False)
            for index in expected:
                pipeline.zrange(index, 0, -1)
            pipeline.keys("job:*")
            *members, keys = pipeline.execute()
            assert dict(zip(expected, map(set, members), strict=True)) == expected
            assert {key.split(":")[1] for key in keys} == set(self.expected)

        def teardown(self) -> None:
            """Whatever has happened: one worker of each kind brings every job to its end, and nothing stays."""
            for worker in self.staff:
                self.fall_silent(worker)
                worker.job = None
            for _ in range(2 * ATTEMPTS):
                self.time_passes()
                for stage in (Stage.PLANNING, Stage.SAMPLING):
                    for _ in self.expected:
                        self.start(stage)
                    for worker in self.busy():
                        (self.hand_over if stage is Stage.PLANNING else self.succeed)(worker)
            self.no_job_is_lost_and_each_is_as_expected(self.store.list(limit=100).jobs)
            assert all(its.status.is_terminal for its in self.expected.values())
            self.clean_up(timedelta(0))
            own = ("worker:", "workers", "rq:")
            assert [key for key in text_client.scan_iter() if not key.startswith(own)] == []
            assert self.objects.keys("jobs/") == ()

    # Without shrinking, which would take minutes: what is printed is the order that was found.
    found = settings(max_examples=20, stateful_step_count=40, deadline=None, derandomize=True, phases=[Phase.generate])
    run_state_machine_as_test(Life, settings=found)
