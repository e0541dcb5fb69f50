"""The life of a job on one page.

    (accepted) ─▶ queued ──start──▶ running ──succeed──▶ succeeded
                  │ ▲                │ │ │
                  │ ├──hand over─────┤ │ └───fail, reclaim──▶ failed
                  │ ├──release───────┤ │                        ▲
                  │ ├──retry later───┤ └──cancel──▶ canceling ──┘ fail
                  │ └──reclaim───────┘                  │
                  │                                     │ confirm cancel, reclaim
                  └──cancel──▶ canceled ◀───────────────┘

`queued` and `running` alternate: a job is queued for planning, runs (stage: planning), is handed over to the queue of
renders, runs again (sampling, decoding, storing).  A job whose client gave a plan starts in the queue of renders.
A running job that is to be canceled is `canceling` until its worker has let go of it.  Terminal states are final.

A queued job waits for its turn in its queue, or is delayed until it is `promoted` to a turn, which changes nothing else
about it.  Each move changes state and turn in one transaction.

A running job is its worker's as long as that worker's heartbeat says that it is at this job.  A worker that is stopped
releases its job; one that finds gone what the job needs has it retried later, and takes others meanwhile.  A job whose
worker fell silent, or finds itself unfit, is reclaimed: it is queued for another attempt, or failed after the last one,
or canceled if that was wished.  Whatever the old worker does to the job afterwards is refused.
A job that has ended is deleted when somebody asks for it, or when it ended longer ago than jobs are kept.
"""

from collections.abc import Mapping
from typing import Final

from generator_service.contract.job import JobStatus

MOVES: Final[Mapping[str, frozenset[tuple[JobStatus, JobStatus]]]] = {
    "start": frozenset({(JobStatus.QUEUED, JobStatus.RUNNING)}),
    "hand_over": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "release": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "retry_later": frozenset({(JobStatus.RUNNING, JobStatus.QUEUED)}),
    "reclaim": frozenset(
        {
            (JobStatus.RUNNING, JobStatus.QUEUED),
            (JobStatus.RUNNING, JobStatus.FAILED),
            (JobStatus.CANCELING, JobStatus.CANCELED),
        }
    ),
    "promote": frozenset({(JobStatus.QUEUED, JobStatus.QUEUED)}),
    "succeed": frozenset({(JobStatus.RUNNING, JobStatus.SUCCEEDED)}),
    "fail": frozenset(
        {
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
