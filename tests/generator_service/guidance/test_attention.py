"""Guided attention against the same with the whole N × N matrix G."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from generator_service.contract.guidance import Form
from generator_service.guidance import attention, partial_attention
from generator_service.guidance.attention import MaskedKeys, group_rows, guided_attention, guided_partial
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.grid import Grid
from generator_service.guidance.partial_attention import attend, attend_explicitly, merge, split_heads

GRIDS = [Grid(3, 4, 7), Grid(5, 6, 5), Grid(1, 3, 4), Grid(4, 1, 9)]
FORMS = get_args(Form)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=["block", "by frame"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the sizes would choose, and few rows, keys and heads at a time."""
    monkeypatch.setattr(attention, "BLOCK_SHARE", 1.0 if request.param == "block" else 0.0)
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", {"cpu": 1000})
    monkeypatch.setattr(attention, "KEYS_AT_A_TIME", 30)
    monkeypatch.setattr(partial_attention, "HEADS_ELEMENTS", {"cpu": 1000})


def dense(field: GuidanceField) -> Tensor:
    """G: [N, N], literally as in the field's definition."""
    N = field.grid.tokens
    frame = torch.arange(N) // (field.grid.rows * field.grid.columns)
    G = torch.zeros(N, N)
    for q in range(N):
        same = (field.instance == field.instance[q]) & (field.instance != 0)
        G[q, same] = field.weight[q, frame[same]]
        if field.anchor[q] != NO_ANCHOR:
            G[q, field.anchor[q]] += field.anchor_weight[q]
    return G


def slow(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    G: Tensor,
    strength: float,
    form: str,
    text: int,
    mask: Tensor | None = None,
) -> Tensor:
    """In float64.  mask: what is not seen."""
    query, key, value = query.double(), key.double(), value.double()
    G = functional.pad(G, (text, 0, text, 0)).double()
    logits = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    logits = logits if mask is None else logits.masked_fill(mask, -torch.inf)
    if form != "share":
        logits = logits * (1 + strength * G) if form == "multiplicative" else logits + strength * G
        return logits.softmax(dim=-1) @ value
    A = torch.where(G > 0, logits + G.log(), logits).softmax(dim=-1)
    for row in (G > 0).any(dim=1).nonzero()[:, 0]:
        named, others = G[row] > 0, G[row] <= 0
        others[:text] = False
        its, rest = (A[:, :, row, keys].sum(dim=-1, keepdim=True) for keys in (named, others))
        held = (its / (its + rest)).clamp(min=strength)
        A[:, :, row, named] *= held * (its + rest) / its
        A[:, :, row, others] *= (1 - held) * (its + rest) / rest
    return A @ value


def random_field(grid: Grid, seed: int, form: Form = "additive") -> GuidanceField:
    """Four instances, scattered; guided by W, by anchors, by both and by neither; as a share, by W alone.

    An anchor may be any token: the row itself, one of its own instance, of another, or of none.
    """
    generator = torch.Generator().manual_seed(seed)
    N = grid.tokens
    instance = torch.randint(0, 5, (N,), generator=generator)
    weight = 1 + torch.rand(N, grid.frames, generator=generator)
    weight[(instance != 1) & (instance != 3)] = 0
    weight[::11] = 0  # a token of an instance that is a key only
    weight[::2, -1] = 0
    anchor = torch.randint(0, N, (N,), generator=generator)
    anchor[::5] = torch.arange(N)[::5]
    anchor[(instance != 2) & (instance != 3) | (form == "share")] = NO_ANCHOR
    anchor_weight = torch.where(anchor == NO_ANCHOR, 0.0, torch.rand(N, generator=generator) + 0.5)
    return GuidanceField(grid, instance, weight, anchor, anchor_weight)


