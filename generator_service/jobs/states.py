"""The life of a job on one page.

    (accepted) ─▶ queued ──start──▶ running ──succeed──▶ succeeded
                  │ │ ▲              │ │ │
                  │ │ ├──hand over───┤ │ └───fail──────▶ failed
                  │ │ ├──hand back───┤ │                  ▲ ▲
                  │ │ └──take back───┘ │                  │ │
                  │ └──────fail────────│──────────────────┘ │
                  │                    └─cancel─▶ canceling ─┤
                  └──cancel────────────────────▶ canceled ◀──┘

`queued` and `running` alternate: a job is queued for planning, runs (stage: planning), is handed over to the queue of
renders, runs again (sampling, decoding, storing).  A job whose client gave a plan starts in the queue of renders.
A running job that is to be canceled is `canceling` until its worker has let go of it.  Terminal states are final.

A running job is its worker's as long as that worker's heartbeat says that it is at this job.  A worker that is stopped
hands its job back.  From one that fell silent the watchdog takes it back: it is queued for another attempt, or failed
after the last one, or canceled if that was wished.  Whatever the old worker does to the job afterwards is refused.
A queued job that is in no queue is `delivered` anew, which changes nothing else about it.
"""

from enum import StrEnum
from typing import assert_never


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        return not self.successors

    @property
    def successors(self) -> frozenset["JobStatus"]:
        """The states that may follow this one."""
        match self:
            case JobStatus.QUEUED:
                return frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELED, JobStatus.FAILED})
            case JobStatus.RUNNING:
                return frozenset({JobStatus.QUEUED, JobStatus.CANCELING, JobStatus.SUCCEEDED, JobStatus.FAILED})
            case JobStatus.CANCELING:
                return frozenset({JobStatus.CANCELED, JobStatus.FAILED})
            case JobStatus.SUCCEEDED | JobStatus.FAILED | JobStatus.CANCELED:
                return frozenset()
            case _:
                assert_never(self)


class Stage(StrEnum):
    """What is being done to a job, or what it is queued for; apart from its status."""

    PLANNING = "planning"
    SAMPLING = "sampling"
    DECODING = "decoding"
    STORING = "storing"
