"""The ablation: the same clips whoever renders them, resumable, and a table that says what is better."""

from pathlib import Path

import pytest

from evaluation.ablation import CEILING, PLAIN, REGIONAL, ROWS, Ablation, Row, Setting, run, setting_of
from evaluation.measures import MEASURES
from evaluation.prompts import held_out_captions
from evaluation.statistics import Estimate
from evaluation.table import markdown
from generator_service.contract.backbones import EMOJI_WORLD
from generator_service.contract.guidance import GuidanceParameters

SOME = {name: ROWS[name].model_copy(update={}) for name in (PLAIN, REGIONAL, "all")}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return setting_of("emoji-world", "tune", prompts=2, seeds=1, rows=SOME)


@pytest.fixture(scope="module")
def first_run(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ablation") / "table.json"
    run(setting, out, 1, lambda done, total: None)
    return out


def test_every_row_has_every_measure(first_run: Path) -> None:
    ablation = Ablation.model_validate_json(first_run.read_bytes())
    assert [row.name for row in ablation.rows] == [PLAIN, REGIONAL, "all", CEILING]
    plain, regional, guided, ceiling = ablation.rows
    assert list(plain.metrics) == list(MEASURES)
    assert plain.against_plain == ceiling.against_plain == {}
    assert plain.against_regional == regional.against_regional == ceiling.against_regional == {}
    for differences, other in ((guided.against_plain, plain), (guided.against_regional, regional)):
        its = guided.metrics["mean_iou"].mean - other.metrics["mean_iou"].mean
        assert differences["mean_iou"].mean == pytest.approx(its)
    assert ceiling.metrics["mean_iou"].mean > 0.6
    assert ablation.setting.rows["all"] == EMOJI_WORLD.guidance.model_copy(update={"branches": ("rcg", "gig", "sdg")})


def test_a_run_goes_on_where_it_was_and_comes_to_the_same(setting: Setting, first_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    lines = first_run.with_suffix(".clips.jsonl").read_text().splitlines()
    out.with_suffix(".clips.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # one clip of eight is lost
    told: list[tuple[int, int]] = []
    run(setting, out, 1, lambda done, total: told.append((done, total)))
    assert told == [(7, 8), (8, 8)]
    assert out.read_bytes() == first_run.read_bytes()


def test_guidance_that_is_given_is_every_row_s_but_plain_s() -> None:
    given = GuidanceParameters(strength=1.0, branches=("sdg",))
    rows = setting_of("emoji-world", "tune", prompts=2, seeds=1, guidance=given).rows
    assert rows[PLAIN].is_off
    assert rows["R&P + GIG"] == EMOJI_WORLD.guidance.model_copy(update={"branches": ("gig",), "strength": 1.0})


def test_a_journal_of_another_setting_is_refused(first_run: Path) -> None:
    other = setting_of("emoji-world", "tune", prompts=3, seeds=1, rows=SOME)
    with pytest.raises(ValueError, match="another setting"):
        run(other, first_run, 1, lambda done, total: None)


def test_the_halves_share_no_caption() -> None:
    tune, report = (held_out_captions(half, 40) for half in ("tune", "report"))
    assert not set(tune) & set(report)
    assert held_out_captions("tune", 10) == tune[:10]
    assert [sum(word in caption for word in (" and ", " while ")) > 0 for caption in tune[:6]] == [False, True] * 3


def test_the_table_marks_what_differs_from_plain_and_from_regional_prompting(setting: Setting) -> None:
    nothing = dict.fromkeys(MEASURES)

    def difference(interval: tuple[float, float] | None) -> dict[str, Estimate | None]:
        if interval is None:
            return {}
        return nothing | {"mean_iou": Estimate(mean=0.0, low=interval[0], high=interval[1])}

    def row(
        name: str, mean: float, plain: tuple[float, float] | None, regional: tuple[float, float] | None = None
    ) -> Row:
        estimate = Estimate(mean=mean, low=mean - 0.1, high=mean + 0.1)
        return Row(
            name=name,
            metrics=nothing | {"mean_iou": estimate},
            against_plain=difference(plain),
            against_regional=difference(regional),
        )

    rows = (
        row(PLAIN, 0.2, None),
        row("better", 0.4, (0.1, 0.3)),
        row("worse", 0.1, (-0.2, -0.05)),
        row("?", 0.3, (-0.1, 0.2)),
        row("best", 0.5, (0.2, 0.4), (0.05, 0.15)),
        row("between", 0.35, (0.1, 0.2), (-0.1, -0.01)),
    )
    text = markdown(Ablation(setting=setting, rows=rows))
    assert "0.200 ± 0.100 |" in text
    assert "**0.400 ± 0.100** |" in text
    assert "*0.100 ± 0.100* |" in text
    assert "| ? | – | – | 0.300 ± 0.100 |" in text
    assert "**0.500 ± 0.100** ▲ |" in text
    assert "**0.350 ± 0.100** ▽ |" in text
