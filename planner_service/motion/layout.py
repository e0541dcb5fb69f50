"""A layout: the boxes that came of a reading, before the rules have judged them."""

from dataclasses import dataclass

from planner_service.motion.cues import Reading
from shared.plan import Track


@dataclass(frozen=True)
class Layout:
    """A reading and the boxes that came of it."""

    reading: Reading
    tracks: tuple[Track, ...]
    frames: int

    def track(self, instance: str) -> Track:
        return next(track for track in self.tracks if track.instance == instance)
