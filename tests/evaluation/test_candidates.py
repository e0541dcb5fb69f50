"""What several candidates buy, by hand."""

from evaluation.candidates import Clip, markdown
from generator_service.contract.request import JobRequest


def clip(early: float, right: float, overlap: float) -> Clip:
    return Clip(early, {"right": right, "detection_rate": 1.0, "mean_iou": overlap})


def test_one_caption_by_hand() -> None:
    """Of four, the last is right; early it looked worst, so that it is pruned."""
    clips = [clip(1.3, 0.0, 0.2), clip(1.2, 0.0, 0.4), clip(1.5, 0.0, 0.3), clip(1.1, 1.0, 0.6)]
    settings = JobRequest(prompt="a tree", steps=10).settings()
    rows = [line.split(" | ") for line in markdown([clips], settings).splitlines()[2:]]
    told = [(row[0].strip("| "), row[1], row[2], row[3][:5], row[5][:5]) for row in rows]
    assert told == [
        ("1", "", "× 1.00", "0.250", "0.375"),
        ("2", "all to the end", "× 2.00", "0.500", "0.500"),  # the second and the fourth
        ("2", "pruned", "× 1.40", "0.000", "0.250"),  # the first and the third
        ("4", "all to the end", "× 4.00", "1.000", "0.600"),
        ("4", "pruned", "× 2.80", "0.000", "0.300"),  # the first and the third went on
    ]
