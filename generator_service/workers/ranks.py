"""The processes that make a video together, one for each GPU: torchrun starts them, rank 0 leads, the others follow.

Each follower takes the very steps that the leader takes, and drops the video.  The leader alone talks to anybody else:
it tells the others what to render, and between two steps whether to go on.  Behind each video all meet: whoever is not
there in time is somewhere else in it, or gone, and then the leader ends, and torchrun ends the rest.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, ParamSpec

import structlog
import torch
import torch.distributed as dist
from PIL import Image

from generator_service import rendering
from generator_service.backbones.base import AnyBackbone
from generator_service.backbones.context_parallel import ALONE, Ranks
from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.request import RenderSettings
from generator_service.media.first_frame import FirstFrame
from generator_service.rendering import OnStage, Rendered
from generator_service.sampling.state import Cancelled, OnStep, Progress, first_state
from generator_service.settings import WorkerSettings
from generator_service.workers.checkpoint import pack, unpack
from shared.errors import RenderingFailed
from shared.plan import Plan

LAYER_PATIENCE: Final = timedelta(minutes=5)
"""For how long a rank waits for the others in the midst of a step; where one of them has died, torchrun ends the rest
sooner."""
MEETING_PATIENCE: Final = timedelta(seconds=60)
"""And behind a video, while others may still decode it."""
IDLE_PATIENCE: Final = timedelta(days=365)

log = structlog.get_logger(__name__)

P = ParamSpec("P")


class RankLost(Exception):
    """A process that shares the video is gone, or is somewhere else in it."""

    def __init__(self) -> None:
        super().__init__("a process that shares this video was lost: the logs of all ranks say more")


class Group:
    """What each process of it has in hand; one by itself needs nobody."""

    def __init__(self, ranks: Ranks = ALONE, control: Any = None) -> None:
        """control: the process group for what is no part of a network's computation."""
        self.ranks = ranks
        self.control = control
        self.is_together = True
        """Whether all are between two videos, as far as this rank knows."""

    def load(self, spec: BackboneSpec, settings: WorkerSettings) -> AnyBackbone:
        """Raises as `load_backbone` does, and RenderingFailed for a network that cannot be shared."""
        if self.ranks.size == 1:
            return load_backbone(spec, settings)
        if is_on_gpu(settings):
            settings = settings.model_copy(update={"device": f"cuda:{torch.cuda.current_device()}"})
        backbone = load_backbone(spec, settings)
        backbone.share(self.ranks)
        return backbone

    def render(
        self,
        backbone: AnyBackbone,
        prompt: str,
        plan: Plan | None,
        settings: RenderSettings,
        *,
        image: FirstFrame | None = None,
        start: Progress | None = None,
        on_step: OnStep,
        on_stage: OnStage,
    ) -> Rendered:
        """`rendering.render`, led by this process.  Raises RankLost, too."""
        if self.ranks.size == 1:
            return rendering.render(
                backbone, prompt, plan, settings, image=image, start=start, on_step=on_step, on_stage=on_stage
            )
        self.is_together = False
        try:
            asked = {
                "prompt": prompt,
                "plan": None if plan is None else plan.model_dump(mode="json"),
                "settings": settings.model_dump(mode="json"),
                "image": None if image is None else image.picture.size,
            }
            self._send(json.dumps(asked).encode())
            self._send(b"" if image is None else image.picture.tobytes())
            self._send(b"" if start is None else pack(start, {}))
            rendered = rendering.render(
                backbone,
                prompt,
                plan,
                settings,
                image=image,
                start=start,
                on_step=self._led(on_step),
                on_stage=self._led(on_stage),
            )
        except Exception as error:
            self._meet(MEETING_PATIENCE)
            if isinstance(error, RuntimeError) and not self.is_together:
                raise RankLost from error
            raise
        self._meet(MEETING_PATIENCE)
        return rendered

    def dismiss(self) -> None:
        """The followers end; where they cannot be told so, it is by what the end of this process does to them."""
        if self.ranks.size > 1 and self.is_together:
            with suppress(RuntimeError):
                self._broadcast(torch.tensor(-1))

    def follow(self, backbone: AnyBackbone) -> None:
        """Until the leader dismisses this process.  Raises RuntimeError where it is gone, or somewhere else."""
        for signum in (signal.SIGTERM, signal.SIGINT):  # they are for the leader, who ends its job first
            signal.signal(signum, signal.SIG_IGN)
        while (asked := self._receive()) is not None:
            pixels, checkpoint = self._receive(), self._receive()
            patience = MEETING_PATIENCE
            try:
                self._follow_one(backbone, json.loads(asked), pixels, checkpoint)
                patience = IDLE_PATIENCE  # the leader has yet to encode the video
            except Cancelled:
                pass
            except Exception:  # the leader reports it, where it meets it, too
                log.exception("rank_failed", rank=self.ranks.rank)
            self._meet(patience)
            if not self.is_together:
                raise RuntimeError("the leader is somewhere else in the video")

    def _follow_one(
        self, backbone: AnyBackbone, asked: dict[str, Any], pixels: bytes | None, checkpoint: bytes | None
    ) -> None:
        settings = RenderSettings.model_validate(asked["settings"])
        plan = None if asked["plan"] is None else Plan.model_validate(asked["plan"])
        image = Image.frombytes("RGB", tuple(asked["image"]), pixels) if pixels else None
        start = None
        if checkpoint:
            start = unpack(checkpoint, {}, first_state(backbone, settings), settings.candidates)
        rendering.sample(
            backbone,
            asked["prompt"],
            plan,
            settings,
            image=image,
            start=start,
            on_step=self._listen,
            on_stage=self._listen,
        )

    def _led(self, callback: Callable[P, None]) -> Callable[P, None]:
        """The others go on if it returns."""

        def lead(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except BaseException:
                with suppress(RuntimeError):
                    self._broadcast(torch.tensor(0))
                raise
            self._broadcast(torch.tensor(1))

        return lead

    def _listen(self, _: object) -> None:
        if not self._broadcast(torch.tensor(0)):
            raise Cancelled

    def _send(self, data: bytes) -> None:
        self._broadcast(torch.tensor(len(data)))
        if data:
            self._broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    def _receive(self) -> bytes | None:
        """None: the leader has nothing any more."""
        length = int(self._broadcast(torch.tensor(0)))
        if length < 0:
            return None
        return self._broadcast(torch.zeros(length, dtype=torch.uint8)).numpy().tobytes() if length else b""

    def _broadcast(self, told: torch.Tensor) -> torch.Tensor:
        """What rank 0 tells, in place of what the others hold."""
        dist.broadcast(told, src=0, group=self.control)
        return told

    def _meet(self, patience: timedelta) -> None:
        try:
            dist.monitored_barrier(self.control, timeout=patience)
        except RuntimeError as error:
            log.warning("ranks_not_together", rank=self.ranks.rank, reason=str(error))
            self.is_together = False
        else:
            self.is_together = True


def become_ranks(size: int) -> None:
    """Where several are asked for, this process becomes torchrun, which starts so many of this very command."""
    if size == 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.environ["GLOO_SOCKET_IFNAME"] = socket.if_nameindex()[0][1]  # the loopback: gloo would listen to the network
    # Not --standalone: what it reads from its port is unpickled.
    torchrun = ["--rdzv-backend=static", "--master-addr=127.0.0.1", f"--master-port={port}", f"--nproc-per-node={size}"]
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, "-m", "generator_service", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606  (our own command line)


@contextmanager
def join_ranks(settings: WorkerSettings) -> Iterator[Group]:
    """The group that torchrun started, in each of its processes.  Raises RenderingFailed where GPUs are missing."""
    if settings.context_parallel == 1:
        yield Group()
        return
    rank, size, place = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    on_gpu = is_on_gpu(settings)
    if on_gpu:
        if torch.cuda.device_count() < size:
            raise RenderingFailed(f"{size} GPUs were asked for, but there are {torch.cuda.device_count()}")
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=LAYER_PATIENCE)
    group = Group(Ranks(rank, size), dist.new_group(backend="gloo", timeout=IDLE_PATIENCE))
    yield group
    if group.is_together:
        dist.destroy_process_group()


def is_on_gpu(settings: WorkerSettings) -> bool:
    return settings.device.startswith("cuda") or (settings.device == "auto" and torch.cuda.is_available())
