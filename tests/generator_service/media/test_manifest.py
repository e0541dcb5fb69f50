import av
import diffusers
import pytest
import torch
import transformers
from pydantic import ValidationError

from generator_service.contract.request import RenderSettings
from generator_service.media.manifest import Manifest
from generator_service.media.video import Encoding
from shared.plan import Plan


@pytest.fixture
def manifest(plan: Plan) -> Manifest:
    settings = RenderSettings(
        backbone="emoji-world", seed=3, steps=25, frames=9, width=96, height=64, fps=8, guidance_scale=3.0
    )
    return Manifest(
        prompt=plan.prompt,
        caption="a red car drives right",
        plan_hash=plan.content_hash,
        settings=settings,
        seed=3,
        weights_revision="sha256:00",
        device="cpu",
        dtype="float32",
        vae_tiling=False,
        encoding=Encoding(enlargement=5),
        seconds={"sampling": 1.5},
    )


def test_round_trips_through_json(manifest: Manifest) -> None:
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_knows_the_versions_of_all_that_draws(manifest: Manifest) -> None:
    assert manifest.versions["torch"] == torch.__version__
    assert manifest.versions["diffusers"] == diffusers.__version__
    assert manifest.versions["transformers"] == transformers.__version__
    assert manifest.versions["av"] == av.__version__
    assert manifest.versions["motion-factorized-video"]


def test_cannot_be_changed(manifest: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest.device = "cuda"  # type: ignore[misc]
