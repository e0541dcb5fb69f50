"""Guided attention on the joint sequence [text ; video], exact and without an N × N matrix.

    A = softmax(Q Kᵀ (1 + β G) / √d)       multiplicative: Eq. 4
    A = softmax(Q Kᵀ / √d + β G)           additive: raises a negative logit too, where the paper's form lowers it
    A = softmax(Q Kᵀ / √d + log G)         share (ours): where G names keys, G > 0, and these hold less than τ of what
                                           the row gives to the video, they are lifted to it, at the others' cost

The effect of β depends on how large a network's logits are; that of the share τ does not, in any row and head.

G is a `GuidanceField` from video to video, and 0 in the rows and columns of text.  It changes the logits of few rows,
those of the guided instances, at few keys, those of the same instance in some frames, which it names.  So the rows of
an instance that name the same keys are a group:

- over the keys they do not name, plain attention;
- over those they do, either `_ByFrame`: for each key frame f plain attention of q (1 + β W[q, f]), because W is the
  same for all keys of a frame; or `_Block`: explicit logits, some rows at a time; whichever is faster for its size;
- the two merged by their log-sum-exp, or lifted to the share;
- an anchor moves one logit of a row from s to s', which is a correction of rank one, with m = max(l, s'):
  r = exp(s' - m) - exp(s - m),  o ← (exp(l - m) o + r v_anchor) / (exp(l - m) + r).

All other rows are one more group, over all keys.  Where rows do not see some of the keys (`regional`), every group is
of rows that see the same ones.  Which token is where does not depend on q, k and v: the groups are made once per
denoising step, for all layers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generator_service.contract.guidance import Form
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.partial_attention import Partial, attend, lift, merge, split_heads

BLOCK_SHARE = 0.2
"""An instance of at most this share of the keys is computed as `_Block`: above it `_ByFrame` should be faster."""
BLOCK_ELEMENTS = {"cpu": 2**18, "cuda": 2**26}
"""How many logits `_Block` holds at a time, over all heads: a CPU's cache; a quarter GiB of a GPU."""
KEYS_AT_A_TIME = 2**12
"""How many of the keys outside an instance are copied at a time."""


class MaskedKeys(NamedTuple):
    """Rows of the video and keys of the video that they do not attend to.  Text attends to all."""

    rows: Tensor
    """[row]."""
    keys: Tensor
    """[key]; none with a row's own id in the field, and no row's anchor."""


