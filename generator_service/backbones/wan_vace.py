"""Wan VACE (Jiang et al., 2025, arXiv:2503.07598): Wan, and beside it blocks that read a video of what is wanted.

Among much else it was trained on boxes: outlines on white, a colour for each thing.  Here a plan's boxes are drawn so,
which is the trained counterpart of guidance.  The blocks beside read the prompt alone, so there is no regional
prompting; Eq. 4 is Wan's.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from diffusers import WanVACEPipeline
from PIL import Image, ImageDraw

from generator_service.backbones.base import Scene
from generator_service.backbones.wan import Wan, WanConditioning
from generator_service.contract.request import RenderSettings
from shared.plan import Plan

COLOURS = ("#e4572e", "#2f6fde", "#1f9d66", "#f2a541", "#8e44ad", "#0b7285", "#c2255c", "#5c940d")
LINE = 2
"""Pixels."""


class WanVace(Wan):
    pipeline_class = WanVACEPipeline

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> WanConditioning:
        conditioning, pipeline, weight = super().prepare(scene, settings), self.pipeline, settings.guidance.control
        size = settings.width, settings.height
        outlines = None if scene.plan is None or weight == 0 else draw_boxes(scene.plan, size)
        video, mask, references = pipeline.preprocess_conditions(
            outlines,
            batch_size=1,
            height=settings.height,
            width=settings.width,
            num_frames=settings.frames,
            dtype=torch.float32,
            device=self.device,
        )
        latents = pipeline.prepare_video_latents(video, mask, references, device=self.device)
        wanted = torch.cat([latents, pipeline.prepare_masks(mask, references)], dim=1).to(conditioning.text.dtype)
        weights = wanted.new_full((len(self.transformer.config.vace_layers),), weight if outlines else 1.0)
        control = {"control_hidden_states": wanted, "control_hidden_states_scale": weights}
        return replace(conditioning, control=control)


def draw_boxes(plan: Plan, size: tuple[int, int]) -> Sequence[Image.Image]:
    """A picture of each frame, of size (width, height): the nearest thing is drawn last, what is absent not at all."""
    width, height = size
    colours = {track.instance: COLOURS[index % len(COLOURS)] for index, track in enumerate(plan.tracks)}
    tracks = {track.instance: track for track in plan.tracks}
    pictures = []
    for frame in range(plan.frames):
        picture = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(picture)
        for name in reversed(plan.depth_order):
            track = tracks[name]
            if track.present[frame]:
                x0, y0, x1, y1 = track.boxes[frame]
                corners = (x0 * (width - 1), y0 * (height - 1), x1 * (width - 1), y1 * (height - 1))
                draw.rectangle(corners, outline=colours[name], width=LINE)
        pictures.append(picture)
    return pictures
