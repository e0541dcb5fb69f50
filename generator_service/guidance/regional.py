"""Regional prompting (R&P): each region's description is read by the video tokens of its region alone.

The joint sequence is [base text ; description 1 ; … ; description R ; video], every text of the same length.  Who sees
whom, with ρ the base ratio:

    base text            sees itself and all of the video: as if there were no descriptions
    description r        sees itself and the video tokens of region r
    video, base          sees the base text and all of the video: as if there were no descriptions
    video, regional      sees the descriptions of the regions it lies in, and all of the video
    video                ρ · base + (1 - ρ) · regional; base alone where it lies in no region

A token may lie in several regions.  From video to video the guidance of `attention` applies, in base and regional
alike.  So nobody sees a description from outside its region; with ρ = 0 nobody inside sees the base text.  The
background can be a region as well: the tokens outside all boxes, with the background's description.

The source, "Training-free Regional Prompting for Diffusion Transformers" (Chen et al., 2024, arXiv:2411.02395), blends
in the same way, but masks more: within `regional`, image tokens see only image tokens of their own regions.  Here all
of the video stays visible: motion guidance works from video to video, and a thing should match its surroundings.

No mask is needed, because attention over texts and over the video are merged by their log-sum-exp: the costly part,
from video to video, is computed once for base and regional.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from generator_service.guidance.attention import AttentionPlan, guided_partial
from generator_service.guidance.partial_attention import attend, merge, some_heads_at_a_time


@dataclass(frozen=True)
class Regions:
    """Which video tokens lie in which region, as indices: the same for every step and layer of a video."""

    text: int
    """How many tokens each text has."""
    tokens: tuple[Tensor, ...]
    """For each region its video tokens, [n]; there may be none."""
    groups: tuple[tuple[Tensor, Tensor], ...]
    """Video tokens that lie in the same regions, [n], and the text tokens of those, [m], as in the joint sequence."""

    @classmethod
    def of(cls, membership: Tensor, text: int, device: torch.device | str = "cpu") -> "Regions":
        """membership: [region, N], bool."""
        membership = membership.to(device)
        signatures, which = membership.T.unique(dim=0, return_inverse=True)
        groups = []
        for index, signature in enumerate(signatures):
            if signature.any():
                starts = text * (1 + signature.nonzero())  # [region, 1]
                texts = (starts + torch.arange(text, device=starts.device)).flatten()
                groups.append(((which == index).nonzero()[:, 0], texts))
        return cls(text, tuple(region.nonzero()[:, 0] for region in membership), tuple(groups))

    @property
    def texts(self) -> int:
        """Tokens of all texts, the base text's too: where the video begins."""
        return self.text * (1 + len(self.tokens))


def regional_attention(
    query: Tensor, key: Tensor, value: Tensor, regions: Regions, plan: AttentionPlan | None, base_ratio: float
) -> Tensor:
    """[batch, head, texts + N, channel] each -> the same.  `plan` is of the video alone (`text` = 0)."""
    output = torch.empty_like(query)
    for heads in some_heads_at_a_time(query):
        some = (query[:, heads], key[:, heads], value[:, heads])
        _attend_by_regions(*some, regions, plan, base_ratio, output[:, heads])
    return output


def _attend_by_regions(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    regions: Regions,
    plan: AttentionPlan | None,
    base_ratio: float,
    output: Tensor,
) -> None:
    """Fills the output."""

    def part(start: int, end: int | None) -> tuple[Tensor, Tensor, Tensor]:
        return query[:, :, start:end], key[:, :, start:end], value[:, :, start:end]

    text = regions.text
    q_base, k_base, v_base = part(0, text)
    q_video, k_video, v_video = part(regions.texts, None)

    output[:, :, :text] = merge(attend(q_base, k_base, v_base), attend(q_base, k_video, v_video)).output
    for index, tokens in enumerate(regions.tokens):
        start = text * (1 + index)
        q, k, v = part(start, start + text)
        inside = attend(q, k_video.index_select(2, tokens), v_video.index_select(2, tokens))
        output[:, :, start : start + text] = merge(attend(q, k, v), inside).output

    video = guided_partial(q_video, k_video, v_video, plan)
    output[:, :, regions.texts :] = merge(video, attend(q_video, k_base, v_base)).output
    for tokens, texts in regions.groups:
        described = attend(q_video.index_select(2, tokens), key.index_select(2, texts), value.index_select(2, texts))
        regional = merge(video.at(tokens), described).output
        rows = tokens + regions.texts
        base = output.index_select(2, rows)
        output.index_copy_(2, rows, (base_ratio * base + (1 - base_ratio) * regional).to(output.dtype))
