"""The life of a job as a table, drawn by hand."""

import re
from pathlib import Path

import pytest

from generator_service.contract.job import JobStatus
from generator_service.jobs.states import MOVES, successors
from generator_service.jobs.store import JobStore

LIFE = {
    "queued": {"queued", "running", "canceled"},
    "running": {"queued", "canceling", "succeeded", "failed"},
    "canceling": {"canceled", "failed"},
    "canceled": set(),
    "succeeded": set(),
    "failed": set(),
}


@pytest.mark.parametrize("status", JobStatus)
def test_successors(status: JobStatus) -> None:
    assert {successor.value for successor in successors(status)} == LIFE[status.value]


@pytest.mark.parametrize("status", JobStatus)
def test_terminal_states_are_those_without_successor(status: JobStatus) -> None:
    assert status.is_terminal == (not LIFE[status.value])


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_terminal])
def test_every_job_can_come_to_an_end(status: JobStatus) -> None:
    reached, new = {status}, {status}
    while new:
        new = {successor for one in new for successor in successors(one)} - reached
        reached |= new
    assert any(one.is_terminal for one in reached)


def test_every_move_is_a_method_of_the_store() -> None:
    assert [name for name in MOVES if not callable(getattr(JobStore, name, None))] == []


@pytest.fixture(scope="session")
def section(repository: Path) -> str:
    """What ARCHITECTURE.md says of a job's life."""
    text = (repository / "ARCHITECTURE.md").read_text()
    return text.partition("## The life of a job\n")[2].partition("\n## ")[0]


def test_the_diagram_in_the_documentation_is_the_code(section: str) -> None:
    arrows = {
        (before, after): ", ".join(name for name, move in MOVES.items() if (before, after) in move)
        for before in JobStatus
        for after in JobStatus
    }
    diagram = [
        "stateDiagram-v2",
        "    [*] --> queued",
        *(f"    {before} --> {after}: {moves}" for (before, after), moves in arrows.items() if moves),
        *(f"    {status} --> [*]" for status in JobStatus if status.is_terminal),
    ]
    assert section.partition("```mermaid\n")[2].partition("\n```")[0].splitlines() == diagram


def test_every_move_is_explained_in_the_documentation(section: str) -> None:
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(MOVES)
