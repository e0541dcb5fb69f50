import numpy as np
import pytest

from evaluation.statistics import estimate, paired_difference

nan = float("nan")


def test_seeds_are_averaged_before_prompts() -> None:
    values = np.array([[0.0, 1.0, 1.0], [1.0, nan, nan], [nan, nan, nan]])
    result = estimate(values)
    assert result is not None
    assert result.mean == pytest.approx((2 / 3 + 1) / 2)  # the last prompt never raised the question
    assert result.low == pytest.approx(2 / 3)
    assert result.high == pytest.approx(1)


def test_no_value_no_estimate() -> None:
    assert estimate(np.full((2, 3), nan)) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        result = estimate(rng.normal(3.0, 2.0, size=(40, 1)))
        assert result is not None
        covered += result.low <= 3.0 <= result.high
    assert 85 <= covered <= 99


def test_pairing_sees_a_small_difference_under_large_variation() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.normal(0.0, 10.0, size=(30, 2))
    better = baseline + rng.normal(0.5, 0.1, size=(30, 2))
    alone, paired = estimate(better), paired_difference(better, baseline)
    assert alone is not None
    assert paired is not None
    assert alone.low < 0 < alone.high
    assert 0.4 < paired.low < paired.mean < paired.high < 0.6


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random((20, 3))
    assert estimate(values) == estimate(values.copy())
