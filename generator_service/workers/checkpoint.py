"""Where a render stands, kept in object storage, so that whoever takes the job next goes on from there.

jobs/{id}/checkpoint.bin: the SHA-256 of what follows, and a safetensors file: the tensors of every candidate's
`StepState`, and as JSON their steps, reports and scores, whose they are, and a fingerprint of all that decides the
video.

None is saved while guidance needs the features of the step before, which are large: a render that is interrupted in
its guided steps, the first fifth, begins anew.
"""

import hashlib
import json
import time
from dataclasses import asdict
from typing import Any, Final

import safetensors.torch
import structlog
import torch
from safetensors import SafetensorError
from torch import Tensor

from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.media.manifest import installed_versions
from generator_service.sampling.state import Progress, StepState, first_state, restore_generator
from generator_service.storage import CHECKPOINT_TYPE, JobKeys, ObjectStore
from shared.errors import NotFound, Unavailable
from shared.plan import Plan

SHARE: Final = 0.02
"""No more of the time than this is spent on saving, however slow the storage is."""

_HASH_BYTES: Final = hashlib.sha256().digest_size

log = structlog.get_logger(__name__)


def fingerprint(
    prompt: str, plan: Plan | None, settings: RenderSettings, setup: Setup, image: str | None = None
) -> str:
    """SHA-256 over everything that can change a bit of the latents.  image: an upload's id."""
    decisive = {
        "prompt": prompt,
        "plan": None if plan is None else plan.content_hash,
        "image": image,
        "settings": settings.model_dump(mode="json"),
        "setup": asdict(setup),
        "versions": installed_versions(),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def pack(progress: Progress, about: dict[str, Any]) -> bytes:
    """Never pickle: it is read from where others may write."""
    states = [
        {"step": its.step, "report": None if its.report is None else its.report.model_dump(mode="json")}
        for its in progress.candidates
    ]
    facts = json.dumps(about | {"states": states, "scores": progress.scores}).encode()
    tensors = {"facts": torch.tensor(list(facts)).byte()}
    for index, its in enumerate(progress.candidates):
        tensors |= {f"latents.{index}": its.latents, f"generator.{index}": its.generator}
        tensors |= {} if its.memory is None else {f"memory.{index}": its.memory}
    data = safetensors.torch.save({name: its.detach().to("cpu").contiguous() for name, its in tensors.items()})
    return hashlib.sha256(data).digest() + data


def unpack(data: bytes, about: dict[str, Any], first: StepState, candidates: int = 1) -> Progress:
    """What `pack` was given with the same `about`, for a video whose first of so many candidates begins with `first`.

    Raises ValueError for anything else, and for states that cannot be this video's.
    """
    digest, data = data[:_HASH_BYTES], data[_HASH_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("Got a checkpoint that is damaged")
    try:
        tensors = safetensors.torch.load(data)
        facts = json.loads(bytes(tensors["facts"].tolist()))
        states, scores = facts.pop("states"), tuple(facts.pop("scores"))
        if facts != about:
            raise ValueError(f"Got a checkpoint of {facts} but expected one of {about}")
        if not (len(scores) <= len(states) and 1 <= len(states) <= candidates) or not all(
            type(score) is float for score in scores
        ):
            raise ValueError(f"Got {len(states)} states and scores {scores} of {candidates} candidates")
        return Progress(
            tuple(
                _state(
                    {name: tensors.get(f"{name}.{index}") for name in ("latents", "memory", "generator")}, its, first
                )
                for index, its in enumerate(states)
            ),
            scores,
        )
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError("Got something that is no checkpoint") from error


def _state(tensors: dict[str, Tensor | None], facts: dict[str, Any], first: StepState) -> StepState:
    step, report = facts["step"], facts["report"]
    latents, memory, generator = tensors["latents"], tensors["memory"], tensors["generator"]
    if latents is None or generator is None:
        raise ValueError("Got a state without latents or generator")
    if not (type(step) is int and 0 < step <= first.steps):
        raise ValueError(f"Got step {step!r} but expected 1 to {first.steps}")
    if latents.dtype != first.latents.dtype:
        raise ValueError(f"Got latents in {latents.dtype} but expected {first.latents.dtype}")
    shape = first.latents.shape
    of_latents = memory is None or memory.shape[-len(shape) :] == shape  # one, or several of them
    if latents.shape != shape or not of_latents:
        raise ValueError(f"Got latents or memory of another shape than {tuple(shape)}")
    if not all(torch.isfinite(tensor).all() for tensor in (latents, memory) if tensor is not None):
        raise ValueError("Got latents or memory that are not finite")
    state = StepState(
        step,
        first.steps,
        latents.to(first.latents.device),
        None if memory is None else memory.to(first.latents.device),
        generator,
        None if report is None else GuidanceReport.from_storage(json.dumps(report)),
    )
    restore_generator(state)
    return state


class Checkpoint:
    """That of one attempt at a job.  Whatever is wrong with it costs the checkpoint, never the video."""

    def __init__(
        self,
        store: JobStore,
        objects: ObjectStore,
        backbone: AnyBackbone,
        record: JobRecord,
        plan: Plan | None,
        seconds: float,
    ) -> None:
        """seconds: at least so many lie between one and the next."""
        self._store = store
        self._objects = objects
        self._backbone = backbone
        self._record = record
        self._key = JobKeys(record.id).checkpoint
        self._about = {
            "job": record.id,
            "fingerprint": fingerprint(record.prompt, plan, record.settings, backbone.setup, record.image),
        }
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def load(self) -> Progress | None:
        """What an earlier attempt has left; None where there is nothing to go on from."""
        try:
            if not self._store.may_have_objects(self._record.id):
                return None
            data = self._objects.get(self._key)
            settings = self._record.settings
            progress = unpack(data, self._about, first_state(self._backbone, settings), settings.candidates)
        except NotFound:
            return None
        except (ValueError, Unavailable) as error:
            log.warning("checkpoint_not_used", reason=str(error))
            return None
        log.info("resuming", step=progress.step)
        return progress

    def save_if_due(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self.save(progress)

    def save(self, progress: Progress) -> None:
        """Where it can be resumed from."""
        if not progress.is_resumable:
            return
        begin = time.monotonic()
        try:
            data = pack(progress, self._about)
            self._store.note_objects(self._record.id)
            self._objects.put(self._key, data, CHECKPOINT_TYPE)
        except Unavailable:
            log.warning("checkpoint_not_saved", step=progress.step)
        else:
            log.info("checkpoint_saved", step=progress.step, bytes=len(data))
        end = time.monotonic()
        self._next = end + max(self._seconds, (end - begin) * (1 - SHARE) / SHARE)
