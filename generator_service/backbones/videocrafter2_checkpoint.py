"""VideoCrafter2's public checkpoint becomes a folder in diffusers' format.

One file holds everything, in the names of its source: `model.diffusion_model.` the U-Net, `first_stage_model.` the VAE,
`cond_stage_model.model.` OpenCLIP's text encoder.  Each tensor must have a place and a place's shape; nothing is
computed, but the three projections of OpenCLIP's attention are split, and convolutions over one cell become matrices.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from generator_service.backbones.videocrafter2 import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet
from shared.errors import WeightsMissing

SOURCE = (
    "the public checkpoint is model.ckpt of https://huggingface.co/VideoCrafter/VideoCrafter2 "
    "(`hf download VideoCrafter/VideoCrafter2 model.ckpt`, 5 GB); that page's licence is Apache-2.0, while the README "
    "of https://github.com/AILab-CVC/VideoCrafter allows research and no commercial use: see which binds you"
)
TOKENIZER = "openai/clip-vit-large-patch14"
"""CLIP's vocabulary, which the checkpoint does not hold."""

Rename = Callable[[str, Tensor], Mapping[str, Tensor]]
"""What a tensor of the checkpoint becomes: names and contents, none where sampling does not need it."""


@dataclass(frozen=True)
class Widths:
    """The arguments of the parts; the defaults are the public checkpoint's."""

    unet: Mapping[str, Any] = field(default_factory=dict)
    vae: Mapping[str, Any] = field(default_factory=lambda: {"block_out_channels": (128, 256, 512, 512)})
    text: Mapping[str, Any] = field(
        default_factory=lambda: {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
    )
    text_layers: int = 23
    """One less than OpenCLIP has: what is read stands before its last layer."""


@dataclass(frozen=True)
class Converted:
    pipeline: VideoCrafterPipeline
    unused: tuple[str, ...]
    """Tensors of the checkpoint that sampling does not need."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of either layout: as trained ("state_dict"), or as DeepSpeed saved them ("module").

    Raises WeightsMissing where there is no such file, or it is another kind of file.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no {path}: {SOURCE}")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever it stumbles over, the file is another kind of file
        raise WeightsMissing(f"{path} is no checkpoint of tensors alone ({error}): {SOURCE}") from None
    if isinstance(saved, Mapping) and "state_dict" in saved:
        return dict(saved["state_dict"])
    if isinstance(saved, Mapping) and "module" in saved:
        return {name.removeprefix("_forward_module."): tensor for name, tensor in saved["module"].items()}
    raise WeightsMissing(f"{path} holds neither a 'state_dict' nor a 'module': {SOURCE}")


def load_tokenizer(name: str) -> CLIPTokenizer:
    """From a folder or the hub's cache.  Raises WeightsMissing, which says what to type."""
    try:
        tokenizer = CLIPTokenizer.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError):
        tokenizer = None
    if tokenizer is None or "a</w>" not in tokenizer.get_vocab():  # an empty folder gives one without words
        raise WeightsMissing(
            f"{name} is neither a folder with CLIP's tokenizer nor in the hub's cache: the checkpoint has no "
            f"vocabulary, so type `hf download {TOKENIZER} --include '*token*' vocab.json merges.txt`"
        )
    return tokenizer


def convert(
    checkpoint: Mapping[str, Tensor],
    tokenizer: CLIPTokenizer,
    *,
    dtype: torch.dtype = torch.float16,
    widths: Widths | None = None,
) -> Converted:
    """Raises WeightsMissing, which names tensors that lack, that have no place, or whose shape is another."""
    widths = Widths() if widths is None else widths
    with torch.device("meta"):
        unet = VideoCrafterUNet(**widths.unet)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(widths.vae["block_out_channels"]),
            up_block_types=("UpDecoderBlock2D",) * len(widths.vae["block_out_channels"]),
            layers_per_block=2,
            **widths.vae,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                num_hidden_layers=widths.text_layers,
                hidden_act="gelu",
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **widths.text,
            )
        )
    faults: list[str] = []
    unused: list[str] = []

    def fill(part: nn.Module, prefix: str, rename: Rename) -> None:
        places, filled = part.state_dict(), {}
        for name in [name for name in left if name.startswith(prefix)]:
            renamed = rename(name.removeprefix(prefix), left.pop(name))
            if not renamed:
                unused.append(name)
            for its, content in renamed.items():
                if its not in places:
                    faults.append(f"{name} has no place")
                    continue
                filled[its] = _squeeze(content, places[its].ndim).to(dtype)
                if filled[its].shape != places[its].shape:
                    faults.append(f"{name} is {list(content.shape)}, not {list(places[its].shape)}")
        faults.extend(f"nothing of {prefix}* becomes {its}" for its in places if its not in filled)
        if not faults:
            part.load_state_dict(filled, assign=True)

    left = dict(checkpoint)
    fill(unet, "model.diffusion_model.", rename_unet)
    fill(vae, "first_stage_model.", partial(rename_vae, levels=len(vae.config.block_out_channels)))
    fill(text_encoder, "cond_stage_model.model.", partial(rename_text, layers=widths.text_layers))
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsMissing(f"this is no checkpoint of VideoCrafter2: {'; '.join(faults[:3])}{more}; {SOURCE}")
    pipeline = VideoCrafterPipeline(vae.eval(), text_encoder.eval(), tokenizer, unet.eval(), VideoCrafterScheduler())
    return Converted(pipeline, (*unused, *left))


RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
UNET = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "fps_embedding.0": "time_embedding.rate.linear_1",
    "fps_embedding.2": "time_embedding.rate.linear_2",
    "input_blocks.0.0": "conv_in",
    "init_attn.0": "transformer_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def rename_unet(name: str, tensor: Tensor) -> Mapping[str, Tensor]:
    """Blocks are counted through all levels: after the first, three to a level, the third of which resamples."""
    if match := re.fullmatch(r"input_blocks\.([1-9]\d*)\.(\d)\.(.+)", name):
        level, layer = divmod(int(match[1]) - 1, 3)
        if layer == 2:
            return {f"down_blocks.{level}.downsamplers.0.{match[3].replace('op.', 'conv.')}": tensor}
        return {f"down_blocks.{level}.{_rename_layer(int(match[2]), layer, match[3])}": tensor}
    if match := re.fullmatch(r"middle_block\.(\d)\.(.+)", name):
        layer, module = divmod(int(match[1]), 3)
        return {f"mid_block.{_rename_layer(module, layer, match[2])}": tensor}
    if match := re.fullmatch(r"output_blocks\.(\d+)\.(\d)\.(.+)", name):
        level, layer = divmod(int(match[1]), 3)
        if match[3].startswith("conv."):
            return {f"up_blocks.{level}.upsamplers.0.{match[3]}": tensor}
        return {f"up_blocks.{level}.{_rename_layer(int(match[2]), layer, match[3])}": tensor}
    return {_rename_start(name, UNET): tensor}


def _rename_layer(module: int, layer: int, rest: str) -> str:
    """A residual block, which has convolutions in time (sic) of its own, and two transformers."""
    if module == 0 and rest.startswith("temopral_conv."):
        return f"temp_convs.{layer}.{rest.removeprefix('temopral_conv.')}"
    if module == 0:
        return f"resnets.{layer}.{_rename_start(rest, RESNET)}"
    return f"{('attentions', 'temp_attentions')[module - 1]}.{layer}.{rest}"


def _rename_start(name: str, names: Mapping[str, str]) -> str:
    """As it is where it is not among them."""
    for old, new in names.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


VAE = (
    (r"down\.(\d)\.block\.", r"down_blocks.\1.resnets."),
    (r"down\.(\d)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"up\.(\d)\.block\.", r"up_blocks.\1.resnets."),
    (r"up\.(\d)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
    (r"mid\.block_1\.", "mid_block.resnets.0."),
    (r"mid\.block_2\.", "mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"nin_shortcut\.", "conv_shortcut."),
    (r"norm_out\.", "conv_norm_out."),
)


def rename_vae(name: str, tensor: Tensor, levels: int) -> Mapping[str, Tensor]:
    """The source counts the decoder's levels from the picture, diffusers from the latents."""
    for old, new in VAE:
        name = re.sub(rf"(?<=\.){old}", new, name)
    return {re.sub(r"(?<=up_blocks\.)\d", lambda level: str(levels - 1 - int(level[0])), name): tensor}


TEXT = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
TEXT_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def rename_text(name: str, tensor: Tensor, layers: int) -> Mapping[str, Tensor]:
    if name in ("text_projection", "logit_scale", "attn_mask"):
        return {}
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
    if match is None:
        return {TEXT.get(name, name): tensor}
    if int(match[1]) >= layers:
        return {}
    layer = f"encoder.layers.{match[1]}"
    if match[2].startswith("attn.in_proj_"):
        kind = match[2].removeprefix("attn.in_proj_")
        return {f"{layer}.self_attn.{of}_proj.{kind}": part for of, part in zip("qkv", tensor.chunk(3), strict=True)}
    return {f"{layer}.{_rename_start(match[2], TEXT_LAYER)}": tensor}


def _squeeze(tensor: Tensor, dimensions: int) -> Tensor:
    """A convolution over one cell is a matrix."""
    while tensor.ndim > dimensions and tensor.shape[-1] == 1:
        tensor = tensor[..., 0]
    return tensor
