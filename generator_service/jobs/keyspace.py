"""Every key in Redis that tells of jobs, and who writes it.

    job:{id}                     hash: the `JobRecord`, a field each as JSON; and
                                 `bytes`, its share of its owner's                     a submission, the store's moves
    job:{id}:plan                its plan, as JSON                                     a submission, `hand_over`
    jobs, jobs:{status}          sorted sets of the ids of all jobs, and of those in
                                 that status, by creation                              a submission, every move
    jobs:of:{owner}[:{status}]   the same, of one owner's jobs                         a submission, every move
    jobs:owners                  set of all who have jobs: by it a broken record is
                                 found in its owner's sets                             a submission; the cleanup
    jobs:bytes                   hash: how much each owner's requests and plans take   a submission, `hand_over`; what
                                                                                       drops a plan or a job
    waiting:{queue}              sorted set of the ids of jobs that wait, by turn      a submission, every move
    delayed:{queue}              sorted set of the ids of queued jobs whose turn comes
                                 later, by when (`retry_at`)                           every move
    turns:{queue}                hash: the turn served last, and each owner's last     with `waiting`
    taken:{queue}                list of the times of the latest starts                with `waiting`
    jobs:ended                   sorted set of the ids of ended jobs, by their end     every move; the cleanup
    jobs:stored                  set of the ids of jobs for which object storage may
                                 hold more than their results                          render workers; the cleanup
    jobs:round:{task}            there while this round of a task is somebody's        recovery, cleanup
    rate:{owner}                 when the owner has all of its burst again (ms)        every POST of a job
    idempotency:{owner}:{hash}   hash: a request's fingerprint, and the job it made    a submission
    idempotency:{owner}          sorted set of these hashes, by their end (ms)         a submission
    webhooks:due, :targets, job:{id}:deliveries   events to be sent: `outbox.py`       every move; the webhook worker
    worker:{name}, workers       live workers: `workers.py`                            their heartbeats
    key:{id}, keys, keys:used    API keys: `api_keys.py`                               the command line; the API
    rq:*                         RQ's: tickets that wake workers: `tickets.py`         whoever makes a job wait; RQ

A job that is `queued` is in `waiting` or in `delayed`, and no other job is: every transaction that changes a job's
state changes its place as well.  Nothing else has to be kept in step: the tickets may be lost or doubled.
Times are microseconds since 1970 of Redis' own clock where nothing else is said.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from generator_service.contract.job import JobStatus

OWNERS: Final = "jobs:owners"
BYTES: Final = "jobs:bytes"
ENDED: Final = "jobs:ended"
STORED: Final = "jobs:stored"


def job_key(job_id: str) -> str:
    return f"job:{job_id}"


def plan_key(job_id: str) -> str:
    return f"job:{job_id}:plan"


def index_key(status: JobStatus | None = None, owner: str | None = None) -> str:
    jobs = "jobs" if owner is None else f"jobs:of:{owner}"
    return jobs if status is None else f"{jobs}:{status}"


def waiting_key(queue: str) -> str:
    return f"waiting:{queue}"


def delayed_key(queue: str) -> str:
    return f"delayed:{queue}"


def turns_key(queue: str) -> str:
    return f"turns:{queue}"


def taken_key(queue: str) -> str:
    return f"taken:{queue}"


def tickets_key(queue: str) -> str:
    """RQ's own name for it."""
    return f"rq:queue:{queue}"


def moment(seconds: str | int, microseconds: str | int) -> datetime:
    """From Redis' TIME."""
    return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))


def score(moment: datetime) -> int:
    """Microseconds since 1970: exact in a double, and they tell jobs of the same millisecond apart."""
    return round(moment.timestamp() * 1_000_000)
