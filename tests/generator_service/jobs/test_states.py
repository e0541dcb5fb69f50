"""The life of a job as a table, drawn by hand."""

import pytest

from generator_service.jobs.states import JobStatus

LIFE = {
    "queued": {"queued", "running", "canceled", "failed"},
    "running": {"queued", "canceling", "succeeded", "failed"},
    "canceling": {"canceled", "failed"},
    "canceled": set(),
    "succeeded": set(),
    "failed": set(),
}


@pytest.mark.parametrize("status", JobStatus)
def test_successors(status: JobStatus) -> None:
    assert {successor.value for successor in status.successors} == LIFE[status.value]


@pytest.mark.parametrize("status", JobStatus)
def test_terminal_states_are_those_without_successor(status: JobStatus) -> None:
    assert status.is_terminal == (not LIFE[status.value])


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_terminal])
def test_every_job_can_come_to_an_end(status: JobStatus) -> None:
    reached, new = {status}, {status}
    while new:
        new = {successor for one in new for successor in one.successors} - reached
        reached |= new
    assert any(one.is_terminal for one in reached)
