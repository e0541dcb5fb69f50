"""Regional prompting against two dense attentions with masks, and who sees whom."""

import math

import pytest
import torch
from torch import Tensor

from generator_service.contract.guidance import Form
from generator_service.guidance import attention, partial_attention
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.grid import Grid
from generator_service.guidance.regional import Regions, regional_attention

GRID = Grid(3, 4, 5)
N = GRID.tokens
TEXT = 3
TEXTS = TEXT * 6
VIDEO = slice(TEXTS, None)
INSIDE = torch.zeros(4, N, dtype=torch.bool)
"""Two boxes that overlap in three tokens, one that covers nothing, and one apart from them."""
INSIDE[0, 5:20] = True
INSIDE[1, 14:47:2] = True
INSIDE[3, 50:57] = True
MEMBERSHIP = torch.cat([INSIDE, ~INSIDE.any(dim=0)[None]])
"""The boxes, and what is around them."""
WHOLES = ("car", "tree", "bird", "dog")
REGIONS = Regions.of(INSIDE, WHOLES, TEXT)
UNGUIDED = REGIONS.group_rows(GuidanceField.unguided(GRID), 0.0, "multiplicative")


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


def masks(wholes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
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
    for q in range(N):
        for k in range(N):
            things = [{its for its, box in zip(wholes, INSIDE, strict=True) if box[token]} for token in (q, k)]
            base[TEXTS + q, TEXTS + k] = regional[TEXTS + q, TEXTS + k] = not all(things) or bool(things[0] & things[1])
    return base, regional


def slow(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    base_ratio: float,
    strength: float,
    form: str = "multiplicative",
    wholes: tuple[str, ...] = WHOLES,
) -> Tensor:
    """In float64."""
    guidance = field()
    frame = torch.arange(N) // 20
    same = (guidance.instance[:, None] == guidance.instance) & (guidance.instance != 0)
    G = torch.zeros(TEXTS + N, TEXTS + N, dtype=torch.double)
    G[VIDEO, VIDEO] = same * guidance.weight[:, frame]
    rows = (guidance.anchor != NO_ANCHOR).nonzero()[:, 0]
    G[TEXTS + rows, TEXTS + guidance.anchor[rows]] += guidance.anchor_weight[rows]
    logits = q.double() @ k.double().transpose(2, 3) / math.sqrt(q.shape[3])
    logits = logits * (1 + strength * G) if form == "multiplicative" else logits + strength * G
    masked = (logits.masked_fill(~mask, -torch.inf) for mask in masks(wholes))
    base, regional = (its.softmax(dim=-1) @ v.double() for its in masked)
    return base_ratio * base + (1 - base_ratio) * regional


@pytest.mark.parametrize("block_share", [0.0, 1.0])
@pytest.mark.parametrize("elements", [1, 2**18])
@pytest.mark.parametrize(("strength", "form"), [(0.0, "additive"), (0.3, "additive"), (0.3, "multiplicative")])
@pytest.mark.parametrize("base_ratio", [0.0, 0.3, 1.0])
def test_equals_two_masked_attentions(
    base_ratio: float,
    strength: float,
    form: Form,
    elements: int,
    block_share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "BLOCK_SHARE", block_share)
    monkeypatch.setattr(attention, "KEYS_AT_A_TIME", 7)
    monkeypatch.setattr(partial_attention, "HEADS_ELEMENTS", {"cpu": elements})  # one head or all at a time
    groups = REGIONS.group_rows(field(), strength, form)
    for seed in range(3):
        q, k, v = qkv(seed)
        exact = slow(q, k, v, base_ratio, strength, form)
        fast = regional_attention(q, k, v, REGIONS, groups, base_ratio)
        assert (fast - exact).abs().max() / exact.abs().max() < 2e-6


def test_parts_of_a_thing_see_each_other() -> None:
    wholes = ("car", "tree", "bird", "car")
    regions = Regions.of(INSIDE, wholes, TEXT)
    q, k, v = qkv()
    fast = regional_attention(q, k, v, regions, regions.group_rows(field(), 0.3, "additive"), 0.1)
    torch.testing.assert_close(fast, slow(q, k, v, 0.1, 0.3, "additive", wholes).float(), rtol=0, atol=1e-5)
    assert not torch.allclose(fast, slow(q, k, v, 0.1, 0.3, "additive").float(), rtol=0, atol=1e-2)


def seen(keys: slice | Tensor, base_ratio: float) -> Tensor:
    """Which rows notice that these keys' values are others: [texts + N]."""
    q, k, v = qkv()
    other = v.clone()
    other[:, :, keys] += 1
    plain, changed = (regional_attention(q, k, values, REGIONS, UNGUIDED, base_ratio) for values in (v, other))
    return (changed - plain).abs().amax(dim=(0, 1, 3)) > 1e-6


def test_a_description_is_seen_by_itself_and_in_its_region_only() -> None:
    for index, region in enumerate(MEMBERSHIP):
        text = slice(TEXT * (index + 1), TEXT * (index + 2))
        expected = torch.zeros(TEXTS + N, dtype=torch.bool)
        expected[text] = True
        expected[VIDEO] = region
        assert torch.equal(seen(text, 0.3), expected)


def test_without_base_ratio_the_base_text_is_unseen_by_the_video() -> None:
    expected = torch.zeros(TEXTS + N, dtype=torch.bool)
    expected[:TEXT] = True
    assert torch.equal(seen(slice(0, TEXT), 0.0), expected)


@pytest.mark.parametrize("base_ratio", [0.0, 0.3])
def test_a_thing_sees_its_surroundings_but_no_other_thing(base_ratio: float) -> None:
    one, apart = INSIDE[0] & ~INSIDE[1], INSIDE[3]
    both = INSIDE[0] & INSIDE[1]
    assert torch.equal(seen(TEXTS + one.nonzero()[:, 0], base_ratio)[VIDEO], ~(INSIDE[1] & ~INSIDE[0]) & ~apart)
    assert torch.equal(seen(TEXTS + both.nonzero()[:, 0], base_ratio)[VIDEO], ~apart)
    assert torch.equal(seen(TEXTS + apart.nonzero()[:, 0], base_ratio)[VIDEO], ~(INSIDE[0] | INSIDE[1]))
    assert seen(TEXTS + (~INSIDE.any(dim=0)).nonzero()[:, 0], base_ratio)[VIDEO].all()


def test_outside_the_boxes_a_base_ratio_of_one_is_attention_without_descriptions() -> None:
    q, k, v = qkv()
    without = torch.cat([torch.arange(TEXT), torch.arange(TEXTS, TEXTS + N)])
    plain = torch.nn.functional.scaled_dot_product_attention(*(tensor[:, :, without] for tensor in (q, k, v)))
    regional = regional_attention(q, k, v, REGIONS, UNGUIDED, 1.0)[:, :, without]
    outside = torch.cat([torch.ones(TEXT, dtype=torch.bool), ~INSIDE.any(dim=0)])
    torch.testing.assert_close(regional[:, :, outside], plain[:, :, outside])


def test_in_bfloat16() -> None:
    q, k, v = (tensor.bfloat16() for tensor in qkv())
    fast = regional_attention(q, k, v, REGIONS, REGIONS.group_rows(field(), 0.3, "multiplicative"), 0.3)
    assert fast.dtype == torch.bfloat16
    assert (fast - slow(q, k, v, 0.3, 0.3)).abs().max() < 0.03
