"""What each part of guidance does for a video: the rows of the paper's Table 3, measured on the emoji world.

Every row renders the same prompts by the same plans from the same seeds.  What was measured of a clip is written down
at once (FILE.clips.jsonl), so that a run that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from emoji_world.detector import Detector
from emoji_world.evaluation import through_vae
from emoji_world.processes import over_processes
from emoji_world.spec import WORLD
from evaluation.measures import MEASURES, Measures, measure, truth
from evaluation.prompts import Half, held_out_captions
from evaluation.statistics import Estimate, Table, estimate, paired_difference
from generator_service.backbones.base import Frames
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.emoji_scene import emoji_scene
from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.guidance import OFF, GuidanceParameters
from generator_service.contract.request import JobRequest
from generator_service.rendering import sample
from generator_service.sampling.state import ignore
from generator_service.settings import WorkerSettings
from planner_service.parser.planner import Parser
from planner_service.reasoning import Request, plan
from shared.plan import Plan
from shared.wire import WireModel

PLAIN = "plain"
REGIONAL = "R&P"
CEILING = "ceiling: the plan drawn, through the VAE"
ROWS: dict[str, GuidanceParameters] = {
    PLAIN: OFF,
    REGIONAL: GuidanceParameters(branches=()),
    "R&P + RCG": GuidanceParameters(branches=("rcg",)),
    "R&P + GIG": GuidanceParameters(branches=("gig",)),
    "R&P + SDG": GuidanceParameters(branches=("sdg",)),
    "R&P + RCG + GIG": GuidanceParameters(branches=("rcg", "gig")),
    "all": GuidanceParameters(branches=("rcg", "gig", "sdg")),
}
"""What is not given here is the backbone's own default."""

AS_IT_SHIPS = GuidanceParameters()
"""Gives nothing: the backbone's own defaults."""


class Setting(WireModel):
    """What is measured: a file of another setting is not gone on with."""

    backbone: str
    weights: str
    half: Half
    prompts: int
    seeds: int
    rows: dict[str, GuidanceParameters]


class Row(WireModel):
    name: str
    metrics: dict[str, Estimate | None]
    """None for a question that arose in no clip."""
    against_plain: dict[str, Estimate | None]
    """Paired differences: an interval clear of 0 is a difference.  Empty for plain and the ceiling."""
    against_regional: dict[str, Estimate | None]
    """What the branches add to R&P alone: likewise, and empty for R&P too."""


class Ablation(WireModel):
    setting: Setting
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Clips:
    """One prompt and seed, and the rows that are still to be rendered of it."""

    prompt: int
    seed: int
    caption: str
    rows: tuple[tuple[str, GuidanceParameters], ...]


Done = dict[tuple[str, int, int], Measures]
"""By row, prompt and seed."""


def setting_of(
    backbone: str,
    half: Half,
    prompts: int,
    seeds: int,
    rows: Mapping[str, GuidanceParameters] = ROWS,
    guidance: GuidanceParameters = AS_IT_SHIPS,
) -> Setting:
    """guidance: in every row, what the row itself does not give."""
    spec = BACKBONES[backbone]
    defaults = guidance.over(spec.guidance)
    given = {name: parameters.over(defaults) for name, parameters in rows.items()}
    weights = backbone_of(backbone).setup.weights_revision
    return Setting(backbone=backbone, weights=weights, half=half, prompts=prompts, seeds=seeds, rows=given)


def run(setting: Setting, out: Path, processes: int, report: Callable[[int, int], None]) -> Ablation:
    """Render and measure what `out` does not hold yet, and write the table there.  report: clips done, and in all.

    Raises ValueError where `out` belongs to another setting.
    """
    journal = out.with_suffix(".clips.jsonl")
    done = _read(journal, setting)
    total = setting.prompts * (1 + setting.seeds * len(setting.rows))
    report(len(done), total)
    with journal.open("a") as file:
        for _, measured in over_processes(partial(_measure, setting.backbone), _list_missing(setting, done), processes):
            for clip, measures in measured.items():
                file.write(json.dumps([*clip, measures]) + "\n")
            file.flush()
            done |= measured
            report(len(done), total)
    ablation = Ablation(setting=setting, rows=tuple(_rows(setting, done)))
    out.write_text(ablation.model_dump_json(indent=2) + "\n")
    return ablation


