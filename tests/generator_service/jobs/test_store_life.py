"""Any order of calls, against a model of what a job's life is: Hypothesis looks for the order that breaks it."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from generator_service.jobs.record import Diagnostics, JobRecord, Results
from generator_service.jobs.states import JobStatus, Stage
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound, RenderingFailed
from shared.plan import Plan

RESULTS = Results(video="v", plan=None, preview="w", manifest="m", report="r")


def test_any_order_of_calls(text_client: redis.Redis, make_record: Callable[[], JobRecord], plan: Plan) -> None:
    class Life(RuleBasedStateMachine):
        jobs: Bundle[str] = Bundle("jobs")

        def __init__(self) -> None:
            super().__init__()
            text_client.flushall()
            self.store = JobStore(text_client)
            self.expected: dict[str, JobStatus] = {}

        @rule(target=jobs)
        def create(self) -> str:
            record = make_record()
            self.store.create(record, None)
            self.expected[record.id] = JobStatus.QUEUED
            return record.id

        def attempt(
            self,
            job: str,
            allowed: set[JobStatus],
            target: JobStatus,
            move: Callable[..., object],
            *args: Any,
            **kw: Any,
        ) -> None:
            if self.expected.get(job) in allowed:
                move(job, *args, **kw)
                self.expected[job] = target
            else:
                with pytest.raises(Conflict if job in self.expected else NotFound):
                    move(job, *args, **kw)

        @rule(job=jobs)
        def start(self, job: str) -> None:
            stage = self.store.get(job).stage if self.expected.get(job) is JobStatus.QUEUED else Stage.PLANNING
            self.attempt(job, {JobStatus.QUEUED}, JobStatus.RUNNING, self.store.start, worker="w", stage=stage)

        @rule(job=jobs)
        def hand_over(self, job: str) -> None:
            self.attempt(
                job,
                {JobStatus.RUNNING},
                JobStatus.QUEUED,
                self.store.hand_over,
                plan,
                worker="w",
                progress=0.05,
                seconds=1.0,
            )

        @rule(job=jobs)
        def succeed(self, job: str) -> None:
            self.attempt(
                job,
                {JobStatus.RUNNING},
                JobStatus.SUCCEEDED,
                self.store.succeed,
                worker="w",
                results=RESULTS,
                diagnostics=Diagnostics(),
            )

        @rule(job=jobs)
        def fail(self, job: str) -> None:
            held = {JobStatus.RUNNING, JobStatus.CANCELING}
            self.attempt(job, held, JobStatus.FAILED, self.store.fail, RenderingFailed("x"), worker="w")

        @rule(job=jobs)
        def refuse(self, job: str) -> None:
            """As the API does where it cannot enqueue."""
            self.attempt(job, {JobStatus.QUEUED}, JobStatus.FAILED, self.store.fail, RenderingFailed("x"), worker=None)

        @rule(job=jobs)
        def hand_back(self, job: str) -> None:
            self.attempt(job, {JobStatus.RUNNING}, JobStatus.QUEUED, self.store.hand_back, worker="w")

        @rule(job=jobs)
        def take_back(self, job: str) -> None:
            if job in self.expected:
                seen = self.store.get(job)
                if seen.worker is None:
                    return  # no watchdog sees such a job as held
                moved = self.store.take_back(seen, attempts=2, pause=timedelta(0))
                if seen.status is JobStatus.CANCELING:
                    self.expected[job] = JobStatus.CANCELED
                else:
                    self.expected[job] = JobStatus.QUEUED if seen.attempt == 1 else JobStatus.FAILED
                assert moved.status is self.expected[job]

        @rule(job=jobs)
        def deliver(self, job: str) -> None:
            if job in self.expected:
                seen = self.store.get(job)
                self.attempt(job, {JobStatus.QUEUED}, JobStatus.QUEUED, lambda _: self.store.deliver(seen))

        @rule(job=jobs)
        def confirm_cancel(self, job: str) -> None:
            self.attempt(job, {JobStatus.CANCELING}, JobStatus.CANCELED, self.store.confirm_cancel, worker="w")

        @rule(job=jobs)
        def cancel(self, job: str) -> None:
            before = self.expected.get(job)
            target = {JobStatus.QUEUED: JobStatus.CANCELED, JobStatus.RUNNING: JobStatus.CANCELING}
            if before is None:
                with pytest.raises(NotFound):
                    self.store.cancel(job)
            else:
                self.expected[job] = target.get(before, before)
                assert self.store.cancel(job).status is self.expected[job]

        @rule(job=jobs)
        def report(self, job: str) -> None:
            if job in self.expected:
                held = self.expected[job] in (JobStatus.RUNNING, JobStatus.CANCELING)
                with nullcontext() if held else pytest.raises(Conflict):
                    status = self.store.report(job, worker="w", stage=Stage.PLANNING, progress=0.5, step=1)
                    assert status is self.expected[job]
            else:
                with pytest.raises(NotFound):
                    self.store.report(job, worker="w", stage=Stage.SAMPLING, progress=0.5, step=1)

        @rule(job=consumes(jobs), target=jobs)
        def delete(self, job: str) -> str:
            if job not in self.expected:
                with pytest.raises(NotFound):
                    self.store.delete(job)
            elif self.expected[job].is_terminal:
                self.store.delete(job)
                del self.expected[job]
            else:
                with pytest.raises(Conflict):
                    self.store.delete(job)
            return job  # whoever still knows a deleted job's id may call with it

        @invariant()
        def indexes_agree_with_records(self) -> None:
            listed = self.store.list(limit=100).jobs
            assert {record.id: record.status for record in listed} == self.expected
            for status in JobStatus:
                of_status = {job for job, expected in self.expected.items() if expected is status}
                assert {record.id for record in self.store.list(status=status, limit=100).jobs} == of_status
                assert self.store.counts()[status] == len(of_status)

        @invariant()
        def terminal_jobs_have_ended_and_no_others(self) -> None:
            for record in self.store.list(limit=100).jobs:
                assert (record.finished_at is not None) == record.status.is_terminal
                assert (record.results is not None) == (record.status is JobStatus.SUCCEEDED)
                assert (record.error is not None) == (record.status is JobStatus.FAILED)
                assert (record.worker is not None) == (record.status in (JobStatus.RUNNING, JobStatus.CANCELING))
                assert record.retry_at is None or record.status is JobStatus.QUEUED

        @invariant()
        def nothing_is_left_of_deleted_jobs(self) -> None:
            assert {key.split(":")[1] for key in text_client.scan_iter("job:*")} == set(self.expected)

    run_state_machine_as_test(
        Life, settings=settings(max_examples=30, stateful_step_count=20, deadline=None, derandomize=True)
    )
