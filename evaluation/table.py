"""An ablation as a Markdown table: a line for each row, marked where it differs from plain, and from R&P alone."""

from evaluation.ablation import Ablation, Row
from evaluation.measures import MEASURES
from evaluation.statistics import Estimate


def markdown(ablation: Ablation) -> str:
    setting = ablation.setting
    lines = [
        f"{setting.backbone}, {setting.prompts} prompts ({setting.half} half), {setting.seeds} seeds each, "
        f"weights {setting.weights[:19]}; mean and half the width of its 95 % interval; ↑ more is better, ↓ less; "
        "**bold**: better than plain, *italic*: worse; ▲ better than R&P alone, ▽ worse: paired intervals clear of 0",
        "",
        "| " + " | ".join(["", *(_title(name) for name in MEASURES)]) + " |",
        "| --- |" + " --- |" * len(MEASURES),
    ]
    lines += ["| " + " | ".join([row.name, *(_cell(row, name) for name in MEASURES)]) + " |" for row in ablation.rows]
    return "\n".join(lines)


def _title(name: str) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[MEASURES[name].higher_is_better]
    return MEASURES[name].title + arrow


def _cell(row: Row, name: str) -> str:
    value = row.metrics[name]
    if value is None:
        return "–"
    text = f"{value.mean:.3f} ± {(value.high - value.low) / 2:.3f}"
    upwards = MEASURES[name].higher_is_better
    emphasis = {True: "**", False: "*", None: ""}[_verdict(row.against_plain.get(name), upwards)]
    mark = {True: " ▲", False: " ▽", None: ""}[_verdict(row.against_regional.get(name), upwards)]
    return f"{emphasis}{text}{emphasis}{mark}"


def _verdict(difference: Estimate | None, higher_is_better: bool | None) -> bool | None:
    """True for better, False for worse, None where nobody can tell."""
    if difference is None or higher_is_better is None or difference.low <= 0 <= difference.high:
        return None
    return (difference.low > 0) is higher_is_better
