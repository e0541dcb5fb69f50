"""An ablation as a Markdown table: a line for each row, bold where it differs from plain for the better."""

from evaluation.ablation import Ablation, Row
from evaluation.measures import MEASURES
from evaluation.statistics import Estimate


def markdown(ablation: Ablation) -> str:
    setting = ablation.setting
    lines = [
        f"{setting.backbone}, {setting.prompts} prompts ({setting.half} half), {setting.seeds} seeds each, "
        f"weights {setting.weights[:19]}; mean and half the width of its 95 % interval; ↑ more is better, ↓ less; "
        "**bold**: better than plain, *italic*: worse, the paired interval clear of 0",
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
    match _verdict(row.against_plain.get(name), MEASURES[name].higher_is_better):
        case True:
            return f"**{text}**"
        case False:
            return f"*{text}*"
        case None:
            return text


def _verdict(difference: Estimate | None, higher_is_better: bool | None) -> bool | None:
    """True for better, False for worse, None where nobody can tell."""
    if difference is None or higher_is_better is None or difference.low <= 0 <= difference.high:
        return None
    return (difference.low > 0) is higher_is_better
