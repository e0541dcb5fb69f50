"""The evaluation as a command runs it: over processes, and the tables it prints."""

import json

import numpy as np
import pytest

from emoji_world import evaluation
from emoji_world.estimates import Rate
from emoji_world.evaluation import Evaluation, Judgement, as_json, evaluate, held_out_scene, markdown, results
from emoji_world.networks import WEIGHTS
from emoji_world.spec import WORLD


def test_figures_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "AT_ONCE", 1)
    reports: list[int] = []

    def run(processes: int) -> Evaluation:
        return evaluate(WEIGHTS, WORLD, 2, steps=1, guidance_scale=1, processes=processes, report=reports.append)

    one, two = run(1), run(2)
    assert reports == [1, 2] * 2
    assert (one.model, one.ceiling, one.chance) == (two.model, two.ceiling, two.chance)
    assert np.array_equal(one.videos, two.videos)
    assert one.captions == [held_out_scene(WORLD, index).caption for index in range(2)]
    assert one.ceiling.background == Rate(2, 2)
    assert one.ceiling.sprite.share > one.chance.sprite.share + 0.5


def test_scenes_of_one_object_take_every_motion_in_its_turn() -> None:
    scenes = [held_out_scene(WORLD, index) for index in range(21)]
    assert [len(scene.objects) for scene in scenes] == [1, 1, 2] * 7
    assert [scene.objects[0].motion for scene in scenes if len(scene.objects) == 1] == [*WORLD.motions, *WORLD.motions]


def test_tables_show_rate_interval_and_count() -> None:
    model = Judgement(sprite=Rate(5, 10), deforms=Rate(10, 10), keeps_shape=Rate(0, 10))
    rows = results(Evaluation(model, model + model, Judgement(), [], np.zeros(0)))
    table = markdown(rows)
    assert "| 1 object: right sprite detected | 50% (24–76) of 10 | 50% (30–70) of 20 | - |" in table
    assert "(mean of both shares) | 50% (36–64) of 20 |" in table
    written = json.loads(json.dumps(as_json(rows), allow_nan=False))
    assert written["sprite"]["model"]["of"] == 10
    assert written["sprite"]["chance"] == {"of": 0}
