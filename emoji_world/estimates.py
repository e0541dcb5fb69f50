"""Rates and means with their 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

Z = 1.96
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval, from `of` observations; NaN without any."""

    value: float
    low: float
    high: float
    of: int


@dataclass
class Rate:
    hits: int = 0
    of: int = 0

    def count(self, hit: bool) -> None:
        self.hits += hit
        self.of += 1

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(self.hits + other.hits, self.of + other.of)

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else nan


def share(rate: Rate) -> Estimate:
    """Wilson's score interval (1927): the shares that z standard errors of their own do not set apart from this one."""
    if not rate.of:
        return Estimate(nan, nan, nan, 0)
    middle = (rate.hits + Z**2 / 2) / (rate.of + Z**2)
    reach = Z / (rate.of + Z**2) * sqrt(rate.hits * (rate.of - rate.hits) / rate.of + Z**2 / 4)
    return Estimate(rate.share, max(0.0, middle - reach), min(1.0, middle + reach), rate.of)


def mean_of_shares(rates: Sequence[Rate]) -> Estimate:
    """Each share counts the same.  Newcombe's (1998) hybrid: the distances to the ends of Wilson's intervals add up as
    independent errors do."""
    shares = [share(rate) for rate in rates]
    value = fmean(each.value for each in shares)
    down = sqrt(sum((each.value - each.low) ** 2 for each in shares)) / len(shares)
    up = sqrt(sum((each.high - each.value) ** 2 for each in shares)) / len(shares)
    return Estimate(value, value - down, value + up, sum(each.of for each in shares))


def mean(values: Sequence[float]) -> Estimate:
    """The normal interval, z standard errors to either side."""
    if not values:
        return Estimate(nan, nan, nan, 0)
    reach = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else nan
    return Estimate(fmean(values), fmean(values) - reach, fmean(values) + reach, len(values))