@dataclass(frozen=True)
class _Block:
    keys: Tensor
    """[key], those named."""
    frame: Tensor
    """[key], of each."""
    weight: Tensor
    """β W: [row, F]."""
    form: Form

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Partial:
        batch, heads, rows, channels = query.shape
        keys = key.index_select(2, self.keys).float().transpose(2, 3)
        values = value.index_select(2, self.keys).float()
        output = torch.empty(query.shape, device=query.device)
        lse = torch.empty(query.shape[:3], device=query.device)
        elements = BLOCK_ELEMENTS.get(query.device.type, BLOCK_ELEMENTS["cpu"])
        size = max(1, elements // (batch * heads * len(self.keys)))
        for start in range(0, rows, size):
            part = slice(start, min(start + size, rows))
            logits = (query[:, :, part].float() / math.sqrt(channels)) @ keys
            change = self.weight[part].index_select(1, self.frame)
            logits = logits.mul_(change.add_(1)) if self.form == "multiplicative" else logits.add_(change)
            lse[:, :, part] = highest = logits.amax(dim=-1)
            weights = logits.sub_(highest[..., None]).exp_()
            total = weights.sum(dim=-1)
            lse[:, :, part] += total.log()
            output[:, :, part] = (weights @ values).div_(total[..., None])
        return Partial(output, lse)


@dataclass(frozen=True)
class _ByFrame:
    keys: tuple[tuple[int, Tensor], ...]
    """Each frame with named keys, and these."""
    weight: Tensor
    """β W: [row, F]."""
    form: Form

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Partial:
        return reduce(merge, (self._attend_frame(frame, keys, query, key, value) for frame, keys in self.keys))

    def _attend_frame(self, frame: int, keys: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Partial:
        key, value = key.index_select(2, keys), value.index_select(2, keys)
        change = self.weight[:, frame]
        if self.form == "additive":  # one number for all keys of a row
            output, lse = attend(query, key, value)
            return Partial(output, lse + change)
        return attend((query * (1 + change)[:, None]).to(query.dtype), key, value)


@dataclass(frozen=True)
class _Anchors:
    rows: Tensor
    """[n], which rows of the group have one."""
    keys: Tensor
    """[n]."""
    inside: Tensor
    """β W of the anchor: [n]; 0 where it is no token of the row's instance."""
    weight: Tensor
    """β w: [n]."""
    form: Form

    def correct(self, partial: Partial, query: Tensor, key: Tensor, value: Tensor) -> Partial:
        query = query.index_select(2, self.rows).float()
        plain = (query * key.index_select(2, self.keys).float()).sum(dim=-1) / math.sqrt(query.shape[3])
        if self.form == "multiplicative":
            before, after = plain * (1 + self.inside), plain * (1 + self.inside + self.weight)
        else:
            before, after = plain + self.inside, plain + self.inside + self.weight
        output, lse = partial.at(self.rows)
        highest = torch.maximum(lse, after)  # a large change overflows else
        kept, more = (lse - highest).exp(), (after - highest).exp() - (before - highest).exp()
        output = output.float() * kept[..., None] + more[..., None] * value.index_select(2, self.keys).float()
        output /= (kept + more)[..., None]
        partial.output.index_copy_(2, self.rows, output.to(partial.output.dtype))
        partial.lse.index_copy_(2, self.rows, highest + (kept + more).log())
        return partial


@dataclass(frozen=True)
class _Group:
    rows: Tensor
    """[row]."""
    outside: tuple[Tensor, ...] | None
    """The keys that the rows see and do not name, some at a time; None where they see all keys alike."""
    inside: _Block | _ByFrame | None
    anchors: _Anchors | None
    share: float | None = None
    """τ: the named keys are lifted to it, beside the others of the video."""
    text: int = 0
    """With a share: how many tokens of text there are, which `outside` leaves out."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Partial:
        if self.outside is None:
            partial = attend(query, key, value)
        else:
            parts = (attend(query, key.index_select(2, some), value.index_select(2, some)) for some in self.outside)
            partial = reduce(merge, parts)
        if self.inside is not None:
            inside = self.inside.attend(query, key, value)
            if self.share is None:
                partial = merge(inside, partial)
            else:
                text = attend(query, key[:, :, : self.text], value[:, :, : self.text])
                partial = merge(lift(inside, partial, self.share), text)
        return partial if self.anchors is None else self.anchors.correct(partial, query, key, value)


RowGroups = tuple[_Group, ...]
"""What a field asks of the attention, as indices into the joint sequence; every row is in one group."""


def group_rows(
    field: GuidanceField,
    strength: float,
    *,
    text: int,
    form: Form = "multiplicative",
    masked: Sequence[MaskedKeys] = (),
    device: torch.device | str = "cpu",
) -> RowGroups | None:
    """None where nothing is guided, β = 0 or G = 0, and all is seen.

    strength: β, or τ.  text: how many tokens of text stand before the video's.  masked: no row twice.  device: where
    the attention is computed.
    """
    instance = field.instance.to(device)
    tokens = field.grid.tokens
    frame = torch.arange(tokens, device=device) // (field.grid.rows * field.grid.columns)
    present = torch.zeros(int(instance.max()) + 1, field.grid.frames, dtype=torch.bool, device=device)
    present[instance, frame] = True
    weight = field.weight.to(device).log() if form == "share" else strength * field.weight.to(device)
    named = (strength * field.weight.to(device) != 0) & present[instance] & (instance != 0)[:, None]
    guided = named.any(dim=1)
    anchored = (field.anchor.to(device) != NO_ANCHOR) & (strength * field.anchor_weight.to(device) != 0)
    if not (guided | anchored).any() and not masked:
        return None
    anchor, anchor_weight = field.anchor.to(device), strength * field.anchor_weight.to(device)

    def anchors(rows: Tensor) -> _Anchors | None:
        """rows: [row], video tokens by their place in the group; -1 for text."""
        having = ((rows >= 0) & anchored[rows]).nonzero()[:, 0]
        if len(having) == 0:
            return None
        queries = rows[having]
        keys = anchor[queries]
        same = (instance[queries] == instance[keys]) & (instance[queries] != 0)
        inside = torch.where(same, weight[queries, frame[keys]], 0.0)
        return _Anchors(having, keys + text, inside, anchor_weight[queries], form)

    def within(keys: Tensor, rows: Tensor) -> _Block | _ByFrame:
        change: Form = "additive" if form == "share" else form
        if len(keys) <= BLOCK_SHARE * (text + tokens):
            return _Block(keys + text, frame[keys], weight[rows], change)
        by_frame = ((at, keys[frame[keys] == at] + text) for at in frame[keys].unique().tolist())
        return _ByFrame(tuple(by_frame), weight[rows], change)

    groups: list[_Group] = []

    def add_guided(rows: Tensor, seen: Tensor) -> Tensor:
        """Returns the rows that are not.  seen: [text + N], bool."""
        own = guided[rows]
        for identity in instance[rows][own].unique().tolist():
            its = rows[own & (instance[rows] == identity)]
            for frames in named[its].unique(dim=0):
                some = its[(named[its] == frames).all(dim=1)]
                keys = (instance == identity) & frames[frame]
                outside = seen.clone()
                outside[text:][keys] = False
                if form == "share":
                    outside[:text] = False
                inside = within(keys.nonzero()[:, 0], some)
                share = strength if form == "share" else None
                groups.append(_Group(some + text, _split_keys(outside), inside, anchors(some), share, text))
        return rows[~own]

    rest = torch.ones(tokens, dtype=torch.bool, device=device)
    every = torch.ones(text + tokens, dtype=torch.bool, device=device)
    for some, keys in masked:
        rest[some] = False
        seen = every.clone()
        seen[keys + text] = False
        rows = add_guided(some, seen)
        if len(rows) > 0:
            groups.append(_Group(rows + text, _split_keys(seen), None, anchors(rows)))
    rows = add_guided(rest.nonzero()[:, 0], every)
    if text + len(rows) > 0:
        before = torch.arange(text, device=device)
        groups.append(_Group(torch.cat([before, rows + text]), None, None, anchors(torch.cat([before * 0 - 1, rows]))))
    return tuple(groups)


def _split_keys(chosen: Tensor) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = chosen.nonzero()[:, 0].split(KEYS_AT_A_TIME)
    return parts


def guided_partial(query: Tensor, key: Tensor, value: Tensor, groups: RowGroups | None) -> Partial:
    """Guided attention with its LSE, for a merge with other keys; each [batch, head, token, channel]."""
    if groups is None:
        return attend(query, key, value)
    output = torch.empty_like(query)
    return Partial(output, _attend_by_groups(query, key, value, groups, output))


def guided_attention(query: Tensor, key: Tensor, value: Tensor, groups: RowGroups | None) -> Tensor:
    """[batch, head, text + N, channel] each -> the same, of the query's type.

    Without groups it is torch's own attention, to the bit.
    """
    if groups is None:
        return functional.scaled_dot_product_attention(query, key, value)
    output = torch.empty_like(query)
    for heads in split_heads(query):
        _attend_by_groups(query[:, heads], key[:, heads], value[:, heads], groups, output[:, heads])
    return output


def _attend_by_groups(query: Tensor, key: Tensor, value: Tensor, groups: RowGroups, output: Tensor) -> Tensor:
    """Fills the output, and returns the LSE."""
    lse = torch.empty(query.shape[:3], device=query.device)
    for group in groups:
        partial = group.attend(query.index_select(2, group.rows), key, value)
        output.index_copy_(2, group.rows, partial.output.to(output.dtype))
        lse.index_copy_(2, group.rows, partial.lse)
    return lse
