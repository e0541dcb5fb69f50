"""Intervals, against published and hand-made numbers."""

import pytest

from emoji_world.estimates import Rate, mean, mean_of_shares, share


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (1, 29, 0.0061, 0.1718),
    ],
)  # the last two: Newcombe 1998, table I
def test_wilson_intervals(hits: int, of: int, low: float, high: float) -> None:
    estimate = share(Rate(hits, of))
    assert (estimate.value, estimate.of) == (hits / of, of)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


def test_nothing_observed_has_no_value() -> None:
    for estimate in (share(Rate()), mean([])):
        assert estimate.of == 0
        assert estimate.value != estimate.value


def test_rates_count_and_add_up() -> None:
    rate = Rate(2, 3)
    rate.count(True)
    rate.count(False)
    assert rate == Rate(3, 5)
    assert rate + Rate(1, 5) == Rate(4, 10)


def test_the_mean_of_shares_counts_each_the_same() -> None:
    estimate = mean_of_shares([Rate(10, 10), Rate(0, 10)])
    assert (estimate.value, estimate.of) == (0.5, 20)
    assert estimate.low == pytest.approx(0.5 - 0.2775 / 2, abs=1e-4)  # only the first can be lower,
    assert estimate.high == pytest.approx(0.5 + 0.2775 / 2, abs=1e-4)  # only the second higher
    once = mean_of_shares([Rate(5, 10)])
    assert (once.low, once.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_the_mean_by_hand() -> None:
    estimate = mean([1, 2, 3])
    assert estimate.value == 2
    assert (estimate.low, estimate.high) == pytest.approx((2 - 1.96 / 3**0.5, 2 + 1.96 / 3**0.5))
