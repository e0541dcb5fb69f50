"""Stage 3: the denoising transformer and its text encoder, trained together on cached latents.

    x_t = √ā_t x + √(1-ā_t) ε        v = √ā_t ε - √(1-ā_t) x        loss = w (v̂ - v)² + a cross-entropy(head(h), sprite)

w is 3 inside boxes and 1 outside.  The head reads from each token h, halfway through the layers, which sprite is in
its cell; its weight a falls to zero, and it is dropped afterwards.  Without it, what captions say about motion is
learned last of all.  Nothing looks at attention maps, and captions are the only condition.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline, CogVideoXTransformer3DModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d
from transformers import T5EncoderModel, T5Tokenizer

from emoji_world.film_strip import film_strip
from emoji_world.networks import (
    NetworkSpec,
    make_scheduler,
    make_text_encoder,
    make_transformer,
    rotary_embedding,
    save_pipeline,
    start_from,
)
from emoji_world.precision import mixed_precision
from emoji_world.sampling import draw_videos
from emoji_world.scene import draw_scene
from emoji_world.spec import WorldSpec
from emoji_world.training.attention import MatmulAttention
from emoji_world.training.data import noise_source
from emoji_world.training.latents import Latents, Shard, tokenize
from emoji_world.training.loop import Budget
from emoji_world.training.muon import Muon
from emoji_world.training.routing import TokenRouting
from emoji_world.training.trainee import Trainee, rank, warm_cosine

TEXT_RATE = 0.2
"""The text encoder's learning rate, as a share of the transformer's."""


@dataclass(frozen=True)
class TransformerRecipe:
    budget: Budget
    batch: int = 16
    """Clips per process and step; still frames come three times as many."""
    stills_until: float = 0.12
    """Until then three steps of four are of still frames, a fifth of the work; the fourth keeps up what moves."""
    alone_until: float = 0.35
    """Until then, clips of a single object only."""
    routed: float = 0.5
    """Share of a clip's tokens that take part in the layers between first and last (`TokenRouting`)."""
    routed_until: float = 0.75
    learning_rate: float = 3e-3
    hold: float = 0.55
    box_weight: float = 3.0
    recognition: float = 0.2
    """Weight of the head's loss at the start; it falls to zero linearly."""
    recognition_until: float = 0.7
    caption_dropout: float = 0.1
    decay: float = 0.997
    late_decay: float = 0.999
    """Of the moving average, in the last 30 %."""


