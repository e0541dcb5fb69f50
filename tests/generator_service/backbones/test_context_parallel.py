"""Videos that two processes make together are one process's, to rounding."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL.Image import Image
from pydantic import ValidationError

from generator_service.backbones.context_parallel import Ranks
from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import COGVIDEOX_2B, VIDEOCRAFTER2
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.settings import WorkerSettings
from shared.errors import RenderingFailed
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

RANK = Path(__file__).with_name("shared_videos.py")
GUIDED = GuidanceParameters(strength=0.5, until=0.5, regional_until=0.9)


@pytest.fixture
def three(plan: Plan) -> Plan:
    """A thing for each branch: beside the car and the tree a cat, which deforms."""
    cat = Instance(id="cat", name="cat", description="a cat", label=MotionLabel.NON_RIGID)
    boxes = tuple(Box.around(0.3, 0.4, 0.3 + 0.02 * frame, 0.5) for frame in range(9))
    track = Track(instance="cat", phases=(Phase(label=cat.label, start=0, end=8),), boxes=boxes)
    return plan.model_copy(
        update={
            "graph": MotionGraph(instances=(*plan.graph.instances, cat)),
            "tracks": (*plan.tracks, track),
            "depth_order": (*plan.depth_order, "cat"),
        }
    )


def run_ranks(folder: Path, size: int) -> None:
    ranks = [
        subprocess.Popen([sys.executable, RANK, str(rank), str(size), folder], stderr=subprocess.PIPE, text=True)
        for rank in range(size)
    ]
    for rank in ranks:
        _, complaints = rank.communicate(timeout=240)
        assert rank.returncode == 0, complaints


def test_two_ranks_make_one_rank_s_video(
    three: Plan, tiny_pipeline: Callable[..., Any], tiny_wan: Callable[..., Any], photo: Image, tmp_path: Path
) -> None:
    """All three branches, regions and gradients; an odd number of tokens (5 × 3 × 3), which do not come out even."""
    weights = {"cogvideox": tiny_pipeline("dpm"), "rotary": tiny_pipeline(rotary=True)}
    weights |= {form: tiny_wan(form) for form in ("one", "two experts", "per token", "vace")}
    weights |= {"I2V": tiny_wan("one", image=True), "CogVideoX-I2V": tiny_pipeline(rotary=True, image=True)}
    photo.save(tmp_path / "photo.png")
    for name, pipeline in weights.items():
        pipeline.save_pretrained(tmp_path / name)

    def asked(backbone: str, guidance: GuidanceParameters, **changes: int) -> RenderSettings:
        size = {"frames": 9, "width": 48, "height": 32} | changes
        return RenderSettings(backbone=backbone, seed=7, steps=4, fps=8, guidance_scale=4.5, guidance=guidance, **size)

    share = GUIDED.model_copy(update={"form": "share", "base_ratio": 0.3})
    gradient = GuidanceParameters(strength=0.0, gradient_step=0.05, until=0.5, regional=False)
    cases = {
        "added positions": ("cogvideox", asked("cogvideox-2b", GUIDED)),
        "rotary positions": ("rotary", asked("cogvideox-2b", share)),
        "gradient": ("rotary", asked("cogvideox-2b", gradient)),
        "Wan": ("one", asked("wan2.1-t2v-1.3b", share, width=48, height=48)),
        "Wan, gradient": ("one", asked("wan2.1-t2v-1.3b", gradient)),
        "Wan, experts": ("two experts", asked("wan2.2-t2v-a14b", GUIDED)),
        "Wan, times": ("per token", asked("wan2.2-ti2v-5b", GUIDED, width=48, height=48)),
        "Wan, image": ("I2V", asked("wan2.1-i2v-14b", GUIDED)),
        "image": ("CogVideoX-I2V", asked("cogvideox-5b-i2v", GUIDED)),
        "VACE": ("vace", asked("wan2.1-vace-1.3b", GUIDED.model_copy(update={"regional": False}))),
    }
    told = {name: (folder, its.model_dump(mode="json")) for name, (folder, its) in cases.items()}
    (tmp_path / "cases.json").write_text(json.dumps(told))
    (tmp_path / "plan.json").write_text(three.model_dump_json())
    for size in (1, 2):
        run_ranks(tmp_path, size)
    for name in cases:
        alone, first, second = (
            torch.load(tmp_path / f"{name}.{which}.pt", weights_only=True) for which in ("0.of.1", "0.of.2", "1.of.2")
        )
        assert torch.equal(first["latents"], second["latents"]), name
        difference = float((first["latents"] - alone["latents"]).abs().max() / alone["latents"].abs().max())
        print(f"{name}: {difference:.1e}")  # noqa: T201  (benchmarks/context_parallel.md)
        assert difference < 1e-4, name
        assert torch.equal(first["tokens"], alone["tokens"]), name


def test_what_ranks_cannot_share_is_refused_with_the_reason(
    checkpoint: Path, tiny_videocrafter: Callable[[], Any], tmp_path: Path
) -> None:
    dit = load_backbone(COGVIDEOX_2B, WorkerSettings(weights=checkpoint, device="cpu"))
    with pytest.raises(RenderingFailed, match="cogvideox-2b has 2 heads, which 3 GPUs cannot share: 2 can"):
        dit.share(Ranks(0, 3))
    tiny_videocrafter().save_pretrained(tmp_path / "unet")
    unet = load_backbone(VIDEOCRAFTER2, WorkerSettings(weights=tmp_path / "unet", device="cpu"))
    with pytest.raises(RenderingFailed, match="videocrafter2 is no DiT"):
        unet.share(Ranks(0, 2))
    with pytest.raises(ValidationError, match="in a ring a rank sees some of the keys at a time"):
        WorkerSettings(context_parallel="ring")
