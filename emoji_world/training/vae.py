"""Stage 1: the autoencoder.  Still frames first, then whole clips; boxes weigh more than background.

loss = w |d| + 2 w d² + ½ w |∇d| + 3·10⁻⁴ KL        d = decoded - video, w = 4 inside boxes, 1 outside, mean 1
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from emoji_world.film_strip import film_strip
from emoji_world.networks import NetworkSpec, make_vae
from emoji_world.precision import mixed_precision
from emoji_world.spec import WorldSpec
from emoji_world.training.data import Batch, noise_source, pixel_batch, to_signed, training_clip
from emoji_world.training.loop import Budget
from emoji_world.training.trainee import Trainee, rank, warm_cosine
from emoji_world.whitening import whiten


@dataclass(frozen=True)
class VaeRecipe:
    budget: Budget
    clip_batch: int = 1
    still_batch: int = 6
    stills_until: float = 0.15
    """First part of the training, on still frames alone."""
    still_share: float = 0.12
    """Share of still batches afterwards."""
    pair_share: float = 0.5
    learning_rate: float = 2e-3
    hold: float = 0.4
    box_weight: float = 4.0
    kl_weight: float = 3e-4
    decay: float = 0.995


class VaeTraining:
    def __init__(
        self,
        world: WorldSpec,
        networks: NetworkSpec,
        recipe: VaeRecipe,
        device: str,
        seed: int,
        start: Path | None = None,
    ) -> None:
        """start: a VAE's folder, whose decoder is trained on; its encoder stays, and so do all latents."""
        self.world, self.recipe, self.device, self.seed = world, recipe, device, seed
        torch.manual_seed(seed)
        vae = make_vae(networks, world) if start is None else load_vae(start)
        vae.to(device).encoder.requires_grad_(start is None)
        trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
        adam = torch.optim.AdamW(trained, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0, fused=True)
        self.trainee = Trainee(vae, [adam])
        self._judged = pixel_batch(world, [(seed, 9, k) for k in range(12)], still=False, pair_share=0.5)

    def step(self, step: int, progress: float) -> float:
        recipe = self.recipe
        random = noise_source(self.seed, 4, step, rank())
        still = progress < recipe.stills_until or torch.rand((), generator=random).item() < recipe.still_share
        count = recipe.still_batch if still else recipe.clip_batch
        seeds = [(self.seed, 1, step, rank(), k) for k in range(count)]
        batch = pixel_batch(self.world, seeds, still=still, pair_share=recipe.pair_share)
        loss = self._loss(batch, random)
        rate = warm_cosine(step, progress, warm_up=50, hold=recipe.hold)
        self.trainee.update(loss, learning_rate=rate, decay=recipe.decay)
        return loss.item()

    def _loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        videos, inside = batch.videos.to(self.device), batch.inside.to(self.device)
        vae = self.trainee.module
        with mixed_precision(self.device):
            posterior = vae.encode(videos).latent_dist
            mean, log_variance = posterior.mean.float(), posterior.logvar.float()
            noise = torch.randn(mean.shape, generator=random).to(self.device)
            decoded = vae.decode(mean + noise * (0.5 * log_variance).exp()).sample.float()
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        weight = 1 + (self.recipe.box_weight - 1) * inside
        weight = weight / weight.mean()
        error = decoded - videos
        across = (weight[..., 1:] * error.diff(dim=-1).abs()).mean()
        down = (weight[..., 1:, :] * error.diff(dim=-2).abs()).mean()
        pixels = (weight * (error.abs() + 2 * error**2)).mean()
        loss: Tensor = pixels + 0.5 * (across + down) + self.recipe.kl_weight * kl
        return loss

    @torch.no_grad()
    def preview(self, strip: Path) -> str:
        """Peak signal-to-noise ratios of the averaged weights, in dB, and a strip of reconstructions."""
        videos, inside = self._judged.videos, self._judged.inside
        decoded = reconstruct(self.trainee.average, videos.to(self.device)).cpu()
        error = ((decoded - videos) / 2) ** 2
        whole = -10 * error.mean((1, 2, 3, 4)).log10().mean()
        boxes = (
            -10 * ((error * inside).sum((1, 2, 3, 4)) / (3 * inside.sum((1, 2, 3, 4)))).log10().nanmean()
        )  # some show nothing
        pairs = torch.stack([videos, decoded], dim=1).flatten(0, 1).transpose(1, 2) / 2 + 0.5
        film_strip(pairs, ["", "reconstruction"] * len(videos)).save(strip)
        return f"PSNR {whole:.2f} dB, in boxes {boxes:.2f} dB"


def load_vae(folder: Path) -> AutoencoderKLCogVideoX:
    vae: AutoencoderKLCogVideoX = AutoencoderKLCogVideoX.from_pretrained(folder, dtype=torch.float32)
    return vae


@torch.no_grad()
def reconstruct(vae: AutoencoderKLCogVideoX, videos: Tensor) -> Tensor:
    """[clip, 3, frames, height, width] in -1..1, through the latent and back."""
    with mixed_precision(videos.device.type):
        decoded: Tensor = vae.decode(vae.encode(videos).latent_dist.mode()).sample
    return decoded.float().clamp(-1, 1)


@torch.no_grad()
def whiten_on(vae: AutoencoderKLCogVideoX, world: WorldSpec, seed: int, clips: int = 128) -> None:
    """Measure the latent channels on training clips and fold their mean and deviation into the weights."""
    device = next(vae.parameters()).device
    videos = to_signed(torch.stack([training_clip(world, (seed, 8, k)).video for k in range(clips)]))
    latents = torch.cat([vae.encode(part.to(device)).latent_dist.mode() for part in videos.split(16)])
    whiten(vae, latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4)))
