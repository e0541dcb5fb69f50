"""Token routing (TREAD, arXiv:2501.04765): while training, only some of the video's tokens take part in the layers
between the first and the last; the others go past those layers unchanged.

Which ones is chance alone: were a thing's own tokens preferred, their places would tell where the thing is.
"""

from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, nn


class TokenRouting:
    """`kept`: [clip, token], the tokens that take part in the next pass; None: all."""

    def __init__(self, transformer: CogVideoXTransformer3DModel) -> None:
        self.kept: Tensor | None = None
        self._all = torch.empty(0)
        self._between = list(transformer.transformer_blocks)[1:-1]
        for block in self._between:
            block.register_forward_pre_hook(self._take_positions, with_kwargs=True)
        for block in self._between[:1]:
            block.register_forward_pre_hook(self._leave_out, with_kwargs=True)
        for block in self._between[-1:]:
            block.register_forward_hook(self._put_back)

    def choose(self, clips: int, tokens: int, share: float, random: torch.Generator) -> Tensor | None:
        """Keep this share of each clip's tokens from now on; a share of 1, or no layer between, is None."""
        self.kept = None
        if share < 1 and self._between:
            order = torch.rand(clips, tokens, generator=random).argsort(dim=1)
            self.kept = order[:, : round(share * tokens)]
        return self.kept

    def _take_positions(self, block: nn.Module, args: tuple[()], given: dict[str, Any]) -> Any:
        if self.kept is None:
            return None
        cos, sin = given["image_rotary_emb"]
        return args, given | {"image_rotary_emb": (cos[self.kept], sin[self.kept])}

    def _leave_out(self, block: nn.Module, args: tuple[()], given: dict[str, Any]) -> Any:
        if self.kept is None:
            return None
        self._all = given["hidden_states"]
        return args, given | {"hidden_states": self._all.gather(1, self._index(self._all))}

    def _put_back(self, block: nn.Module, args: tuple[()], result: tuple[Tensor, Tensor]) -> Any:
        if self.kept is None:
            return None
        video, text = result
        return self._all.scatter(1, self._index(self._all), video.to(self._all.dtype)), text

    def _index(self, states: Tensor) -> Tensor:
        assert self.kept is not None  # noqa: S101  (seen to by the callers)
        return self.kept.to(states.device)[..., None].expand(-1, -1, states.shape[-1])
