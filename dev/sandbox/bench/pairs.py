"""Measuring in pairs: A B A B. What the machine does beside slows both of a pair, and their ratio says what differs."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

FEWEST = 7
"""Pairs below which nothing is concluded."""
WIDEST = 0.3
"""The spread, as a part of the median, above which the ratio says nothing."""


@dataclass(frozen=True)
class Ratio:
    """The ratios of the pairs, the first to the second of each."""

    pairs: int
    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper one."""

    @property
    def spread(self) -> float:
        """Between the quartiles, as a part of the median."""
        return (self.high - self.low) / self.median

    @property
    def worthless(self) -> str | None:
        """Why it says nothing; None where it does."""
        if self.pairs < FEWEST:
            return f"only {self.pairs} pairs, at least {FEWEST} are needed"
        if self.spread > WIDEST:
            return f"half of the pairs differ by {self.spread:.0%} of the median: the machine was too busy"
        return None

    def facts(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "spread": self.spread, "worthless": self.worthless}

    def __str__(self) -> str:
        said = f"{self.median:.0%} (quartiles {self.low:.0%} to {self.high:.0%}, {self.pairs} pairs)"
        return f"{said}; WORTHLESS: {self.worthless}" if self.worthless else said


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Of pairs that were measured one after the other. ValueError where the sides are not of one length, or empty."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    if not ratios:
        raise ValueError("no pairs")
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(len(ratios), statistics.median(ratios), low, high)