class TransformerTraining:
    def __init__(
        self,
        clips: Latents,
        stills: Latents,
        vae: AutoencoderKLCogVideoX,
        tokenizer: T5Tokenizer,
        world: WorldSpec,
        networks: NetworkSpec,
        recipe: TransformerRecipe,
        device: str,
        seed: int,
        start: Path | None = None,
    ) -> None:
        self.clips, self.stills, self.vae, self.tokenizer, self.world = clips, stills, vae, tokenizer, world
        self.recipe, self.device, self.seed = recipe, device, seed
        torch.manual_seed(seed)
        transformer = make_transformer(networks, world)
        text_encoder = make_text_encoder(networks, len(tokenizer))
        if start is not None and (start / "transformer").exists():
            start_from(transformer, start)
            text_encoder = T5EncoderModel.from_pretrained(start / "text_encoder", dtype=torch.float32)
        head = nn.Linear(networks.width, 1 + len(world.sprites))
        module = nn.ModuleDict({"transformer": transformer, "text_encoder": text_encoder, "head": head}).to(device)
        self.trainee = Trainee(module, _optimizers(module, recipe.learning_rate))
        transformer.set_attn_processor(MatmulAttention())  # after the averaged copy, which keeps the stock one
        self._halfway: list[Tensor] = []  # the video tokens after a middle layer, of the latest pass
        transformer.transformer_blocks[networks.layers // 2].register_forward_hook(
            lambda block, given, result: self._halfway.append(result[0])
        )
        self._routing = TokenRouting(transformer)
        self._patch, self._patch_in_time = networks.patch, networks.patch_in_time or 1
        self._no_caption = tokenize(tokenizer, [""])[0].to(device)
        self._signal = make_scheduler().alphas_cumprod.float().to(device)  # ā_t
        self._rotary = {
            frames: tuple(part.to(device) for part in rotary_embedding(transformer, -(-frames // self._patch_in_time)))
            for frames in (stills.frames, clips.frames)
        }
        rngs = [np.random.default_rng([seed, 7, k]) for k in range(8)]
        self._judged = [draw_scene(world, rng, 1 + k % 3, held_out=True).caption for k, rng in enumerate(rngs)]

    def step(self, step: int, progress: float) -> float:
        recipe = self.recipe
        random = noise_source(self.seed, 5, step, rank())
        still = progress < recipe.stills_until and step % 4 != 0
        count = 3 * recipe.batch if still else recipe.batch
        data = self.stills if still else self.clips
        among = (data.counts <= (1 if progress < recipe.alone_until else self.world.most_objects)).nonzero().flatten()
        chosen = among[torch.randint(len(among), (count,), generator=random)]
        routed = not still and progress < recipe.routed_until
        loss, recognition = self._losses(data.pick(chosen), random, routed)
        rate = warm_cosine(step, progress, warm_up=60, hold=recipe.hold)
        share = recipe.recognition * max(0.0, 1 - progress / recipe.recognition_until)
        decay = recipe.decay if progress < 0.7 else recipe.late_decay
        self.trainee.update(loss + share * recognition, learning_rate=rate, decay=decay)
        return loss.item()

    def _losses(self, picked: Shard, random: torch.Generator, routed: bool) -> tuple[Tensor, Tensor]:
        """Of the velocity, and of the head that names the sprites."""
        device, (count, frames) = self.device, picked.latents.shape[:2]
        clean, sprites = (self._pad(each).to(device) for each in (picked.latents.float(), picked.sprites))
        weight = 1 + (self.recipe.box_weight - 1) * (sprites > 0)[:, :, None].float()
        tokens = picked.tokens.long().to(device)
        dropped = torch.rand(count, generator=random).to(device) < self.recipe.caption_dropout
        tokens = torch.where(dropped[:, None], self._no_caption, tokens)
        spread = (torch.arange(count) + torch.rand(count, generator=random)) / count  # stratified
        # noisy times more often: they decide the motion; a share may round to 1
        time = (spread.sqrt() * len(self._signal)).long().clamp(max=len(self._signal) - 1).to(device)
        signal = self._signal[time].view(-1, 1, 1, 1, 1)
        noise = torch.randn(clean.shape, generator=random).to(device)
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * clean
        cells = max_pool2d(sprites.unflatten(1, (-1, self._patch_in_time)).amax(2).float(), self._patch)
        cells = cells.flatten(1).long()  # [clip, token]
        kept = self._routing.choose(count, cells.shape[1], self.recipe.routed if routed else 1, random)
        if kept is not None:
            cells = cells.gather(1, kept.to(device))
        networks = self.trainee.module
        with mixed_precision(device):
            predicted = networks["transformer"](
                hidden_states=noisy,
                encoder_hidden_states=networks["text_encoder"](tokens)[0],
                timestep=time,
                image_rotary_emb=self._rotary[frames],
                return_dict=False,
            )[0]
            named = networks["head"](self._halfway.pop()).float()
        loss = (weight * (predicted.float() - velocity) ** 2).sum() / (weight.sum() * clean.shape[2])
        return loss, cross_entropy(named.flatten(0, 1), cells.flatten())

    def _pad(self, frames: Tensor) -> Tensor:
        """[clip, frame, …] with the first frame repeated until all fill whole tokens; the pipeline drops it again."""
        missing = -frames.shape[1] % self._patch_in_time
        return torch.cat([frames[:, :1]] * missing + [frames], dim=1)

    def preview(self, strip: Path, folder: Path) -> str:
        """Save the averaged weights as a pipeline, and draw captions never trained on with them."""
        transformer, text_encoder = self.averaged_networks()
        save_pipeline(folder, self.vae, transformer, text_encoder, self.tokenizer)
        pipeline = CogVideoXPipeline(self.tokenizer, text_encoder, self.vae, transformer, make_scheduler())
        videos = draw_videos(pipeline, self._judged, seeds=range(len(self._judged)), steps=12)
        film_strip(videos, self._judged).save(strip)
        return f"strip in {strip}"

    def averaged_networks(self) -> tuple[CogVideoXTransformer3DModel, T5EncoderModel]:
        transformer: CogVideoXTransformer3DModel = self.trainee.average["transformer"]
        text_encoder: T5EncoderModel = self.trainee.average["text_encoder"]
        return transformer, text_encoder


def _optimizers(module: nn.Module, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else, slower for the text encoder.

    At the full rate the text encoder saturates early: words that matter late, those of motion, are lost in it.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    text: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        in_block = "transformer_blocks" in name and ".norm" not in name
        is_text = name.startswith("text_encoder.")
        (text if is_text else matrices if in_block and parameter.ndim == 2 else others).append(parameter)
    rates: list[dict[str, Any]] = [{"params": others}, {"params": text, "lr": learning_rate * TEXT_RATE}]
    return [
        Muon(matrices, lr=learning_rate, weight_decay=0.01),
        torch.optim.AdamW(rates, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0, fused=True),
    ]
