"""A prompt becomes an MP4 over REST with a U-Net: random weights in the format of a converted checkpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from deploy.signals import StopRequest
from deploy.stack import local_stack
from generator_service.client import Client
from generator_service.contract.job import JobStatus
from shared.errors import InvalidRequest

pytestmark = pytest.mark.timeout(300)  # it waits for the start of everything


@pytest.fixture(scope="module")
def client(tiny_videocrafter: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("videocrafter2")
    tiny_videocrafter().save_pretrained(folder / "weights")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GENERATOR_RENDER_BACKBONE", "videocrafter2")
        environment.setenv("GENERATOR_RENDER_WEIGHTS", str(folder / "weights"))
        with (
            local_stack(folder / "stack", request=StopRequest(), disposable=True) as stack,
            Client(stack.addresses.api) as client,
        ):
            yield client
            stack.check()


def test_a_prompt_is_planned_and_guides_the_latents(client: Client, tmp_path: Path) -> None:
    prompt = "a red car drives to the right past a tree"
    job = client.submit(prompt=prompt, backbone="videocrafter2", seed=1, steps=2, frames=8, width=320, height=256)
    job = client.wait(job.id)
    assert job.status is JobStatus.SUCCEEDED, job
    client.download(job.id, tmp_path / "video.mp4")
    with av.open(str(tmp_path / "video.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(256, 320, 3)] * 8
    assert job.diagnostics is not None
    report = job.diagnostics.guidance
    assert report is not None
    assert {(phase.instance, phase.branch, phase.steps) for phase in report.phases} == {
        ("car", "gig", 1),
        ("tree", "rcg", 1),
    }
    assert {region.text for region in report.regions} == {"red car", "tree"}


def test_what_it_cannot_do_is_refused(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="multiples of 64 from 256 to 640, not 300"):
        client.submit(prompt="a car", backbone="videocrafter2", width=300)
