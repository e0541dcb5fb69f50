"""What guidance and a step cache cost, or save, over the stock pipeline: seconds of a whole video's denoising.

    python -m benchmarks.whole_video [--network wan] [--device cuda --full]

Networks with random weights and texts; `--full` is CogVideoX-2B's and Wan 2.1 1.3B's own size in bfloat16, 50 steps.
In each round the video is made in every way, one after another; ratios are medians over the rounds.  Nothing is said
of quality here: `python -m evaluation step-cache` does that for the emoji world, whose weights are trained.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Final

import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from benchmarks.guided_scene import scene
from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.pipeline import TransformerBackbone
from generator_service.backbones.wan import Wan
from generator_service.contract.backbones import COGVIDEOX_2B, WAN_2_1_T2V_1_3B, BackboneSpec
from generator_service.contract.guidance import OFF, GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore

CACHES: Final = (0.05, 0.1, 0.2)
Size = tuple[int, int, int]
"""Frames, width, height."""


def cogvideox(full: bool) -> CogVideoXPipeline:
    width: dict[str, int] = {} if full else {"num_attention_heads": 4, "num_layers": 4, "sample_height": 30}
    transformer = CogVideoXTransformer3DModel(**width)
    scheduler = CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", snr_shift_scale=3.0
    )
    pipeline = CogVideoXPipeline(None, _text_encoder(), None, transformer, scheduler)
    return _with_random_texts(pipeline, (226, 4096))


def wan(full: bool) -> WanPipeline:
    small = {"num_attention_heads": 4, "attention_head_dim": 64, "ffn_dim": 1024, "num_layers": 4}
    large = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30}
    transformer = WanTransformer3DModel(**(large if full else small))
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, timestep_spacing="linspace"
    )
    pipeline = WanPipeline(None, _text_encoder(), None, scheduler, transformer)
    return _with_random_texts(pipeline, (512, 4096))


def _text_encoder() -> T5EncoderModel:
    """Nobody asks it for more than its number format."""
    return T5EncoderModel(T5Config(vocab_size=8, d_model=8, d_kv=8, d_ff=8, num_layers=1, num_heads=1))


def _with_random_texts(pipeline: Any, shape: tuple[int, int]) -> Any:
    def encode(prompt: str | list[str], negative: str | None = None, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        count = len(prompt) if isinstance(prompt, list) else 1
        texts = torch.randn(count + 1, *shape, generator=torch.Generator().manual_seed(0))
        first, last = texts.to(pipeline.transformer.device, pipeline.transformer.dtype).split([count, 1])
        return first, last

    pipeline.encode_prompt = encode
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


NETWORKS: Final[dict[str, tuple[Callable[[bool], Any], type[TransformerBackbone[Any]], BackboneSpec, Size]]] = {
    "cogvideox": (cogvideox, CogVideoX, COGVIDEOX_2B, (9, 720, 240)),
    "wan": (wan, Wan, WAN_2_1_T2V_1_3B, (17, 416, 240)),
}
"""How its pipeline is made, and at what size its small form is measured."""


def build(network: str, device: torch.device, full: bool) -> TransformerBackbone[Any]:
    torch.manual_seed(0)
    make, family, spec, _ = NETWORKS[network]
    pipeline = make(full)
    pipeline.to(device, torch.bfloat16 if full else torch.float32)
    setup = Setup(weights_revision="none", device=device.type, dtype="", vae_tiling=False)
    return family(spec, pipeline, device, setup)


def settings_of(network: str, full: bool, steps: int) -> RenderSettings:
    spec, (frames, width, height) = NETWORKS[network][2:]
    if full:
        frames, width, height = spec.defaults.frames, spec.defaults.width, spec.defaults.height
    return RenderSettings(
        backbone=spec.name,
        seed=0,
        steps=steps,
        frames=frames,
        width=width,
        height=height,
        fps=8,
        guidance_scale=spec.defaults.guidance_scale,
    )


def stock(backbone: TransformerBackbone[Any], settings: RenderSettings) -> None:
    backbone.pipeline(
        prompt="a scene",
        height=settings.height,
        width=settings.width,
        num_frames=settings.frames,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    )


def ours(
    backbone: TransformerBackbone[Any], settings: RenderSettings, guidance: GuidanceParameters, step_cache: float
) -> None:
    plan = scene(settings.frames)
    descriptions = tuple(instance.description for instance in plan.graph.instances)
    drawn = Scene(caption=plan.prompt, plan=plan, descriptions=descriptions)
    settings = settings.model_copy(update={"guidance": guidance})
    conditioning = backbone.prepare(drawn, settings)
    method = backbone.guidance(drawn, settings)
    denoise(backbone, conditioning, first_state(backbone, settings), method, ignore, step_cache=step_cache)


def ways(backbone: TransformerBackbone[Any], settings: RenderSettings) -> dict[str, Callable[[], None]]:
    guided = backbone.spec.guidance
    make = partial(ours, backbone, settings)
    return {
        "the stock pipeline": partial(stock, backbone, settings),
        "this one, without guidance": partial(make, OFF, 0.0),
        "guided": partial(make, guided, 0.0),
        **{f"guided, step cache {threshold}": partial(make, guided, threshold) for threshold in CACHES},
    }


def measure(make: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Seconds, on a CPU of its time, because others may use it, too; and on CUDA the peak of memory in GiB."""
    if device.type == "cpu":
        begin = time.process_time()
        make()
        return time.process_time() - begin, float("nan")
    torch.cuda.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    make()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begin, torch.cuda.max_memory_allocated(device) / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), nargs="+", default=list(NETWORKS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="the networks' own size")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    device = torch.device(given.device)
    say("| network | video | seconds | over stock | peak, GiB |")
    say("| --- | --- | --- | --- | --- |")
    for network in given.network:
        backbone = build(network, device, given.full)
        settings = settings_of(network, given.full, given.steps)
        made = ways(backbone, settings)
        rounds = [{way: measure(make, device) for way, make in made.items()} for _ in range(given.rounds)]
        for way in made:
            seconds = median(its[way][0] for its in rounds)
            ratio = median(its[way][0] / its["the stock pipeline"][0] for its in rounds)
            say(f"| {network} | {way} | {seconds:.1f} | {ratio:.3f} | {rounds[0][way][1]:.1f} |")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
