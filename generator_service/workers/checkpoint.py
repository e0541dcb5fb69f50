"""Where a render stands, kept in object storage, so that whoever takes the job next goes on from there.

jobs/{id}/checkpoint.bin: the SHA-256 of what follows, and a safetensors file: the tensors of a `StepState`, and as JSON
its step, its report, whose it is, and a fingerprint of all that decides the video.

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

from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.media.manifest import installed_versions
from generator_service.sampling.state import StepState, first_state, restore_generator
from generator_service.storage import CHECKPOINT_TYPE, JobKeys, ObjectStore
from shared.errors import NotFound, Unavailable
from shared.plan import Plan

SHARE: Final = 0.02
"""No more of the time than this is spent on saving, however slow the storage is."""

_HASH_BYTES: Final = hashlib.sha256().digest_size

log = structlog.get_logger(__name__)


def fingerprint(prompt: str, plan: Plan | None, settings: RenderSettings, setup: Setup) -> str:
    """SHA-256 over everything that can change a bit of the latents."""
    decisive = {
        "prompt": prompt,
        "plan": None if plan is None else plan.content_hash,
        "settings": settings.model_dump(mode="json"),
        "setup": asdict(setup),
        "versions": installed_versions(),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def pack(state: StepState, about: dict[str, Any]) -> bytes:
    """Never pickle: it is read from where others may write."""
    report = None if state.report is None else state.report.model_dump(mode="json")
    facts = json.dumps(about | {"step": state.step, "report": report}).encode()
    tensors = {"latents": state.latents, "generator": state.generator, "facts": torch.tensor(list(facts)).byte()}
    tensors |= {} if state.memory is None else {"memory": state.memory}
    data = safetensors.torch.save({name: its.detach().to("cpu").contiguous() for name, its in tensors.items()})
    return hashlib.sha256(data).digest() + data


def unpack(data: bytes, about: dict[str, Any], first: StepState) -> StepState:
    """What `pack` was given with the same `about`, for the video that begins with `first`.

    Raises ValueError for anything else, and for a state that cannot be one of this video's.
    """
    digest, data = data[:_HASH_BYTES], data[_HASH_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("Got a checkpoint that is damaged")
    try:
        tensors = safetensors.torch.load(data)
        facts = json.loads(bytes(tensors["facts"].tolist()))
        step, report = facts.pop("step"), facts.pop("report")
        latents, memory, generator = tensors["latents"], tensors.get("memory"), tensors["generator"]
        if facts != about:
            raise ValueError(f"Got a checkpoint of {facts} but expected one of {about}")
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
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError("Got something that is no checkpoint") from error
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
            "fingerprint": fingerprint(record.prompt, plan, record.settings, backbone.setup),
        }
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def load(self) -> StepState | None:
        """What an earlier attempt has left; None where there is nothing to go on from."""
        try:
            if not self._store.may_have_objects(self._record.id):
                return None
            data = self._objects.get(self._key)
            state = unpack(data, self._about, first_state(self._backbone, self._record.settings))
        except NotFound:
            return None
        except (ValueError, Unavailable) as error:
            log.warning("checkpoint_not_used", reason=str(error))
            return None
        log.info("resuming", step=state.step)
        return state

    def save_if_due(self, state: StepState) -> None:
        if time.monotonic() >= self._next:
            self.save(state)

    def save(self, state: StepState) -> None:
        """Where it can be resumed from."""
        if not state.is_resumable:
            return
        begin = time.monotonic()
        try:
            data = pack(state, self._about)
            self._store.note_objects(self._record.id)
            self._objects.put(self._key, data, CHECKPOINT_TYPE)
        except Unavailable:
            log.warning("checkpoint_not_saved", step=state.step)
        else:
            log.info("checkpoint_saved", step=state.step, bytes=len(data))
        end = time.monotonic()
        self._next = end + max(self._seconds, (end - begin) * (1 - SHARE) / SHARE)
