"""What the tests of several folders share: a plan, clients of the real Valkey, and a CogVideoX small enough for a test
(every part is there, nothing is trained)."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Literal

import pytest
import redis
from pydantic import SecretStr

from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import KeyInfo
from generator_service.jobs.connection import connect, connect_async
from generator_service.jobs.keyspace import waiting_key
from generator_service.jobs.queues import queue_of
from generator_service.jobs.rate import Rate
from generator_service.jobs.reading import Reader
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

TinyPipeline = Callable[..., Any]
TinyWan = Callable[..., Any]

WIDTH, HEIGHT = 48, 32
"""Never square: a swapped axis must show."""


PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
PIECES += [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
"""What the tokenizers know."""


@pytest.fixture(scope="session")
def tiny_pipeline() -> TinyPipeline:
    """A `CogVideoXPipeline`, or one that begins with an image; the same arguments give the same object, which tests
    leave as it is."""
    return _tiny_pipeline


@cache
def _tiny_pipeline(
    scheduler: Literal["ddim", "dpm"] = "ddim",
    rotary: bool = False,
    patch_size_t: int | None = None,
    image: bool = False,
) -> Any:
    import torch  # only the tests that draw need it
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXDPMScheduler,
        CogVideoXImageToVideoPipeline,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = T5Tokenizer(vocab=PIECES, extra_ids=0)
        text_encoder = T5EncoderModel(
            T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, use_cache=False)
        )
        vae = AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
            sample_height=HEIGHT,
            sample_width=WIDTH,
        )
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8 if image else 4,
            out_channels=4,
            time_embed_dim=16,
            text_embed_dim=32,
            num_layers=2,
            sample_width=WIDTH // 8,
            sample_height=HEIGHT // 8,
            sample_frames=9,
            patch_size=2,
            patch_size_t=patch_size_t,
            max_text_seq_length=24,
            use_rotary_positional_embeddings=rotary,
            use_learned_positional_embeddings=image and patch_size_t is None,
            ofs_embed_dim=16 if image and patch_size_t is not None else None,
            patch_bias=patch_size_t is None,
        )
    schedulers = {"ddim": CogVideoXDDIMScheduler, "dpm": CogVideoXDPMScheduler}
    noise_schedule = schedulers[scheduler](
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    pipeline = (CogVideoXImageToVideoPipeline if image else CogVideoXPipeline)(
        tokenizer=tokenizer,
        text_encoder=text_encoder.eval(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=noise_schedule,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def tiny_wan() -> TinyWan:
    """A `WanPipeline`: Wan 2.1, Wan 2.2's two experts, or its one network with a timestep for each token; the same that
    begin with an image; or a `WanVACEPipeline`; as above."""
    return _tiny_wan


@cache
def _tiny_wan(form: Literal["one", "two experts", "per token", "vace"] = "one", image: bool = False) -> Any:
    import torch
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanImageToVideoPipeline,
        WanPipeline,
        WanTransformer3DModel,
        WanVACEPipeline,
        WanVACETransformer3DModel,
    )
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        CLIPVisionModel,
        T5Tokenizer,
        UMT5Config,
        UMT5EncoderModel,
    )

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = T5Tokenizer(vocab=PIECES, extra_ids=0)
        text_encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, use_cache=False
            )
        )
        vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        size = {
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "text_dim": 32,
            "freq_dim": 16,
            "ffn_dim": 32,
            "num_layers": 2,
            "rope_max_seq_len": 32,
        }
        eye = None
        if image and form != "per token":  # 16 channels of latents, 4 of a mask and 16 of what is given
            size |= {"in_channels": 36, "out_channels": 16}
        if image and form == "one":
            size |= {"image_dim": 32, "added_kv_proj_dim": 32}
            eye = CLIPVisionModel(
                CLIPVisionConfig(
                    hidden_size=32,
                    intermediate_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    image_size=28,
                    patch_size=14,
                )
            ).eval()
        if form == "vace":
            experts = [WanVACETransformer3DModel(**size, vace_layers=[0, 1], vace_in_channels=96).eval()]
        else:
            experts = [WanTransformer3DModel(**size).eval() for _ in range(2 if form == "two experts" else 1)]
        for expert in experts:  # as they are initialized, its gates let little through
            torch.nn.init.normal_(expert.condition_embedder.time_proj.weight, std=0.5)
            torch.nn.init.normal_(expert.proj_out.weight, std=0.5)
    parts = {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder.eval(),
        "vae": vae.eval(),
        "transformer": experts[0],
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, timestep_spacing="linspace"
        ),
    }
    if eye is not None:
        sides = {"height": 28, "width": 28}
        parts |= {
            "image_encoder": eye,
            "image_processor": CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=sides),
        }
    pipeline = (
        WanVACEPipeline(**parts)
        if form == "vace"
        else (WanImageToVideoPipeline if image else WanPipeline)(
            **parts,
            transformer_2=experts[1] if form == "two experts" else None,
            boundary_ratio=0.875 if form == "two experts" else None,
            expand_timesteps=form == "per token",
        )
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def tiny_videocrafter() -> Callable[[], Any]:
    """A `VideoCrafterPipeline`; as above."""
    return _tiny_videocrafter


@cache
def _tiny_videocrafter() -> Any:
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    from generator_service.backbones.videocrafter2 import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = _clip_tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=24,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=24,
                hidden_act="gelu",
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
        )
        unet = VideoCrafterUNet(
            sample_size=(8, 16),
            block_out_channels=(16, 32, 32, 32),
            norm_num_groups=8,
            cross_attention_dim=24,
            attention_head_dim=8,
        )
    return VideoCrafterPipeline(vae.eval(), text_encoder.eval(), tokenizer, unet.eval(), VideoCrafterScheduler())


@pytest.fixture(scope="session")
def clip_tokenizer() -> Any:
    """A `CLIPTokenizer` that knows letters and two words."""
    return _clip_tokenizer()


@cache
def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ("!", *letters, *(f"{letter}</w>" for letter in letters), "ca", "car</w>", "tr", "ee</w>", "tree</w>")
    merges = [("c", "a"), ("ca", "r</w>"), ("t", "r"), ("e", "e</w>"), ("tr", "ee</w>")]
    known = (*pieces, "<|startoftext|>", "<|endoftext|>")
    return CLIPTokenizer(vocab={piece: index for index, piece in enumerate(known)}, merges=merges)


@pytest.fixture
def photo() -> Any:
    """A PIL image, RGB, of another shape than any video: a gradient with a red corner."""
    from PIL import Image

    picture = Image.linear_gradient("L").resize((70, 40)).convert("RGB")
    picture.paste((200, 30, 20), (0, 0, 20, 15))
    return picture


@pytest.fixture
def plan() -> Plan:
    """Nine frames: a car that goes to the right, in front of a tree."""
    instances = (
        Instance(id="car", name="red car", description="a red car", label=MotionLabel.RIGID),
        Instance(id="tree", name="tree", description="a green tree", label=MotionLabel.MOTIONLESS),
    )
    boxes = {
        "car": tuple(Box.around(0.25 + 0.05 * frame, 0.75, 0.25, 0.25) for frame in range(9)),
        "tree": (Box(0.75, 0.25, 0.875, 0.5),) * 9,
    }
    tracks = tuple(
        Track(instance=item.id, phases=(Phase(label=item.label, start=0, end=8),), boxes=boxes[item.id])
        for item in instances
    )
    return Plan(
        prompt="a red car drives to the right past a tree",
        graph=MotionGraph(instances=instances),
        background="a street",
        tracks=tracks,
        depth_order=("car", "tree"),
    )


@pytest.fixture
def text_client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(SecretStr(redis_url), decode=True) as client:
        yield client


@pytest.fixture
def raw_client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(SecretStr(redis_url), decode=False) as client:
        yield client


Verified = Callable[[str], KeyInfo]


@pytest.fixture
def verified(redis_url: str) -> Verified:
    """Whose key this is, as the API finds it out."""

    async def found(text: str) -> KeyInfo:
        async with connect_async(SecretStr(redis_url)) as client:
            return (await Reader(client, Rate(per_second=1.0, burst=1)).find_as(ApiKey.parse(text), ""))[0]

    return lambda text: asyncio.run(found(text))


@pytest.fixture
def refusing_writes(text_client: redis.Redis) -> Callable[[], AbstractContextManager[None]]:
    """Inside its block Valkey answers reads alone, as it does when its disk is full or its replicas are gone."""

    @contextmanager
    def refusing_writes() -> Iterator[None]:
        text_client.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            text_client.config_set("min-replicas-to-write", 0)

    return refusing_writes


@pytest.fixture
def store(text_client: redis.Redis) -> JobStore:
    return JobStore(text_client)


@pytest.fixture
def tickets(raw_client: redis.Redis) -> Tickets:
    return Tickets(raw_client)


@pytest.fixture
def start(store: JobStore, text_client: redis.Redis) -> Callable[..., JobRecord]:
    """A worker starts this very job, whoever waits before it."""

    def start(job: str, worker: str = "w1", store: JobStore = store) -> JobRecord:
        queue = queue_of(store.get(job))
        assert text_client.zadd(waiting_key(queue), {job: float("-inf")}, xx=True, ch=True) in (0, 1)
        started = store.start(queue, worker=worker)
        assert started is not None
        assert started.id == job
        return started

    return start


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not so after {seconds} s"
            time.sleep(0.01)

    return wait_until