def _read(journal: Path, setting: Setting) -> Done:
    if not journal.exists():
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_text(setting.model_dump_json() + "\n")
    head, *lines = journal.read_text().splitlines()
    if Setting.model_validate_json(head) != setting:
        raise ValueError(f"{journal} holds clips of another setting: name another file, or remove it")
    return {(row, prompt, seed): measures for row, prompt, seed, measures in map(json.loads, lines)}


def _list_missing(setting: Setting, done: Done) -> list[_Clips]:
    """Seed by seed, so that a run that is stopped has few prompts with many seeds, but many with one."""
    missing = []
    captions = held_out_captions(setting.half, setting.prompts)
    for seed in range(setting.seeds):
        for prompt, caption in enumerate(captions):
            rows = [item for item in setting.rows.items() if (item[0], prompt, seed) not in done]
            if seed == 0 and (CEILING, prompt, 0) not in done:
                rows.append((CEILING, OFF))
            if rows:
                missing.append(_Clips(prompt, seed, caption, tuple(rows)))
    return missing


def _measure(backbone_name: str, clips: _Clips) -> Done:
    backbone = backbone_of(backbone_name)
    planned = plan_with_parser(clips.caption)
    scene = emoji_scene(planned)
    measured: Done = {}
    for name, parameters in clips.rows:
        if name == CEILING:
            video = through_vae(backbone.pipeline, truth(scene)[None].float() / 255)[0]
            frames: Frames = (video.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        else:
            frames = render(backbone, planned, parameters, clips.seed)
        measured[name, clips.prompt, clips.seed] = measure(frames, scene, detector())
    return measured


def render(backbone: CogVideoX, planned: Plan, parameters: GuidanceParameters, seed: int) -> Frames:
    request = JobRequest(plan=planned, seed=seed, backbone=backbone.spec.name, guidance=parameters)
    settings = request.settings()
    return sample(backbone, planned.prompt, planned, settings, on_step=ignore, on_stage=lambda stage: None).frames


def plan_with_parser(caption: str) -> Plan:
    return plan(_parser(), Request(caption, WORLD.frames, WORLD.width, WORLD.height, seed=0))


@cache
def backbone_of(name: str) -> CogVideoX:
    torch.set_num_threads(1)
    backbone = load_backbone(BACKBONES[name], WorkerSettings(device="cpu"))
    assert isinstance(backbone, CogVideoX)  # noqa: S101  (its VAE makes the ceiling)
    return backbone


@cache
def _parser() -> Parser:
    return Parser()


@cache
def detector() -> Detector:
    return Detector(WORLD)


def _rows(setting: Setting, done: Done) -> list[Row]:
    def against(row: str, other: str, without: tuple[str, ...]) -> dict[str, Estimate | None]:
        if row in without or other not in setting.rows:
            return {}
        return {name: paired_difference(table(row, name), table(other, name)) for name in MEASURES}

    def table(row: str, name: str) -> Table:
        return _table(done, row, name, setting)

    return [
        Row(
            name=row,
            metrics={name: estimate(table(row, name)) for name in MEASURES},
            against_plain=against(row, PLAIN, (PLAIN, CEILING)),
            against_regional=against(row, REGIONAL, (PLAIN, REGIONAL, CEILING)),
        )
        for row in (*setting.rows, CEILING)
    ]


def _table(done: Done, row: str, measure_name: str, setting: Setting) -> Table:
    nothing: Measures = {}
    seeds: Sequence[int] = range(1 if row == CEILING else setting.seeds)
    return np.array(
        [
            [done.get((row, prompt, seed), nothing).get(measure_name, float("nan")) for seed in seeds]
            for prompt in range(setting.prompts)
        ]
    )
