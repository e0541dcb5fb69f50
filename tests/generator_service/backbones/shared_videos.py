"""A rank of `test_context_parallel.py`: the videos of a file of cases, together with the other ranks."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from PIL import Image

from generator_service.backbones.context_parallel import Ranks
from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.request import RenderSettings
from generator_service.rendering import sample
from generator_service.sampling.state import Progress
from generator_service.settings import WorkerSettings
from shared.plan import Plan


def main(rank: int, size: int, folder: Path) -> None:
    """folder: cases.json and plan.json; each case's latents after every step are written there."""
    torch.set_num_threads(1)
    plan = Plan.model_validate_json((folder / "plan.json").read_text())
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    for name, (weights, asked) in json.loads((folder / "cases.json").read_text()).items():
        settings = RenderSettings.model_validate(asked)
        backbone = load_backbone(BACKBONES[settings.backbone], WorkerSettings(weights=folder / weights, device="cpu"))
        if size > 1:
            backbone.share(Ranks(rank, size))
        latents = []

        def keep(progress: Progress, latents: list[torch.Tensor] = latents) -> None:
            latents.append(progress.candidates[0].latents)

        photo = Image.open(folder / "photo.png") if backbone.spec.image != "none" else None
        sampled = sample(backbone, plan.prompt, plan, settings, image=photo, on_step=keep, on_stage=lambda _: None)
        told = torch.tensor([phase.tokens for phase in sampled.guidance.phases] if sampled.guidance else [])
        torch.save({"latents": torch.stack(latents), "tokens": told}, folder / f"{name}.{rank}.of.{size}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
