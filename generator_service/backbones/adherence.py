"""What of a plan is seen in the video, where a backbone's things can be found.  No torch: the API reads this too."""

from typing import Annotated

from pydantic import Field

from shared.geometry import Box
from shared.motion_graph import Identifier
from shared.wire import WireModel


class Adherence(WireModel):
    """One instance, against its boxes as the backbone was given them."""

    instance: Identifier
    drawn_as: str
    detected: Annotated[bool, Field(description="Whether it is seen at all.")]
    mean_iou: Annotated[float, Field(description="Of found and planned box, mean over the frames.")]
    centre_error: Annotated[float, Field(description="Mean distance of the centres, shares of the frame's edges.")]
    boxes: Annotated[tuple[Box, ...], Field(description="Where it was found, the best guess where it is not seen.")]

    def __str__(self) -> str:
        if not self.detected:
            return f"{self.instance}: not seen"
        return f"{self.instance}: seen, IoU {self.mean_iou:.2f} with its planned box"
