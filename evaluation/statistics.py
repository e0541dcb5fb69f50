"""Means over prompts with bootstrap intervals.

Clips of one prompt, its seeds, are not independent: they are averaged first, and prompts are what is resampled.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.wire import WireModel

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20_260

Table = NDArray[np.float64]
"""[prompt, seed]; NaN where the question does not arise in a clip."""


class Estimate(WireModel):
    """Mean and the ends of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def estimate(values: Table) -> Estimate | None:
    """None where no clip has a value."""
    return _interval(_by_prompt(values))


def paired_difference(values: Table, baseline: Table) -> Estimate | None:
    """Of `values - baseline`, prompt by prompt and seed by seed: the interval is clear of 0 where a row differs."""
    return _interval(_by_prompt(values - baseline))


def _by_prompt(values: Table) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    means: NDArray[np.float64] = sums[counts > 0] / counts[counts > 0]
    return means


def _interval(samples: Sequence[float] | NDArray[np.float64]) -> Estimate | None:
    values = np.asarray(samples)
    if not len(values):
        return None
    drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    means = values[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high))
