"""The networks, in exactly CogVideoX's architecture and a few million parameters, and their checkpoint folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXResnetBlock3D, CogVideoXSpatialNorm3D
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from emoji_world.grammar import words
from emoji_world.spec import WorldSpec

WEIGHTS = Path(__file__).with_name("weights")
SPATIAL_FACTOR = 4
"""Pixels per latent cell, per axis: two of the VAE's three blocks downsample."""
POSITIONS = "patch_embed.pos_embedding"


@dataclass(frozen=True)
class NetworkSpec:
    vae_channels: tuple[int, int, int] = (16, 32, 64)
    latent_channels: int = 8
    temporal_factor: int = 4
    """Frames per latent frame, but for the first, which stands alone."""
    width: int = 128
    layers: int = 6
    heads: int = 4
    patch: int = 2
    patch_in_time: int | None = None
    """Latent frames in a token; with it positions are told by rotation alone, as in CogVideoX 1.5."""
    text_width: int = 128
    text_layers: int = 2
    text_length: int = 24


def make_vae(spec: NetworkSpec, world: WorldSpec) -> AutoencoderKLCogVideoX:
    blocks = len(spec.vae_channels)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=spec.vae_channels,
        down_block_types=("CogVideoXDownBlock3D",) * blocks,
        up_block_types=("CogVideoXUpBlock3D",) * blocks,
        latent_channels=spec.latent_channels,
        layers_per_block=1,
        norm_num_groups=4,
        temporal_compression_ratio=spec.temporal_factor,
        sample_height=world.height,
        sample_width=world.width,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, CogVideoXResnetBlock3D):  # residual branches start small
                module.conv2.conv.weight.mul_(0.1)
                module.conv2.conv.bias.zero_()
            if isinstance(module, CogVideoXSpatialNorm3D):  # start near the plain norm: scale 1, shift 0
                module.conv_y.conv.weight.mul_(0.3)
                module.conv_y.conv.bias.fill_(1)
                module.conv_b.conv.weight.mul_(0.3)
                module.conv_b.conv.bias.zero_()
    return vae


def make_transformer(spec: NetworkSpec, world: WorldSpec) -> CogVideoXTransformer3DModel:
    """Tokens of one latent frame: RoPE and a table of absolute positions together, as in CogVideoX-5b-I2V, so it runs
    at the world's own size only.  Tokens of several: RoPE alone, as in CogVideoX 1.5."""
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=spec.heads,
        attention_head_dim=spec.width // spec.heads,
        in_channels=spec.latent_channels,
        out_channels=spec.latent_channels,
        time_embed_dim=spec.width,
        text_embed_dim=spec.text_width,
        num_layers=spec.layers,
        sample_width=world.width // SPATIAL_FACTOR,
        sample_height=world.height // SPATIAL_FACTOR,
        sample_frames=world.frames,
        patch_size=spec.patch,
        patch_size_t=spec.patch_in_time,
        temporal_compression_ratio=spec.temporal_factor,
        max_text_seq_length=spec.text_length,
        spatial_interpolation_scale=1.0,
        temporal_interpolation_scale=1.0,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=spec.patch_in_time is None,
    )
    with torch.no_grad():
        transformer.proj_out.weight.zero_()
        transformer.proj_out.bias.zero_()
        for block in transformer.transformer_blocks:
            for norm in (block.norm1, block.norm2):
                norm.linear.weight.mul_(0.1)
    return transformer


def start_from(transformer: CogVideoXTransformer3DModel, folder: Path) -> None:
    """Load a pipeline folder's trained weights, of any frame size: the table of positions stays the transformer's own.

    That table is a constant (sines and cosines), though diffusers stores it as if it were learned.
    """
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    own = transformer.state_dict()
    if POSITIONS in own:
        weights[POSITIONS] = own[POSITIONS]
    transformer.load_state_dict(weights)


def rotary_embedding(transformer: CogVideoXTransformer3DModel, frames: int) -> tuple[Tensor, Tensor]:
    """cos and sin, [frames · rows · columns, head width], for this many frames of tokens at the world's own size."""
    config = transformer.config
    grid = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
    cos, sin = get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim, crops_coords=((0, 0), grid), grid_size=grid, temporal_size=frames
    )
    return cos, sin


def make_tokenizer(spec: NetworkSpec) -> T5Tokenizer:
    """One token per caption word, single characters for the rest.  Prompts are lower case."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("▁" + word, -2.0) for word in words()]
    pieces += [("▁", -4.0)]
    known = {piece for piece, _ in pieces}
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:'\"!?-()"
    pieces += [(character, -12.0) for character in characters if character not in known]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=spec.text_length)


def make_text_encoder(spec: NetworkSpec, vocabulary: int) -> T5EncoderModel:
    """Its blocks start small: every word's own embedding reaches the transformer, before context is mixed in."""
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=spec.text_width,
            d_kv=32,
            d_ff=2 * spec.text_width,
            num_layers=spec.text_layers,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            decoder_start_token_id=0,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.mul_(0.1)
    return encoder


def make_scheduler() -> CogVideoXDDIMScheduler:
    return CogVideoXDDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def save_pipeline(
    folder: Path,
    vae: AutoencoderKLCogVideoX,
    transformer: CogVideoXTransformer3DModel,
    text_encoder: T5EncoderModel,
    tokenizer: T5Tokenizer,
) -> None:
    """A stock CogVideoXPipeline folder in fp16; the modules given are left as they are."""
    CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=_half_copy(text_encoder, lambda: T5EncoderModel(text_encoder.config)),
        vae=_half_copy(vae, lambda: AutoencoderKLCogVideoX.from_config(_without_origin(vae))),
        transformer=_half_copy(
            transformer, lambda: CogVideoXTransformer3DModel.from_config(_without_origin(transformer))
        ),
        scheduler=make_scheduler(),
    ).save_pretrained(folder)


def _without_origin(network: AutoencoderKLCogVideoX | CogVideoXTransformer3DModel) -> dict[str, Any]:
    """Its configuration, without the folder it was loaded from."""
    return {key: value for key, value in network.config.items() if key != "_name_or_path"}


def _half_copy(module: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    copy = make()
    copy.load_state_dict(module.state_dict())
    return copy.half()
