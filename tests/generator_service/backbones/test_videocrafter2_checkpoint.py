"""The public checkpoint's names and shapes, written down from its source, become diffusers' own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from generator_service.__main__ import app
from generator_service.backbones.load import load_backbone
from generator_service.backbones.videocrafter2 import VideoCrafter2, VideoCrafterPipeline
from generator_service.backbones.videocrafter2_checkpoint import (
    Converted,
    Widths,
    convert,
    load_tokenizer,
    read_checkpoint,
)
from generator_service.backbones.weights import checkpoint_dtype
from generator_service.contract.backbones import VIDEOCRAFTER2
from generator_service.settings import WorkerSettings
from shared.errors import WeightsMissing

Shapes = Iterator[tuple[str, tuple[int, ...]]]

SMALL = Widths(
    unet={
        "block_out_channels": (16, 32, 64, 64),
        "norm_num_groups": 8,
        "cross_attention_dim": 24,
        "attention_head_dim": 8,
    },
    vae={"block_out_channels": (8, 16, 24, 24), "norm_num_groups": 4},
    text={"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 48},
    text_layers=2,
)


def both(name: str, *weight: int) -> Shapes:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def residual(name: str, into: int, out: int, embedding: int) -> Shapes:
    yield from both(f"{name}.in_layers.0", into)
    yield from both(f"{name}.in_layers.2", out, into, 3, 3)
    yield from both(f"{name}.emb_layers.1", out, embedding)
    yield from both(f"{name}.out_layers.0", out)
    yield from both(f"{name}.out_layers.3", out, out, 3, 3)
    if into != out:
        yield from both(f"{name}.skip_connection", out, into, 1, 1)
    for number, place in ((1, 2), (2, 3), (3, 3), (4, 3)):
        yield from both(f"{name}.temopral_conv.conv{number}.0", out)
        yield from both(f"{name}.temopral_conv.conv{number}.{place}", out, out, 3, 1, 1)


def transformer(name: str, channels: int, inner: int, context: int, kernel: tuple[int, ...] = ()) -> Shapes:
    yield from both(f"{name}.norm", channels)
    yield from both(f"{name}.proj_in", inner, channels, *kernel)
    block = f"{name}.transformer_blocks.0"
    for attention, seen in (("attn1", inner), ("attn2", context)):
        yield f"{block}.{attention}.to_q.weight", (inner, inner)
        yield f"{block}.{attention}.to_k.weight", (inner, seen)
        yield f"{block}.{attention}.to_v.weight", (inner, seen)
        yield from both(f"{block}.{attention}.to_out.0", inner, inner)
    yield from both(f"{block}.ff.net.0.proj", 8 * inner, inner)
    yield from both(f"{block}.ff.net.2", inner, 4 * inner)
    for norm in ("norm1", "norm2", "norm3"):
        yield from both(f"{block}.{norm}", inner)
    yield from both(f"{name}.proj_out", channels, inner, *kernel)


def unet(widths: tuple[int, ...], context: int, head: int) -> Shapes:
    first, embedding = widths[0], 4 * widths[0]
    for name in ("time_embed", "fps_embedding"):
        yield from both(f"{name}.0", embedding, first)
        yield from both(f"{name}.2", embedding, embedding)
    yield from both("input_blocks.0.0", first, 4, 3, 3)
    yield from transformer("init_attn.0", first, 8 * head, 8 * head, kernel=(1,))
    channels, skips, index = first, [first], 1
    for level, width in enumerate(widths):
        for _ in range(2):
            yield from residual(f"input_blocks.{index}.0", channels, width, embedding)
            if level < 3:
                yield from transformer(f"input_blocks.{index}.1", width, width, context)
                yield from transformer(f"input_blocks.{index}.2", width, width, width)
            channels, index = width, index + 1
            skips.append(channels)
        if level < 3:
            yield from both(f"input_blocks.{index}.0.op", channels, channels, 3, 3)
            index += 1
            skips.append(channels)
    yield from residual("middle_block.0", channels, channels, embedding)
    yield from transformer("middle_block.1", channels, channels, context)
    yield from transformer("middle_block.2", channels, channels, channels)
    yield from residual("middle_block.3", channels, channels, embedding)
    index = 0
    for level, width in reversed(list(enumerate(widths))):
        for layer in range(3):
            yield from residual(f"output_blocks.{index}.0", channels + skips.pop(), width, embedding)
            if level < 3:
                yield from transformer(f"output_blocks.{index}.1", width, width, context)
                yield from transformer(f"output_blocks.{index}.2", width, width, width)
            if layer == 2 and level > 0:
                yield from both(f"output_blocks.{index}.{1 if level == 3 else 3}.conv", width, width, 3, 3)
            channels, index = width, index + 1
    yield from both("out.0", first)
    yield from both("out.2", 4, first, 3, 3)


def vae(widths: tuple[int, ...]) -> Shapes:
    def block(name: str, into: int, out: int) -> Shapes:
        for number, channels in ((1, into), (2, out)):
            yield from both(f"{name}.norm{number}", channels)
            yield from both(f"{name}.conv{number}", out, channels, 3, 3)
        if into != out:
            yield from both(f"{name}.nin_shortcut", out, into, 1, 1)

    def middle(name: str, channels: int) -> Shapes:
        yield from block(f"{name}.mid.block_1", channels, channels)
        yield from both(f"{name}.mid.attn_1.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            yield from both(f"{name}.mid.attn_1.{part}", channels, channels, 1, 1)
        yield from block(f"{name}.mid.block_2", channels, channels)

    yield from both("encoder.conv_in", widths[0], 3, 3, 3)
    channels = widths[0]
    for level, width in enumerate(widths):
        for layer in range(2):
            yield from block(f"encoder.down.{level}.block.{layer}", channels, width)
            channels = width
        if level < len(widths) - 1:
            yield from both(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from middle("encoder", channels)
    yield from both("encoder.norm_out", channels)
    yield from both("encoder.conv_out", 8, channels, 3, 3)
    yield from both("decoder.conv_in", channels, 4, 3, 3)
    yield from middle("decoder", channels)
    for level, width in reversed(list(enumerate(widths))):
        for layer in range(3):
            yield from block(f"decoder.up.{level}.block.{layer}", channels, width)
            channels = width
        if level > 0:
            yield from both(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from both("decoder.norm_out", channels)
    yield from both("decoder.conv_out", 3, channels, 3, 3)
    yield from both("quant_conv", 8, 8, 1, 1)
    yield from both("post_quant_conv", 4, 4, 1, 1)


def text(width: int, hidden: int, layers: int, words: int) -> Shapes:
    yield "positional_embedding", (77, width)
    yield "token_embedding.weight", (words, width)
    yield from both("ln_final", width)
    yield "text_projection", (width, width)
    yield "logit_scale", ()
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        yield from both(f"{name}.ln_1", width)
        yield f"{name}.attn.in_proj_weight", (3 * width, width)
        yield f"{name}.attn.in_proj_bias", (3 * width,)
        yield from both(f"{name}.attn.out_proj", width, width)
        yield from both(f"{name}.ln_2", width)
        yield from both(f"{name}.mlp.c_fc", hidden, width)
        yield from both(f"{name}.mlp.c_proj", width, hidden)


def checkpoint(unet_shapes: Shapes, vae_shapes: Shapes, text_shapes: Shapes) -> dict[str, Tensor]:
    prefixes = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.model.")
    return {
        prefix + name: torch.randn(shape) / 4
        for prefix, shapes in zip(prefixes, (unet_shapes, vae_shapes, text_shapes), strict=True)
        for name, shape in shapes
    } | {"betas": torch.rand(1000), "scale_arr": torch.rand(1400)}


@pytest.fixture(scope="module")
def converted(small: dict[str, Tensor], clip_tokenizer: Any) -> Converted:
    return convert(small, clip_tokenizer, dtype=torch.float32, widths=SMALL)


@pytest.fixture(scope="module")
def small() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return checkpoint(unet((16, 32, 64, 64), 24, 8), vae((8, 16, 24, 24)), text(24, 48, 3, 60))


BEHIND = [
    "ln_1.weight",
    "ln_1.bias",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj.weight",
    "attn.out_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
]


def test_every_tensor_has_a_place_and_the_folder_loads(
    small: dict[str, Tensor], converted: Converted, tmp_path: Path
) -> None:
    text = "cond_stage_model.model."
    behind = [f"{text}transformer.resblocks.2.{name}" for name in BEHIND]
    assert sorted(converted.unused) == sorted(
        [f"{text}text_projection", f"{text}logit_scale", *behind, "betas", "scale_arr"]
    )
    pipeline = converted.pipeline
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    # 2 of the 3 tensors that each text layer has for its queries, keys and values are of one in the source
    assert sum(len(part.state_dict()) for part in parts) == len(small) - len(converted.unused) + 2 * 4
    pipeline.save_pretrained(tmp_path)
    loaded = VideoCrafterPipeline.from_pretrained(tmp_path)
    for part, again in zip(parts, (loaded.unet, loaded.vae, loaded.text_encoder), strict=True):
        others = again.state_dict()
        assert all(torch.equal(tensor, others[name]) for name, tensor in part.state_dict().items())
    backbone = load_backbone(VIDEOCRAFTER2, WorkerSettings(weights=tmp_path, device="cpu"))
    assert isinstance(backbone, VideoCrafter2)


@pytest.mark.parametrize(
    ("theirs", "part", "ours"),
    [
        ("fps_embedding.2.weight", "unet", "time_embedding.rate.linear_2.weight"),
        ("input_blocks.1.0.in_layers.0.weight", "unet", "down_blocks.0.resnets.0.norm1.weight"),
        ("input_blocks.5.0.out_layers.0.weight", "unet", "down_blocks.1.resnets.1.norm2.weight"),
        ("input_blocks.5.0.temopral_conv.conv3.3.weight", "unet", "down_blocks.1.temp_convs.1.conv3.3.weight"),
        ("input_blocks.8.2.norm.bias", "unet", "down_blocks.2.temp_attentions.1.norm.bias"),
        ("input_blocks.9.0.op.weight", "unet", "down_blocks.2.downsamplers.0.conv.weight"),
        ("middle_block.3.out_layers.3.bias", "unet", "mid_block.resnets.1.conv2.bias"),
        ("output_blocks.2.1.conv.weight", "unet", "up_blocks.0.upsamplers.0.conv.weight"),
        ("output_blocks.8.1.proj_in.weight", "unet", "up_blocks.2.attentions.2.proj_in.weight"),
        ("decoder.up.3.upsample.conv.weight", "vae", "decoder.up_blocks.0.upsamplers.0.conv.weight"),
        ("decoder.up.0.block.2.norm2.weight", "vae", "decoder.up_blocks.3.resnets.2.norm2.weight"),
        ("encoder.mid.block_2.conv1.weight", "vae", "encoder.mid_block.resnets.1.conv1.weight"),
        ("transformer.resblocks.1.mlp.c_proj.weight", "text_encoder", "encoder.layers.1.mlp.fc2.weight"),
    ],
)
def test_what_becomes_of_some(
    small: dict[str, Tensor], converted: Converted, theirs: str, part: str, ours: str
) -> None:
    (source,) = [tensor for name, tensor in small.items() if name.endswith(f"model.{theirs}")]
    assert torch.equal(getattr(converted.pipeline, part).state_dict()[ours], source)


def test_projections_are_split_in_order_and_convolutions_over_one_cell_are_matrices(
    small: dict[str, Tensor], converted: Converted
) -> None:
    pipeline = converted.pipeline
    attention = pipeline.text_encoder.encoder.layers[0].self_attn
    joint = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    assert torch.equal(joint, small["cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"])
    theirs = small["model.diffusion_model.init_attn.0.proj_in.weight"]
    assert theirs.ndim == 3
    assert torch.equal(pipeline.unet.transformer_in.proj_in.weight, theirs[..., 0])


def test_at_full_width_every_name_and_shape_fits(clip_tokenizer: Any) -> None:
    with torch.device("meta"):
        full = checkpoint(unet((320, 640, 1280, 1280), 1024, 64), vae((128, 256, 512, 512)), text(1024, 4096, 24, 60))
        assert len([name for name in full if name.startswith("model.")]) == 1_484
        assert len([name for name in full if name.startswith("first_")]) == 248
        converted = convert(full, clip_tokenizer)
    assert len([name for name in converted.unused if ".23." in name]) == 12
    assert converted.pipeline.text_encoder.config.num_hidden_layers == 23


def test_what_does_not_fit_is_named(small: dict[str, Tensor], clip_tokenizer: Any) -> None:
    first = "model.diffusion_model.input_blocks.0.0.weight"

    def refused(checkpoint: dict[str, Tensor]) -> str:
        with pytest.raises(WeightsMissing, match="no checkpoint of VideoCrafter2") as caught:
            convert(checkpoint, clip_tokenizer, widths=SMALL)
        return str(caught.value)

    assert "nothing of model.diffusion_model.* becomes conv_in.weight" in refused(
        {name: tensor for name, tensor in small.items() if name != first}
    )
    message = refused(small | {first: torch.zeros(16, 5, 3, 3)})
    assert f"{first} is [16, 5, 3, 3], not [16, 4, 3, 3]" in message
    message = refused(small | {"model.diffusion_model.input_blocks.1.0.lora.weight": torch.zeros(1)})
    assert "input_blocks.1.0.lora.weight has no place" in message
    assert "Apache-2.0" in message
    assert "; and " in refused({"betas": torch.zeros(1000)})


@pytest.mark.parametrize("layout", ["state_dict", "module"])
def test_both_layouts_of_the_file_are_read(small: dict[str, Tensor], layout: str, tmp_path: Path) -> None:
    prefix = "_forward_module." if layout == "module" else ""
    torch.save({layout: {prefix + name: tensor for name, tensor in small.items()}, "epoch": 3}, tmp_path / "model.ckpt")
    read = read_checkpoint(tmp_path / "model.ckpt")
    assert read.keys() == small.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in small.items())


class Strange:
    pass


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content, message in (
        ({"weights": {}}, "neither a 'state_dict' nor a 'module'"),
        ({"state_dict": {}, "trainer": Strange()}, "no checkpoint of tensors alone"),
    ):
        torch.save(content, tmp_path / "model.ckpt")
        with pytest.raises(WeightsMissing, match=message):
            read_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "model.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsMissing, match="no checkpoint of tensors alone"):
        read_checkpoint(tmp_path / "model.ckpt")


def test_without_the_vocabulary_the_error_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="hf download openai/clip-vit-large-patch14"):
        load_tokenizer(str(tmp_path))


def test_the_command_without_the_checkpoint_says_where_to_get_it_and_its_licence(tmp_path: Path) -> None:
    missing = tmp_path / "model.ckpt"
    result = CliRunner().invoke(
        app, ["convert", "videocrafter2", "--checkpoint", str(missing), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    for part in (f"there is no {missing}", "huggingface.co/VideoCrafter/VideoCrafter2", "Apache-2.0", "no commercial"):
        assert part in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_folder_and_says_what_was_not_needed(
    small: dict[str, Tensor], clip_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": small}, tmp_path / "model.ckpt")
    clip_tokenizer.save_pretrained(tmp_path / "words")
    whole: Callable[..., Any] = convert
    monkeypatch.setattr(
        "generator_service.backbones.videocrafter2_checkpoint.convert",
        lambda *arguments, **more: whole(*arguments, **more, widths=SMALL),
    )
    result = CliRunner().invoke(
        app,
        f"convert videocrafter2 --checkpoint {tmp_path}/model.ckpt --out {tmp_path}/out "
        f"--tokenizer {tmp_path}/words --dtype bfloat16",
    )
    assert result.exit_code == 0, result.output
    assert f"{len(small) - 16} of {len(small)} tensors" in result.stderr
    assert "logit_scale" in result.stderr
    assert checkpoint_dtype(tmp_path / "out") == torch.bfloat16