def random_qkv(tokens: int, seed: int = 0, batch: int = 2, heads: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Queries so large that attention is far from uniform; laid out as in the networks: token before head."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, tokens, heads, 16, generator=generator).transpose(1, 2) for _ in range(3))
    return 2 * q, k, v


def relative_error(fast: Tensor, exact: Tensor) -> float:
    return float((fast - exact).abs().max() / exact.abs().max())


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("text", [0, 5])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("grid", GRIDS)
def test_equals_the_dense_form(grid: Grid, form: Form, text: int) -> None:
    for seed in range(8):
        field = random_field(grid, seed, form)
        q, k, v = random_qkv(text + grid.tokens, seed)
        exact = slow(q, k, v, dense(field), 0.4, form, text)
        fast = guided_attention(q, k, v, group_rows(field, 0.4, text=text, form=form))
        assert fast.dtype == torch.float32
        assert relative_error(fast, exact) < 5e-6
        assert relative_error(guided_attention(q, k, v, None), exact) > 1e-2  # the field does change something


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", [0, 3])
def test_an_instance_that_fills_the_grid(form: Form, text: int) -> None:
    """No key is outside, and with no text no row either."""
    grid = Grid(3, 4, 5)
    field = random_field(grid, 0, form)
    whole = GuidanceField(grid, torch.ones_like(field.instance), field.weight + 1, field.anchor, field.anchor_weight)
    q, k, v = random_qkv(text + grid.tokens)
    fast = guided_attention(q, k, v, group_rows(whole, 0.15, text=text, form=form))
    assert relative_error(fast, slow(q, k, v, dense(whole), 0.15, form, text)) < 2e-6


@pytest.mark.parametrize("form", ["multiplicative", "additive"])
def test_one_anchored_row_by_hand(form: Form) -> None:
    """Three tokens in three frames, values 1, 2, 4; token 2 has token 1 as its anchor, with w = 2 and β = 0.5.

    Its logits are 1, 2, 3 (d = 1): the anchor's becomes 2 (1 + 0.5 · 2) = 4, or 2 + 0.5 · 2 = 3.
    """
    grid = Grid(3, 1, 1)
    field = GuidanceField.unguided(grid)
    field.anchor[2], field.anchor_weight[2] = 1, 2.0
    q, k, v = torch.ones(1, 1, 3, 1), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0])
    fast = guided_attention(
        q, k[None, None, :, None], v[None, None, :, None], group_rows(field, 0.5, text=0, form=form)
    )
    anchor = 4 if form == "multiplicative" else 3
    e = math.exp
    plain = (e(1) + 2 * e(2) + 4 * e(3)) / (e(1) + e(2) + e(3))
    guided = (e(1) + 2 * e(anchor) + 4 * e(3)) / (e(1) + e(anchor) + e(3))
    assert fast.flatten().tolist() == pytest.approx([plain, plain, guided])


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("form", FORMS)
def test_one_guided_row_by_hand(form: Form) -> None:
    """Two frames of one row and two columns, and a token of text; tokens 0, 2 and 3 are an instance's.

    The row of token 0 has W = (1, 2), and β is 0.5.  All logits are 1 (d = 1): those of the instance become
    1 (1 + 0.5 W) = 1 + 0.5 W, so 1.5 in the first frame and 2 in the second, in either form.

    As a share, log W makes it 5 to 1 of the other token, 5/6 of the video, and 1 more for the text: 9 of 10 is lifted.
    """
    grid = Grid(2, 1, 2)
    field = GuidanceField.unguided(grid)
    field.instance[[0, 2, 3]] = 7
    field.weight[0] = torch.tensor([1.0, 2.0])
    ones, v = torch.ones(1, 1, 5, 1), torch.tensor([16.0, 1.0, 2.0, 4.0, 8.0])
    strength = 0.9 if form == "share" else 0.5
    fast = guided_attention(ones, ones, v[None, None, :, None], group_rows(field, strength, text=1, form=form))
    e = math.exp
    guided = (e(1) * (16 + 2) + e(1.5) * 1 + e(2) * (4 + 8)) / (2 * e(1) + e(1.5) + 2 * e(2))
    if form == "share":
        guided = (16 + 6 * (0.9 * (1 + 2 * 4 + 2 * 8) / 5 + 0.1 * 2)) / 7
    plain = (16 + 1 + 2 + 4 + 8) / 5
    assert fast.flatten().tolist() == pytest.approx([plain, guided, plain, plain, plain])


@pytest.mark.parametrize("form", FORMS)
def test_the_largest_strength_and_large_logits_do_not_overflow(form: Form) -> None:
    grid = GRIDS[0]
    field, strength = random_field(grid, 0, form), 0.99 if form == "share" else 5.0
    q, k, v = random_qkv(grid.tokens)
    q = 5 * q
    fast = guided_attention(q, k, v, group_rows(field, strength, text=0, form=form))
    assert relative_error(fast, slow(q, k, v, dense(field), strength, form, 0)) < 1e-4  # logits of hundreds, in float32


def test_every_head_is_in_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_attention, "HEADS_ELEMENTS", {"cpu": 200})
    shares = {heads: split_heads(torch.zeros(1, heads, 10, 10)) for heads in (1, 2, 3, 7)}
    assert shares == {
        1: [slice(0, 1)],
        2: [slice(0, 2)],
        3: [slice(0, 2), slice(2, 3)],
        7: [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)],
    }


