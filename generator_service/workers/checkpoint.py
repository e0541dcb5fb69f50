"""Where a render stands, kept in object storage, so that whoever takes the job next goes on from there.

jobs/{id}/checkpoint.safetensors: the tensors of a `StepState`, and as metadata its step, whose it is, and a fingerprint
of all that decides the video.  One of another fingerprint is passed over: going on from it would make another video.
"""

import hashlib
import json
import time
from dataclasses import asdict
from typing import Final

import safetensors.torch
import structlog
import torch
from safetensors import SafetensorError

from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.media.manifest import installed_versions
from generator_service.sampling.state import StepState
from generator_service.storage import CHECKPOINT_TYPE, JobKeys, ObjectStore
from shared.errors import NotFound, StorageUnavailable, Unavailable
from shared.plan import Plan

SHARE: Final = 0.02
"""No more of the time than this is spent on saving, however slow the storage is."""

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


def packed(state: StepState, metadata: dict[str, str]) -> bytes:
    """The safetensors file.  Never pickle: it is read from where others may write."""
    tensors = {"latents": state.latents, "generator": state.generator}
    tensors |= {} if state.memory is None else {"memory": state.memory}
    tensors |= {} if state.guidance is None else {"guidance": state.guidance}
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(own, metadata | {"step": str(state.step), "steps": str(state.steps)})


def unpacked(data: bytes, device: torch.device) -> tuple[StepState, dict[str, str]]:
    """The state, on the device, and the metadata it was packed with.  Raises ValueError for anything else."""
    try:
        tensors = safetensors.torch.load(data)
        # The library gives metadata of files alone: https://huggingface.co/docs/safetensors#format
        metadata: dict[str, str] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        state = StepState(
            step=int(metadata["step"]),
            steps=int(metadata["steps"]),
            latents=tensors["latents"].to(device),
            memory=tensors["memory"].to(device) if "memory" in tensors else None,
            generator=tensors["generator"],
            guidance=tensors["guidance"].to(device) if "guidance" in tensors else None,
        )
    except (SafetensorError, KeyError) as error:
        raise ValueError("Got something that is no checkpoint") from error
    return state, metadata


class Checkpoint:
    """That of one attempt at a job.  Storage that fails costs the checkpoint, never the video."""

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
        self._device = backbone.device
        self._job_id = record.id
        self._key = JobKeys(record.id).checkpoint
        self._metadata = {
            "job": record.id,
            "attempt": str(record.attempt),
            "fingerprint": fingerprint(record.prompt, plan, record.settings, backbone.setup),
        }
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    @property
    def fingerprint(self) -> str:
        return self._metadata["fingerprint"]

    def load(self) -> StepState | None:
        """What an earlier attempt has left; None where there is nothing to go on from."""
        try:
            state, metadata = unpacked(self._objects.get(self._key), self._device)
        except NotFound:
            return None
        except (ValueError, StorageUnavailable):
            log.exception("checkpoint_unreadable")
            return None
        if metadata["fingerprint"] != self._metadata["fingerprint"]:
            log.warning("checkpoint_of_another_video", attempt=metadata["attempt"])
            return None
        log.info("resuming", step=state.step, saved_in_attempt=metadata["attempt"])
        return state

    def save_if_due(self, state: StepState) -> None:
        if time.monotonic() >= self._next:
            self.save(state)

    def save(self, state: StepState) -> None:
        begin = time.monotonic()
        try:
            data = packed(state, self._metadata)
            self._store.note_objects(self._job_id)
            self._objects.put(self._key, data, CHECKPOINT_TYPE)
        except Unavailable:
            log.warning("checkpoint_not_saved", step=state.step)
        else:
            log.info("checkpoint_saved", step=state.step, bytes=len(data))
        end = time.monotonic()
        self._next = end + max(self._seconds, (end - begin) * (1 - SHARE) / SHARE)
