"""Three instances on a quarter of every frame, one of each branch (anchor, rigid, non-rigid), and ways to attend to it.

Names of methods are "plain", torch's own; and "guided", "regional" (guided, and reading a description of each instance
and of what is around them), "naive" (with the whole matrix G) and "FlexAttention", each with the form of the guidance
behind a comma.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from generator_service.contract.guidance import Form, GuidanceParameters
from generator_service.guidance.attention import group_rows, guided_attention
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import NO_ANCHOR
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on
from generator_service.guidance.regional import Regions, regional_attention
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

PARAMETERS = GuidanceParameters()
BETA = PARAMETERS.strength
LARGE = 5000
"""Of more tokens the naive method does not fit, every eighth row is compared to the reference, and rounds are fewer."""

FORMS: tuple[Form, ...] = ("multiplicative", "additive")
"""The paper's, and ours that costs the same; a share is lifted after either."""
Method = Callable[[Tensor, Tensor, Tensor], Tensor]
Qkv = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Size:
    grid: Grid
    text: int
    """0 for Wan, whose video attends to itself; its texts are read elsewhere, and cost little."""
    channels: int = 64
    """Of a head."""
    heads: int = 4
    """On a CPU, where they are computed one after another."""

    @property
    def tokens(self) -> int:
        return self.text + self.grid.tokens


SIZES = {
    size.tokens: size
    for size in (
        Size(Grid(8, 8, 16), 32),
        Size(Grid(8, 16, 16), 32),
        Size(Grid(8, 16, 32), 32),
        Size(Grid(13, 30, 45, compression=4), 226),  # CogVideoX-2B's
        Size(Grid(21, 30, 52, compression=4), 0, channels=128, heads=1),  # Wan's: 81 frames of 832 × 480
    )
}
TINY = Size(Grid(3, 7, 10), 5)


def scene(frames: int) -> Plan:
    """A motionless, a rigid and a non-rigid instance on a quarter of each frame."""
    boxes = {
        MotionLabel.MOTIONLESS: (Box(1 / 16, 1 / 8, 6 / 16, 3 / 8), 0.0),
        MotionLabel.RIGID: (Box(1 / 16, 4 / 8, 6 / 16, 6 / 8), 0.3),
        MotionLabel.NON_RIGID: (Box(7 / 16, 1 / 8, 13 / 16, 3 / 8), 1 / 8),
    }
    return Plan(
        prompt="a scene",
        graph=MotionGraph(instances=tuple(Instance(id=its, name=its, description=its, label=its) for its in boxes)),
        background="none",
        tracks=tuple(
            Track(
                instance=label,
                phases=(Phase(label=label, start=0, end=frames - 1),),
                boxes=tuple(box.translate(distance * frame / (frames - 1), 0.0) for frame in range(frames)),
            )
            for label, (box, distance) in boxes.items()
        ),
        depth_order=tuple(boxes),
    )


def apply_change(logits: Tensor, change: Tensor, form: Form) -> Tensor:
    return logits + change if form == "additive" else logits * (1 + change)