def test_the_paths_are_chosen_by_size() -> None:
    grid = Grid(2, 5, 10)
    instance = torch.zeros(grid.tokens, dtype=torch.long)
    instance[:20], instance[20:41] = 1, 2
    field = GuidanceField(grid, instance, torch.ones(100, 2), torch.full((100,), NO_ANCHOR), torch.zeros(100))
    groups = group_rows(field, 0.1, text=0)
    assert groups is not None
    assert [type(group.inside).__name__ for group in groups] == ["_Block", "_ByFrame", "NoneType"]
    assert torch.cat([group.rows for group in groups]).sort().values.tolist() == list(range(100))


def test_no_strength_is_torchs_own_attention_to_the_bit() -> None:
    grid = GRIDS[0]
    assert group_rows(random_field(grid, 0), 0.0, text=4) is None
    assert group_rows(GuidanceField.unguided(grid), 0.15, text=4) is None
    q, k, v = random_qkv(4 + grid.tokens)
    assert torch.equal(guided_attention(q, k, v, None), functional.scaled_dot_product_attention(q, k, v))


def test_rows_that_nothing_guides_are_untouched() -> None:
    grid = GRIDS[1]
    field = random_field(grid, 3)
    q, k, v = random_qkv(4 + grid.tokens)
    change = guided_attention(q, k, v, group_rows(field, 0.5, text=4)) - guided_attention(q, k, v, None)
    rows = functional.pad((dense(field) != 0).any(dim=1), (4, 0))
    assert change[:, :, ~rows].abs().max() < 1e-6
    assert (change[:, :, rows].abs().amax(dim=(0, 1, 3)) > 1e-4).all()


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("form", FORMS)
def test_what_some_rows_do_not_see(form: Form) -> None:
    """Guided rows and others, behind three tokens of text; no key of their own instance, no anchor."""
    grid, text = GRIDS[1], 3
    field = random_field(grid, 2, form)
    rows = torch.arange(0, grid.tokens, 3)
    anchors = set(field.anchor[rows].tolist())
    keys = torch.tensor([key for key in range(grid.tokens) if field.instance[key] in (0, 4) and key not in anchors])
    masked = [MaskedKeys(rows[:5], keys[::2]), MaskedKeys(rows[5:], keys)]
    mask = torch.zeros(text + grid.tokens, text + grid.tokens, dtype=torch.bool)
    for some, its in masked:
        mask[text + some[:, None], text + its] = True
    q, k, v = random_qkv(text + grid.tokens)
    exact = slow(q, k, v, dense(field), 0.4, form, text, mask)
    fast = guided_attention(q, k, v, group_rows(field, 0.4, text=text, form=form, masked=masked))
    assert relative_error(fast, exact) < 5e-6


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_is_as_exact_as_plain_attention_in_bfloat16(form: Form) -> None:
    grid = GRIDS[1]
    field = random_field(grid, 1, form)
    q, k, v = (tensor.bfloat16() for tensor in random_qkv(6 + grid.tokens))
    plain = relative_error(attend(q, k, v).output, slow(q, k, v, dense(GuidanceField.unguided(grid)), 0.0, form, 6))
    fast = guided_attention(q, k, v, group_rows(field, 0.15, text=6, form=form))
    assert fast.dtype == torch.bfloat16
    assert relative_error(fast, slow(q, k, v, dense(field), 0.15, form, 6)) < 1.5 * plain + 2**-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_explicit_path_equals_the_fused_kernel(dtype: torch.dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in random_qkv(37))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for elements in (1, 500, 10**6):
        torch.testing.assert_close(
            attend_explicitly(q[:, :, :11], k, v, elements), attend(q[:, :, :11], k, v), rtol=tolerance, atol=tolerance
        )


def test_parts_merge_into_the_whole_and_one_may_be_empty() -> None:
    q, k, v = random_qkv(20)
    for keys in (0, 1, 13, 20):
        merged = merge(attend(q, k[:, :, :keys], v[:, :, :keys]), attend(q, k[:, :, keys:], v[:, :, keys:]))
        torch.testing.assert_close(merged, attend(q, k, v))
    assert attend(q[:, :, :0], k, v).output.shape == (2, 3, 0, 16)


def test_the_lse_is_that_of_the_guided_logits() -> None:
    """One key more merges into what attention over all keys would be."""
    grid = GRIDS[0]
    field = random_field(grid, 2)
    q, k, v = random_qkv(grid.tokens + 1)
    video = guided_partial(q[:, :, 1:], k[:, :, 1:], v[:, :, 1:], group_rows(field, 0.3, text=0))
    merged = merge(video, attend(q[:, :, 1:], k[:, :, :1], v[:, :, :1])).output
    assert relative_error(merged, slow(q, k, v, dense(field), 0.3, "multiplicative", 1)[:, :, 1:]) < 2e-6
