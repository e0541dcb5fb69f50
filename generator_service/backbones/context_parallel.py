"""One video on several devices: each has a part of the video's tokens, and for attention a part of the heads.

That is Ulysses (Jacobs et al., 2023, arXiv:2309.14509): before attention the ranks exchange tokens for heads, behind it
heads for tokens.  In between a rank sees the whole sequence, so that guided attention, whose rows name keys anywhere in
it, is computed as on one device.  (In ring attention a rank sees a part of the keys at a time, and guidance would have
to be told which.)  Text is short: every rank has all of it.

Everything here passes gradients on, for guidance by gradients.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from shared.errors import RenderingFailed


class Ranks:
    """The processes that share a video, each of which makes the same calls; one, which then does nothing here."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        """Of the default process group."""
        self.rank = rank
        self.size = size
        self.tokens = 0
        """Of the video in hand."""

    def check_heads(self, heads: int, name: str) -> None:
        """Raises RenderingFailed where they cannot be shared out evenly."""
        if heads % self.size != 0:
            shares = ", ".join(str(its) for its in range(2, heads + 1) if heads % its == 0)
            raise RenderingFailed(f"{name} has {heads} heads, which {self.size} GPUs cannot share: {shares} can")

    def split(self, whole: Tensor, dim: int) -> Tensor:
        """This rank's part; the last one ends with zeros where they do not come out even."""
        if self.size == 1:
            return whole
        self.tokens = whole.shape[dim]
        part: Tensor = _Split.apply(whole, self, dim)
        return part

    def gather(self, part: Tensor, dim: int) -> Tensor:
        """All parts."""
        if self.size == 1:
            return part
        parts = _exchange(part.expand(self.size, *part.shape))
        whole: Tensor = parts.movedim(0, dim).flatten(dim, dim + 1).narrow(dim, 0, self.tokens)
        return whole

    def to_heads(self, part: Tensor, text: int = 0) -> Tensor:
        """[batch, head, text + part of the video, channel] -> [batch, its share, text + video, channel].

        text: how many tokens, the first ones, every rank has.
        """
        if self.size == 1:
            return part
        shares: Tensor = part.unflatten(1, (self.size, -1)).movedim(1, 0)  # [rank, batch, share, token, channel]
        if text == part.shape[2]:
            return shares[self.rank]
        video = _exchange(shares[:, :, :, text:]).permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, : self.tokens]
        return torch.cat([shares[self.rank, :, :, :text], video], dim=2)

    def to_tokens(self, share: Tensor, text: int = 0) -> Tensor:
        """The way back."""
        if self.size == 1:
            return share
        video = _pad(share[:, :, text:], 2, self.size).unflatten(2, (self.size, -1)).movedim(2, 0)
        video = _exchange(video).transpose(0, 1).flatten(1, 2)
        if text == 0:
            return video
        read = _exchange(share[:, :, :text].expand(self.size, -1, -1, -1, -1)).transpose(0, 1).flatten(1, 2)
        return torch.cat([read, video], dim=2)


ALONE = Ranks()


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, ranks: Ranks, dim: int) -> Tensor:
        ctx.ranks, ctx.dim = ranks, dim
        return _pad(whole, dim, ranks.size).chunk(ranks.size, dim)[ranks.rank].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.ranks.gather(gradient, ctx.dim), None, None


class _Exchange(torch.autograd.Function):
    """[rank, …]: part i goes to rank i, and what comes from there takes its place; a transposition, as backwards."""

    @staticmethod
    def forward(ctx: Any, sent: Tensor) -> Tensor:
        received = torch.empty(sent.shape, dtype=sent.dtype, device=sent.device)
        dist.all_to_all_single(received, sent.contiguous())
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _exchange(gradient)


def _exchange(sent: Tensor) -> Tensor:
    received: Tensor = _Exchange.apply(sent)
    return received


def _pad(whole: Tensor, dim: int, size: int) -> Tensor:
    """With zeros, to a multiple of `size`."""
    return pad(whole, (0, 0) * (whole.dim() - 1 - dim) + (0, -whole.shape[dim] % size))
