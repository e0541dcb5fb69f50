"""The life of a job on one page.

    (accepted) ─▶ queued ──start──▶ running ──succeed──▶ succeeded
                  │ │ ▲              │ │ │
                  │ │ ├──hand over───┤ │ └───fail──────▶ failed
                  │ │ ├──hand back───┤ │                  ▲ ▲
                  │ │ ├──postpone────┤ │                  │ │
                  │ │ └──take back───┘ │                  │ │
                  │ └──────fail────────│──────────────────┘ │
                  │                    └─cancel─▶ canceling ─┤
                  └──cancel────────────────────▶ canceled ◀──┘

`queued` and `running` alternate: a job is queued for planning, runs (stage: planning), is handed over to the queue of
renders, runs again (sampling, decoding, storing).  A job whose client gave a plan starts in the queue of renders.
A running job that is to be canceled is `canceling` until its worker has let go of it.  Terminal states are final.

A running job is its worker's as long as that worker's heartbeat says that it is at this job.  A worker that is stopped
hands its job back; one that finds gone what the job needs postpones it, and takes others meanwhile.  From one that fell
silent the watchdog takes it back: it is queued for another attempt, or failed after the last one, or canceled if that
was wished.  Whatever the old worker does to the job afterwards is refused.
A queued job that is in no queue is `delivered` anew, which changes nothing else about it.
A job that has ended is deleted when somebody asks for it, or when it ended longer ago than jobs are kept.
"""

from collections.abc import Mapping
from typing import Final

from generator_service.contract.job import JobStatus

MOVES: Final[Mapping[str, frozenset[tuple[JobStatus, JobStatus]]]] = {
    "start": frozenset({(JobStatus.QUEUED, JobStatus.RUNNING)}),
    "hand_over": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "hand_back": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "postpone": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "take_back": frozenset(
        {
            (JobStatus.RUNNING, JobStatus.QUEUED),
            (JobStatus.RUNNING, JobStatus.FAILED),
            (JobStatus.CANCELING, JobStatus.CANCELED),
        }
    ),
    "deliver": frozenset({(JobStatus.QUEUED, JobStatus.QUEUED)}),
    "succeed": frozenset({(JobStatus.RUNNING, JobStatus.SUCCEEDED)}),
    "fail": frozenset(
        {
            (JobStatus.QUEUED, JobStatus.FAILED),
            (JobStatus.RUNNING, JobStatus.FAILED),
            (JobStatus.CANCELING, JobStatus.FAILED),
        }
    ),
    "cancel": frozenset({(JobStatus.QUEUED, JobStatus.CANCELED), (JobStatus.RUNNING, JobStatus.CANCELING)}),
    "confirm_cancel": frozenset({(JobStatus.CANCELING, JobStatus.CANCELED)}),
}
"""Every change of state there is: the method of `JobStore` that makes it, and from which state it leads to which."""


def successors(status: JobStatus) -> frozenset[JobStatus]:
    """The states that may follow this one."""
    return frozenset(after for move in MOVES.values() for before, after in move if before is status)