class Case:
    """The scene on a grid, and the methods to attend to it."""

    def __init__(self, size: Size, device: str) -> None:
        self.size, self.device = size, device
        layout = layout_on(size.grid, scene(size.grid.layout_frames))
        self.area = float((layout.owner > 0).float().mean())
        self.inside, self.wholes = layout.inside.flatten(1), layout.wholes
        self.membership = torch.cat([self.inside, ~self.inside.any(dim=0)[None]])  # [region, N]
        self.field, _ = guidance_field(layout, None, PARAMETERS)

    def texts(self, name: str) -> int:
        """How many text tokens the method has before the video's."""
        return self.size.text * (1 + len(self.membership) * name.startswith("regional"))

    def heads(self) -> int:
        """As many as are measured: on a GPU CogVideoX-2B's 30, or Wan's 12."""
        on_gpu = 30 if self.size.text else 12
        return on_gpu if self.device == "cuda" else self.size.heads

    def qkv(self, name: str, heads: int, dtype: torch.dtype) -> Qkv:
        """As projections leave them: token before head."""
        shape = (1, self.texts(name) + self.size.grid.tokens, heads, self.size.channels)
        generator = torch.Generator(self.device).manual_seed(0)
        query, key, value = (
            torch.randn(shape, generator=generator, device=self.device, dtype=dtype).transpose(1, 2) for _ in range(3)
        )
        return query, key, value

    def names(self, *, flex: bool) -> list[str]:
        names = ["plain", *(f"{kind}, {form}" for kind in ("guided", "regional") for form in FORMS)]
        if self.size.tokens <= LARGE:
            names.append("naive, multiplicative")
        return [*names, "FlexAttention, multiplicative"] if flex else names

    def method(self, name: str) -> Method:
        if name == "plain":
            return functional.scaled_dot_product_attention
        kind, form = name.split(", ")
        if kind == "naive":
            return self._naive(form)
        if kind == "FlexAttention":
            return self._flex(form)
        if kind == "guided":
            groups = group_rows(self.field, BETA, text=self.size.text, form=form, device=self.device)
            return partial(guided_attention, groups=groups)
        regions = Regions.of(self.inside, self.wholes, self.size.text, self.device)
        groups = regions.group_rows(self.field, BETA, form)
        if self.size.text == 0:  # things do not see each other
            return partial(guided_attention, groups=groups)
        return partial(regional_attention, regions=regions, groups=groups, base_ratio=PARAMETERS.base_ratio)

    def _naive(self, form: str) -> Method:
        """With G at hand."""
        every = torch.arange(self.size.tokens, device=self.device)
        change = BETA * self.dense(every, self.size.text)

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            logits = query @ key.transpose(2, 3) / math.sqrt(self.size.channels)
            return apply_change(logits, change, form).softmax(dim=-1).to(value.dtype) @ value

        return attend

    def _flex(self, form: str) -> Method:
        identity, weight, frame, anchor, anchor_weight = self._joint(self.size.text)

        def score(logit: Tensor, batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            G = torch.where((identity[q] == identity[k]) & (identity[q] != 0), weight[q, frame[k]], 0.0)
            return apply_change(logit, BETA * (G + torch.where(anchor[q] == k, anchor_weight[q], 0.0)), form)

        # uncompiled, as on the CPU, it holds all logits
        function = torch.compile(flex_attention, dynamic=False) if self.device == "cuda" else flex_attention
        return partial(function, score_mod=score)

    def _joint(self, texts: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The field's tensors and each token's frame, of the joint sequence."""
        frame = torch.arange(self.size.grid.tokens) // (self.size.grid.rows * self.size.grid.columns)
        anchor = torch.where(self.field.anchor == NO_ANCHOR, NO_ANCHOR, self.field.anchor + texts)
        return (
            functional.pad(self.field.instance, (texts, 0)).to(self.device),
            functional.pad(self.field.weight, (0, 0, texts, 0)).to(self.device),
            functional.pad(frame, (texts, 0)).to(self.device),
            functional.pad(anchor, (texts, 0), value=NO_ANCHOR).to(self.device),
            functional.pad(self.field.anchor_weight, (texts, 0)).to(self.device),
        )

    def dense(self, rows: Tensor, texts: int) -> Tensor:
        """G in these rows, [row, texts + N]."""
        identity, weight, frame, anchor, anchor_weight = self._joint(texts)
        same = (identity[rows, None] == identity) & (identity != 0)
        at_anchor = anchor[rows, None] == torch.arange(len(frame), device=self.device)
        return torch.where(same, weight[rows][:, frame], 0.0) + torch.where(at_anchor, anchor_weight[rows, None], 0.0)

    def error(self, name: str, heads: int, dtype: torch.dtype) -> float:
        query, key, value = self.qkv(name, heads, dtype)
        result = self.method(name)(query, key, value)
        query, key, value = query.double(), key.double(), value.double()
        rows = torch.arange(0, query.shape[2], 8 if self.size.tokens > LARGE else 1, device=self.device)
        largest = difference = 0.0
        for some in rows.split(256):
            change = BETA * (name != "plain") * self.dense(some, self.texts(name)).double()
            logits = apply_change(
                query[:, :, some] @ key.transpose(2, 3) / math.sqrt(self.size.channels), change, name.split(", ")[-1]
            )
            exact = sum(
                share * logits.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value
                for share, seen in self._seen(name, some)
            )
            largest = max(largest, float(exact.abs().max()))
            difference = max(difference, float((result[:, :, some] - exact).abs().max()))
        return difference / largest

    def _seen(self, name: str, rows: Tensor) -> list[tuple[float, Tensor]]:
        """Which keys these rows see, [row, texts + N], and the share of each such attention in the result."""
        texts, video = self.texts(name), self.size.grid.tokens
        if not name.startswith("regional"):
            return [(1.0, torch.ones(len(rows), texts + video, dtype=torch.bool, device=self.device))]
        if texts == 0:
            return [(1.0, ~self._apart(rows, 0))]
        text_of = functional.pad(torch.arange(texts) // self.size.text, (0, video), value=-1).to(self.device)
        lies_in = functional.pad(self.membership, (texts, 0, 1, 0)).to(self.device)  # [text, texts + N]
        lies_in[0, texts:] = True
        to_text = text_of[rows, None] == text_of  # text sees itself, video sees video
        of_text = to_text | lies_in[text_of[rows].clamp(min=0)]
        is_text = (text_of[rows] >= 0)[:, None]
        to_text &= ~self._apart(rows, texts)
        base = torch.where(is_text, of_text, to_text | (text_of == 0))
        described = to_text | (lies_in[:, rows][text_of.clamp(min=0)].T & (text_of > 0))
        regional = torch.where(is_text, of_text, described)
        return [(PARAMETERS.base_ratio, base), (1 - PARAMETERS.base_ratio, regional)]

    def _apart(self, rows: Tensor, texts: int) -> Tensor:
        """[row, texts + N]: keys in the boxes of other things."""
        boxes = functional.pad(self.inside, (texts, 0)).to(self.device)  # [instance, texts + N]
        return boxes.any(dim=0) & boxes[:, rows].any(dim=0)[:, None] & ~(boxes[:, rows].float().T @ boxes.float() > 0)
