"""How much attention does guidance move?  Eq. 4 multiplies logits: that raises positive ones and lowers negative ones.

For the rows that a branch guides and the keys it names (G > 0), at the guided steps of plainly sampled videos:

    positive    share of these logits q·k/√d above 0
    mass        share of the rows' attention on these keys: stock, with logits (1 + β G), with logits + β G
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from evaluation.ablation import backbone_of, plan_with_parser
from evaluation.prompts import Half, held_out_captions
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.contract.guidance import Branch, GuidanceParameters
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import JobRequest
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import LayerAttention, Network, Predict
from generator_service.guidance.video import steps_above
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore


@dataclass(frozen=True)
class Moved:
    """Of one prediction in one layer, means over rows and heads."""

    positive: float
    stock: float
    multiplied: float
    added: float


Table = dict[tuple[Branch, int], list[Moved]]
"""By branch and layer."""


@dataclass
class AttentionProbe:
    """A `Guidance` that only looks."""

    network: Network
    layout: TokenLayout
    parameters: GuidanceParameters
    steps: range
    table: Table = field(default_factory=lambda: defaultdict(list))
    features: Tensor | None = None
    """Of the step before."""
    needs_last_step = True

    @property
    def guided_until(self) -> int:
        return self.steps.stop

    def resume(self, report: GuidanceReport | None) -> None:
        raise NotImplementedError

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        return latents

    def report(self) -> None:
        return None

    @contextmanager
    def around_prediction(self, step: int) -> Iterator[None]:
        with ExitStack() as stack:
            layers = self.network.layers
            if step in self.steps:
                fields = self._fields()
                looks = {layer: LayerAttention(partial(self._look, layer, fields)) for layer in range(layers)}
                stack.enter_context(self.network.borrow_attention(looks))
            features = stack.enter_context(self.network.capture_features(layers // 2))
            yield
        self.features = features[-1]

    def _fields(self) -> dict[Branch, Tensor]:
        """Each branch's G alone, [N, N]."""
        alone = {
            branch: self.parameters.model_copy(update={"branches": (branch,)}) for branch in self.parameters.branches
        }
        return {branch: guidance_field(self.layout, self.features, its)[0].dense() for branch, its in alone.items()}

    def _look(self, layer: int, fields: dict[Branch, Tensor], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        text = query.shape[2] - self.layout.grid.tokens
        logits = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5)[0, :, text:]  # [head, N, text + N]
        for branch, guidance in fields.items():
            rows = (guidance > 0).any(1)
            if not rows.any():
                continue
            change = torch.nn.functional.pad(self.parameters.strength * guidance[rows], (text, 0))
            named, s = change > 0, logits[:, rows]

            def mass(changed: Tensor, named: Tensor = named) -> float:
                return float((changed.softmax(2) * named).sum(2).mean())

            positive = float((s > 0)[:, named].float().mean())
            self.table[branch, layer].append(Moved(positive, mass(s), mass(s * (1 + change)), mass(s + change)))
        return scaled_dot_product_attention(query, key, value)


def look(backbone_name: str, half: Half, prompts: int) -> Table:
    """Over the first `prompts` captions of a half, with the backbone's own steps and strength; seed 0."""
    backbone = backbone_of(backbone_name)
    table: Table = defaultdict(list)
    for caption in held_out_captions(half, prompts):
        for key, moved in _look_at(backbone, caption).items():
            table[key] += moved
    return table


def _look_at(backbone: CogVideoX, caption: str) -> Table:
    plan = plan_with_parser(caption)
    settings = JobRequest(plan=plan, seed=0, backbone=backbone.spec.name).settings()
    scene = backbone.scene(caption, plan)
    conditioning = backbone.prepare(scene, settings)
    guidance = settings.guidance
    layout = layout_on(backbone.grid(settings), scene.plan or plan)
    probe = AttentionProbe(
        backbone, layout, guidance, steps_above(guidance.until, backbone.solver(settings.steps).noise_levels)
    )
    denoise(backbone, conditioning, first_state(backbone, settings), probe, ignore)
    return probe.table


def markdown(table: Table) -> str:
    lines = ["| branch | layer | logits > 0 | mass: stock | × (1 + β G) | + β G |", "| --- |" + " --- |" * 5]
    for (branch, layer), moved in sorted(table.items()):
        shares = (fmean(getattr(each, name) for each in moved) for name in ("positive", "stock", "multiplied", "added"))
        lines.append(f"| {branch} | {layer} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)
