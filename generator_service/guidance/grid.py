"""The grid of video tokens that attention sees: latent frames, rows, columns, in that order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    frames: int
    rows: int
    columns: int
    compression: int = 1
    """Layout frames for each token frame but the first, which stands for one (CogVideoX: 4)."""

    @property
    def tokens(self) -> int:
        """N, of one video; token (f, y, x) has index (f · rows + y) · columns + x."""
        return self.frames * self.rows * self.columns

    @property
    def layout_frames(self) -> int:
        """How many layout frames the token frames stand for."""
        return 1 + self.compression * (self.frames - 1)
