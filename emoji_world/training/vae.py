"""Stage 1: the autoencoder.  Crops around things first, then whole clips; boxes weigh more than background.

loss = w |d| + 2 w d² + ½ w |∇d| + 3·10⁻⁴ KL        d = decoded - video, w = 4 inside boxes, 1 outside, mean 1
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor, nn

from emoji_world.convolutions import split_convolutions
from emoji_world.film_strip import film_strip
from emoji_world.networks import NetworkSpec, make_vae
from emoji_world.precision import mixed_precision, multiplies_bfloat16
from emoji_world.reconstruction import box_errors, reconstruct, summarize
from emoji_world.spec import WorldSpec
from emoji_world.training.data import Batch, crop_batch, noise_source, to_signed, training_clip, whole_batch
from emoji_world.training.loop import Budget
from emoji_world.training.muon import Muon
from emoji_world.training.trainee import Trainee, rank, warm_cosine
from emoji_world.whitening import measure_costs, weigh_channels, whiten


@dataclass(frozen=True)
class VaeRecipe:
    budget: Budget
    encoder: bool = True
    """Train the encoder too; without it all latents stay as they are."""
    whole_from: float = 0.75
    """From then on whole clips, one per process and step; before, crops."""
    crops: int = 8
    """Per process and step."""
    crop_frames: int = 5
    crop_px: int = 32
    """Small ones: for the same work a network sees more things, and is sharper sooner."""
    learning_rate: float = 1e-2
    """Of the convolutions (Muon); everything else has a tenth of it (AdamW)."""
    hold: float = 0.4
    box_weight: float = 4.0
    kl_weight: float = 3e-4
    shake: float = 0.0
    """Half of the latents are shaken, by noise of up to this deviation: what a transformer draws is never quite one."""
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
        """start: the folder of a VAE to go on from."""
        self.world, self.recipe, self.device, self.seed = world, recipe, device, seed
        torch.manual_seed(seed)
        vae = make_vae(networks, world) if start is None else load_vae(start)
        vae.to(device).encoder.requires_grad_(recipe.encoder)
        self.trainee = Trainee(vae, _optimizers(vae, recipe.learning_rate))
        if device == "cpu" and not multiplies_bfloat16(device):
            split_convolutions(vae)  # after the averaged copy, which keeps the stock ones
        self._judged = [training_clip(world, (seed, 9, k)) for k in range(24)]

    def step(self, step: int, progress: float) -> float:
        recipe = self.recipe
        random = noise_source(self.seed, 4, step, rank())
        if progress < recipe.whole_from:
            seeds = [(self.seed, 1, step, rank(), k) for k in range(recipe.crops)]
            batch = crop_batch(self.world, seeds, recipe.crop_frames, recipe.crop_px)
        else:
            batch = whole_batch(self.world, [(self.seed, 1, step, rank())])
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
            shake, which = (torch.rand(len(mean), 1, 1, 1, 1, generator=random) for _ in range(2))
            spread = (0.5 * log_variance).exp() + (self.recipe.shake * shake * (which < 0.5)).to(self.device)
            noise = torch.randn(mean.shape, generator=random).to(self.device)
            decoded = vae.decode(mean + noise * spread).sample.float()
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
        """Peak signal-to-noise ratios in boxes, of the averaged weights, and a strip of reconstructions."""
        videos = to_signed(torch.stack([clip.video for clip in self._judged]))
        decoded = torch.cat([reconstruct(self.trainee.average, part.to(self.device)).cpu() for part in videos.split(1)])
        pairs = torch.stack([videos, decoded], dim=1).flatten(0, 1).transpose(1, 2) / 2 + 0.5
        film_strip(pairs[:24], ["", "reconstruction"] * 12).save(strip)
        return summarize(box_errors(self._judged, decoded))


def _optimizers(vae: AutoencoderKLCogVideoX, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions between the layers, AdamW for what reads or writes pixels and for the rest."""
    convolutions: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in vae.named_parameters():
        if parameter.requires_grad:
            inner = parameter.ndim >= 4 and not name.startswith(("encoder.conv_in", "decoder.conv_out"))
            (convolutions if inner else others).append(parameter)
    return [
        Muon(convolutions, lr=learning_rate, weight_decay=0),
        torch.optim.AdamW(others, lr=learning_rate / 10, betas=(0.9, 0.98), weight_decay=0, fused=True),
    ]


def load_vae(folder: Path) -> AutoencoderKLCogVideoX:
    vae: AutoencoderKLCogVideoX = AutoencoderKLCogVideoX.from_pretrained(folder, dtype=torch.float32)
    return vae


@torch.no_grad()
def whiten_on(vae: AutoencoderKLCogVideoX, world: WorldSpec, seed: int, clips: int = 128) -> None:
    """Measure the latent channels on training clips, and give each its deviation."""
    device = next(vae.parameters()).device

    def encode(videos: Tensor) -> Tensor:
        latents: Tensor = vae.encode(videos.to(device)).latent_dist.mode()
        return latents

    videos = to_signed(torch.stack([training_clip(world, (seed, 8, k)).video for k in range(clips)]))
    latents = torch.cat([encode(part) for part in videos.split(16)])
    whiten(vae, latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4)))
    wanted = weigh_channels(measure_costs(vae, encode(videos[:8]), noise_source(seed, 10)))
    whiten(vae, torch.zeros_like(wanted), 1 / wanted)
