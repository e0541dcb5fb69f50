"""Regional prompting (R&P): each region's description is read by the video tokens of its region alone.

The regions are the instances' boxes and, the last one, what is around them.  The joint sequence is
[base text ; description 1 ; … ; description R ; video], every text of the same length.  Who sees whom, with ρ the base
ratio:

    base text            sees itself and all of the video: as if there were no descriptions
    description r        sees itself and the video tokens of region r
    video, base          sees the base text, and all of the video but, from a box, other things' boxes
    video, regional      sees the descriptions of its regions, and the same of the video
    video                ρ · base + (1 - ρ) · regional

A token may lie in several boxes.  Its things are those whose box, or whose parts' boxes, it lies in; "other" are boxed
tokens that have no thing in common with it.  What is around the boxes sees, and is seen by, all of the video.  From
video to video the guidance of `attention` applies, in base and regional alike.  So nobody sees a description from
outside its region; with ρ = 0 no video token sees the base text.

That is a joint network.  Where the video reads texts in a cross-attention of its own, it blends there, over the texts
alone.

The source, "Training-free Regional Prompting for Diffusion Transformers" (Chen et al., 2024, arXiv:2411.02395), blends
in the same way, but masks otherwise: within `regional`, image tokens see only image tokens of their own regions; within
`base`, all.  Here a thing still sees its surroundings, which it should match, and itself in all frames, which motion
guidance works on; but nowhere another thing, which it may well take for the one that its description speaks of.

No mask is needed, because attention over texts and over the video are merged by their log-sum-exp: the costly part,
from video to video, is computed once for base and regional.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from generator_service.contract.guidance import Form
from generator_service.guidance.attention import MaskedKeys, RowGroups, group_rows, guided_partial
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.partial_attention import attend, merge, split_heads


class Group(NamedTuple):
    """Video tokens that lie in the same regions."""

    rows: Tensor
    """[n], of the video."""
    texts: Tensor
    """[m], the text tokens of their regions, of the joint sequence."""
    masked: Tensor
    """[k], of the video: from a box, the tokens of other things' boxes."""


@dataclass(frozen=True)
class Regions:
    """Which video tokens lie in which region, as indices: the same for every step and layer of a video."""

    text: int
    """How many tokens each text has."""
    tokens: tuple[Tensor, ...]
    """For each region its video tokens, [n]; there may be none."""
    groups: tuple[Group, ...]
    """Every video token is in one of them."""

    @classmethod
    def of(cls, inside: Tensor, wholes: Sequence[str], text: int, device: torch.device | str = "cpu") -> "Regions":
        """inside: [instance, N], bool, the boxes; wholes: of each instance the thing that it is or is a part of."""
        inside = inside.to(device)
        boxed = inside.any(dim=0)
        things = torch.stack([inside[[its == thing for its in wholes]].any(dim=0) for thing in dict.fromkeys(wholes)])
        membership = torch.cat([inside, ~boxed[None]])  # [region, N]
        signatures, which = membership.T.unique(dim=0, return_inverse=True)
        groups = []
        for index, signature in enumerate(signatures):
            starts = text * (1 + signature.nonzero())  # [region, 1]
            texts = (starts + torch.arange(text, device=starts.device)).flatten()
            rows = (which == index).nonzero()[:, 0]
            its_things = things[things[:, rows[0]]].any(dim=0)
            others = boxed & ~its_things & boxed[rows[0]]
            groups.append(Group(rows, texts, others.nonzero()[:, 0]))
        return cls(text, tuple(region.nonzero()[:, 0] for region in membership), tuple(groups))

    def group_rows(self, field: GuidanceField, strength: float, form: Form) -> RowGroups | None:
        """From video to video, where the regions are."""
        masked = [MaskedKeys(group.rows, group.masked) for group in self.groups if len(group.masked) > 0]
        return group_rows(field, strength, text=0, form=form, masked=masked, device=self.tokens[0].device)

    @property
    def texts(self) -> int:
        """Tokens of all texts, the base text's too: where the video begins."""
        return self.text * (1 + len(self.tokens))


def regional_attention(
    query: Tensor, key: Tensor, value: Tensor, regions: Regions, groups: RowGroups | None, base_ratio: float
) -> Tensor:
    """[batch, head, texts + N, channel] each -> the same.  groups: from `regions.group_rows`."""
    output = torch.empty_like(query)
    for heads in split_heads(query):
        some = (query[:, heads], key[:, heads], value[:, heads])
        _attend_by_regions(*some, regions, groups, base_ratio, output[:, heads])
    return output


def read_by_regions(query: Tensor, key: Tensor, value: Tensor, regions: Regions, base_ratio: float) -> Tensor:
    """A cross-attention: [batch, head, N, channel] of the video, [batch, head, texts, channel] -> as the query."""
    output = torch.empty_like(query)
    for rows, texts, _ in regions.groups:
        q = query.index_select(2, rows)
        result = attend(q, key.index_select(2, texts), value.index_select(2, texts)).output
        if base_ratio > 0:
            base = attend(q, key[:, :, : regions.text], value[:, :, : regions.text]).output
            result = (base_ratio * base.float() + (1 - base_ratio) * result.float()).to(query.dtype)
        output.index_copy_(2, rows, result)
    return output


def _attend_by_regions(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    regions: Regions,
    groups: RowGroups | None,
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

    seen = guided_partial(q_video, k_video, v_video, groups)
    for rows, texts, _ in regions.groups:
        q, its_seen = q_video.index_select(2, rows), seen.at(rows)
        result = merge(its_seen, attend(q, key.index_select(2, texts), value.index_select(2, texts))).output
        if base_ratio > 0:
            base = merge(its_seen, attend(q, k_base, v_base)).output
            result = base_ratio * base + (1 - base_ratio) * result
        output.index_copy_(2, rows + regions.texts, result.to(output.dtype))
