"""What the autoencoder alone loses: the sharpest that any video of the model can be."""

from collections.abc import Sequence
from statistics import fmean

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from emoji_world.precision import mixed_precision
from emoji_world.spec import NON_RIGID
from emoji_world.world import Clip, Track

GROUPS = ("first frames", "still", "moving", "deforming")


@torch.no_grad()
def reconstruct(vae: AutoencoderKLCogVideoX, videos: Tensor) -> Tensor:
    """[clip, 3, frames, height, width] in -1..1, through the latent and back."""
    with mixed_precision(videos.device.type):
        decoded: Tensor = vae.decode(vae.encode(videos).latent_dist.mode()).sample
    return decoded.float().clamp(-1, 1)


def box_errors(clips: Sequence[Clip], decoded: Tensor) -> dict[str, list[float]]:
    """Peak signal-to-noise ratios in dB, one for each object and frame, in its box; by what the object does after the
    first frame.  decoded: [clip, 3, frames, height, width] in -1..1."""
    found: dict[str, list[float]] = {group: [] for group in GROUPS}
    for clip, video in zip(clips, decoded, strict=True):
        frames, _, height, width = clip.video.shape
        edges = torch.tensor([width, height, width, height])
        errors = (video.cpu().transpose(0, 1) / 2 + 0.5 - clip.video.float() / 255).square()
        for track in clip.tracks:
            for frame in range(frames):
                x0, y0, x1, y1 = (track.boxes[frame] * edges).round().int().tolist()
                if x0 < x1 and y0 < y1:
                    error = errors[frame, :, y0:y1, x0:x1].mean().clamp(min=1e-6)
                    found[_group(track, frame)].append(-10 * float(error.log10()))
    return found


def _group(track: Track, frame: int) -> str:
    if frame == 0:
        return "first frames"
    if track.motion == "still":
        return "still"
    return "deforming" if track.motion in NON_RIGID else "moving"


def summarize(errors: dict[str, list[float]]) -> str:
    """Means by group."""
    return ", ".join(f"{group} {fmean(values):.1f}" for group, values in errors.items() if values) + " dB"
