"""Boxes in fractions of the frame, and what the services do with them.

A box is `(x0, y0, x1, y1)`: fractions of the frame's width and height, origin top left, so that a plan does not
depend on any resolution.
"""

from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

Fraction = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False), AfterValidator(lambda x: x + 0.0)]
"""Zero has one sign, so that equal plans are written, and hash, alike."""

MINIMUM_SIDE = 0.01
"""No side of a box may be shorter: 1 % of the frame."""


class Box(NamedTuple):
    """An axis-aligned rectangle; on the wire an array of four numbers."""

    x0: Fraction
    y0: Fraction
    x1: Fraction
    y1: Fraction

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> "Box":
        """The box of that size centred at `(x, y)`."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def aspect(self) -> float:
        """Width over height, both as fractions."""
        return self.width / self.height

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def translate(self, dx: float, dy: float) -> "Box":
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def scale(self, factor: float) -> "Box":
        """The same centre, both sides times `factor`."""
        return Box.around(*self.center, self.width * factor, self.height * factor)

    def overlap(self, other: "Box") -> float:
        """Area of the intersection."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)


def _has_area(box: Box) -> Box:
    if min(box.width, box.height) < MINIMUM_SIDE - 1e-9:
        raise ValueError(
            f"a box needs x1 - x0 and y1 - y0 of at least {MINIMUM_SIDE}, but these are "
            f"{box.width:.4f} and {box.height:.4f}"
        )
    return box


FrameBox = Annotated[Box, AfterValidator(_has_area)]
"""A box inside the frame and no thinner than `MINIMUM_SIDE`: the only kind a plan may hold."""
