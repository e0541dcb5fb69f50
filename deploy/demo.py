"""One video on the local stack, from the backbone its worker holds: submit, follow, fetch."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.stack import LocalStack
from generator_service.client import Client
from generator_service.contract.job import JobStatus, JobView
from generator_service.contract.request import JobRequest
from generator_service.settings import WorkerSettings
from shared.errors import validation_errors_as_invalid_request

POLL_SECONDS: Final = 0.1
MAXIMUM_SLUG: Final = 80


@dataclass(frozen=True)
class Files:
    """What a demonstration leaves."""

    video: Path
    plan: Path
    preview: Path


def request_for(prompt: str, seed: int | None) -> JobRequest:
    """Raises InvalidRequest."""
    with validation_errors_as_invalid_request():
        return JobRequest(prompt=prompt, seed=seed, backbone=WorkerSettings().backbone)


def make_video(
    stack: LocalStack, request: JobRequest, out: Path, show: Callable[[JobView], None]
) -> tuple[JobView, Files | None]:
    """The job as it ended, and its files where it succeeded, in a folder of `out` that is named for the prompt.

    Raises PartError and Stopped, and every ServiceError that the API may answer.
    """
    with Client(stack.addresses.api) as client:
        job = client.submit(request)
        while True:
            show(job)
            if job.status.is_terminal:
                break
            stack.check()
            time.sleep(POLL_SECONDS)
            job = client.get(job.id)
        if job.status is not JobStatus.SUCCEEDED:
            return job, None
        folder = out / slug(job.prompt)
        files = Files(folder / "video.mp4", folder / "plan.json", folder / "preview.png")
        client.download(job.id, files.video)
        client.download_preview(job.id, files.preview)
        files.plan.write_text(client.plan(job.id).model_dump_json(indent=2) + "\n")
    return job, files


def slug(prompt: str) -> str:
    """A folder's name: "A red car!" -> "a-red-car"."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")
    return words[:MAXIMUM_SLUG].rstrip("-") or "video"
