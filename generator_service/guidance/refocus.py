"""Attention refocusing (A&R): a thing's words are read inside its box, and what is in its box looks at its box.

"Grounded Text-to-Image Synthesis with Attention Refocusing" (Phung et al., 2023, arXiv:2306.05427), frame by frame:

    cross    Σ over things and their tokens of 1 - max_box A + max_others A + ½ max_background A    / things
    self     Σ over things of the mean, over the places of the box, of what they give outside it    / things

A in the first is softmax(100 A') over the prompt's own tokens, and A' the mean over layers and heads.  "Others" are the
boxes of things with other words, less the thing's own.  The source smooths A with a small Gaussian, which is left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SHARPNESS = 100.0


@dataclass(frozen=True)
class Words:
    """Of a prompt."""

    own: range
    """Its tokens, without those of start, end and padding."""
    things: tuple[tuple[int, ...], ...]
    """Of each instance, the tokens of its words; none where the prompt does not name it."""
    texts: tuple[str, ...]
    """Likewise the words."""

    @classmethod
    def of(cls, prompt: str, spans: Sequence[tuple[int, int]], names: Sequence[str]) -> "Words":
        """spans: where in the prompt each token after the start stands, end and padding left out."""

        found = [_find(name, prompt) for name in names]
        things = tuple(
            tuple(1 + index for index, span in enumerate(spans) if start <= span[0] and span[1] <= end)
            for start, end in found
        )
        return cls(range(1, 1 + len(spans)), things, tuple(prompt[start:end] for start, end in found))


def _find(name: str, prompt: str) -> tuple[int, int]:
    """Where the prompt has the name, or else its last word, in the plural or not; nowhere is (0, 0)."""
    noun = name.split()[-1]
    for pattern in (rf"{re.escape(name)}", rf"{re.escape(noun)}", rf"{re.escape(noun.removesuffix('s'))}(?:s|es)?"):
        if match := re.search(rf"\b{pattern}\b", prompt, re.IGNORECASE):
            return match.span()
    return 0, 0


def cross_loss(attention: Tensor, inside: Tensor, words: Words) -> Tensor:
    """attention: A', [F, rows · columns, token]; inside: [instance, F, rows · columns], bool, the boxes -> []."""
    sharp = torch.softmax(SHARPNESS * attention[..., words.own.start : words.own.stop], dim=-1)
    total = attention.new_zeros(())
    for instance, tokens in enumerate(words.things):
        box, there = inside[instance], inside[instance].any(dim=1)
        if not tokens or not there.any():
            continue
        of_others = [inside[other] for other, its in enumerate(words.things) if its != tokens]
        others = torch.stack([box & False, *of_others]).any(dim=0) & ~box
        for token in tokens:
            A = sharp[..., token - words.own.start]
            loss = 1 - _highest(A, box) + _highest(A, others) + _highest(A, ~box & ~others) / 2
            total = total + loss[there].mean()
    return total / len(words.things)


def _highest(attention: Tensor, cells: Tensor) -> Tensor:
    """[F], the maximum of each frame over these cells; 0 where there are none."""
    return torch.where(cells, attention, 0.0).amax(dim=1)


def self_loss(attention: Tensor, inside: Tensor) -> Tensor:
    """attention: [F, rows · columns, rows · columns], mean over the heads; inside as above -> []."""
    box = inside.to(attention.dtype)
    outside = torch.einsum("fqk,ifq,ifk->if", attention, box, 1 - box) / box.sum(dim=2).clamp(min=1)
    return (outside.sum(dim=1) / inside.any(dim=2).sum(dim=1).clamp(min=1)).sum() / len(inside)
