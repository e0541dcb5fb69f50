"""Regional prompting against two dense attentions with masks, and who sees whom."""

import math

import pytest
import torch
from torch import Tensor

from generator_service.guidance import attention, partial_attention
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.grid import Grid
from generator_service.guidance.regional import Regions, regional_attention

GRID = Grid(3, 4, 5)
N = GRID.tokens
TEXT = 3
TEXTS = TEXT * 5
VIDEO = slice(TEXTS, None)
INSIDE = torch.zeros(3, N, dtype=torch.bool)
"""Two boxes that overlap in three tokens, and one that covers nothing."""
INSIDE[0, 5:20] = True
INSIDE[1, 14:47:2] = True
MEMBERSHIP = torch.cat([INSIDE, ~INSIDE.any(dim=0)[None]])
"""The boxes, and what is around them."""
REGIONS = Regions.of(INSIDE, TEXT)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def qkv(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, TEXTS + N, 3, 16, generator=generator).transpose(1, 2) for _ in range(3))
    return 2 * q, k, v


def field() -> GuidanceField:
    instance = INSIDE[1].long()
    weight = instance[:, None] * torch.tensor([1.0, 1.5, 2.0])
    anchor = torch.where(INSIDE[0], 5 + torch.arange(N) * 7 % 15, NO_ANCHOR)
    return GuidanceField(GRID, instance, weight, anchor, INSIDE[0].float())


def masks() -> tuple[Tensor, Tensor]:
    """Who sees whom, row by row, in `base` and in `regional`: [texts + N, texts + N] each."""
    base = torch.zeros(TEXTS + N, TEXTS + N, dtype=torch.bool)
    base[:, VIDEO] = True
    base[:TEXT, :TEXT] = base[VIDEO, :TEXT] = True
    regional = base.clone()
    for index, region in enumerate(MEMBERSHIP):
        text = slice(TEXT * (index + 1), TEXT * (index + 2))
        regional[text] = base[text] = False
        regional[text, text] = base[text, text] = True
        regional[text, VIDEO] = base[text, VIDEO] = region
        regional[VIDEO, text] = region[:, None]
    regional[VIDEO, :TEXT] = False
    one, other = INSIDE[0] & ~INSIDE[1], INSIDE[1] & ~INSIDE[0]
    regional[VIDEO, VIDEO] = ~(one[:, None] & other | other[:, None] & one)
    return base, regional


def slow(q: Tensor, k: Tensor, v: Tensor, base_ratio: float, strength: float) -> Tensor:
    """In float64; the guidance is multiplicative."""
    guidance = field()
    frame = torch.arange(N) // 20
    same = (guidance.instance[:, None] == guidance.instance) & (guidance.instance != 0)
    G = torch.zeros(TEXTS + N, TEXTS + N, dtype=torch.double)
    G[VIDEO, VIDEO] = same * guidance.weight[:, frame]
    rows = (guidance.anchor != NO_ANCHOR).nonzero()[:, 0]
    G[TEXTS + rows, TEXTS + guidance.anchor[rows]] += guidance.anchor_weight[rows]
    logits = q.double() @ k.double().transpose(2, 3) / math.sqrt(q.shape[3]) * (1 + strength * G)
    base, regional = (logits.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v.double() for mask in masks())
    return base_ratio * base + (1 - base_ratio) * regional


@pytest.mark.parametrize("block_share", [0.0, 1.0])
@pytest.mark.parametrize("elements", [1, 2**18])
@pytest.mark.parametrize("strength", [0.0, 0.3])
@pytest.mark.parametrize("base_ratio", [0.0, 0.3, 1.0])
def test_equals_two_masked_attentions(
    base_ratio: float, strength: float, elements: int, block_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK_SHARE", block_share)
    monkeypatch.setattr(attention, "KEYS_AT_A_TIME", 7)
    monkeypatch.setattr(partial_attention, "HEADS_ELEMENTS", {"cpu": elements})  # one head or all at a time
    plan = REGIONS.plan(field(), strength, "multiplicative")
    for seed in range(5):
        q, k, v = qkv(seed)
        exact = slow(q, k, v, base_ratio, strength)
        fast = regional_attention(q, k, v, REGIONS, plan, base_ratio)
        assert (fast - exact).abs().max() / exact.abs().max() < 2e-6


def seen(keys: slice | Tensor, base_ratio: float) -> Tensor:
    """Which rows notice that these keys' values are others: [texts + N]."""
    q, k, v = qkv()
    plan = REGIONS.plan(GuidanceField.unguided(GRID), 0.0, "multiplicative")
    other = v.clone()
    other[:, :, keys] += 1
    plain, changed = (regional_attention(q, k, values, REGIONS, plan, base_ratio) for values in (v, other))
    return (changed - plain).abs().amax(dim=(0, 1, 3)) > 1e-6


def test_a_description_is_seen_by_itself_and_in_its_region_only() -> None:
    for index, region in enumerate(MEMBERSHIP):
        text = slice(TEXT * (index + 1), TEXT * (index + 2))
        expected = torch.zeros(TEXTS + N, dtype=torch.bool)
        expected[text] = True
        expected[VIDEO] = region
        assert torch.equal(seen(text, 0.3), expected)


def test_without_base_ratio_the_base_text_is_unseen_in_the_regions() -> None:
    expected = torch.zeros(TEXTS + N, dtype=torch.bool)
    expected[:TEXT] = True
    assert torch.equal(seen(slice(0, TEXT), 0.0), expected)


def test_a_thing_sees_its_surroundings_but_no_other_thing() -> None:
    one, other = INSIDE[0] & ~INSIDE[1], INSIDE[1] & ~INSIDE[0]
    assert torch.equal(seen(TEXTS + one.nonzero()[:, 0], 0.0)[VIDEO], ~other)
    assert torch.equal(seen(TEXTS + other.nonzero()[:, 0], 0.0)[VIDEO], ~one)
    assert seen(TEXTS + other.nonzero()[:, 0], 0.3)[VIDEO].all()
    for tokens in (INSIDE[0] & INSIDE[1], ~INSIDE.any(dim=0)):
        assert seen(TEXTS + tokens.nonzero()[:, 0], 0.0)[VIDEO].all()


def test_a_base_ratio_of_one_is_attention_without_descriptions() -> None:
    q, k, v = qkv()
    without = torch.cat([torch.arange(TEXT), torch.arange(TEXTS, TEXTS + N)])
    plain = torch.nn.functional.scaled_dot_product_attention(*(tensor[:, :, without] for tensor in (q, k, v)))
    plan = REGIONS.plan(GuidanceField.unguided(GRID), 0.0, "multiplicative")
    torch.testing.assert_close(regional_attention(q, k, v, REGIONS, plan, 1.0)[:, :, without], plain)


def test_in_bfloat16() -> None:
    q, k, v = (tensor.bfloat16() for tensor in qkv())
    fast = regional_attention(q, k, v, REGIONS, REGIONS.plan(field(), 0.3, "multiplicative"), 0.3)
    assert fast.dtype == torch.bfloat16
    assert (fast - slow(q, k, v, 0.3, 0.3)).abs().max() < 0.03
