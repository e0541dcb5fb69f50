"""Facts of single steps become one line for each phase."""

from generator_service.contract.report import PhaseReport
from generator_service.guidance.report import PhaseFacts, phase_reports


def test_facts_are_put_together_phase_by_phase() -> None:
    steps = [
        (PhaseFacts("car", "gig", 10), PhaseFacts("car", "rcg", 4, reference_frame=2)),
        (PhaseFacts("car", "gig", 7, whole_box=True), PhaseFacts("car", "rcg", 4, reference_frame=1)),
        (PhaseFacts("car", "gig", 8, whole_box=True), PhaseFacts("car", "rcg", 4, reference_frame=0)),
    ]
    moving, resting = phase_reports(steps)
    assert moving == PhaseReport(
        instance="car", branch="gig", steps=3, tokens=8.3, reference_frame=None, whole_box_steps=2
    )
    assert (resting.branch, resting.tokens, resting.reference_frame) == ("rcg", 4.0, 0)
    assert phase_reports([]) == ()
