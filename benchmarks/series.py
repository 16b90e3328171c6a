"""Samples, tables of them, and the bars that ratios of them must reach."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Series:
    """Samples of one quantity on one server, in the unit of their table."""

    label: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.label}: there are no samples")

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        """The 99th percentile by nearest rank; with fewer than 100 samples that is the largest."""
        return sorted(self.values)[math.ceil(0.99 * len(self.values)) - 1]

    @property
    def minimum(self) -> float:
        """The smallest sample."""
        return min(self.values)


@dataclass(frozen=True)
class Table:
    """What was measured side by side; the first series is the one the others are compared with."""

    name: str
    title: str
    unit: str
    series: tuple[Series, ...]
    more_is_better: bool = False
    notes: tuple[str, ...] = ()

    def find(self, label: str) -> Series:
        """Return the series called ``label``. Raises `KeyError`."""
        for series in self.series:
            if series.label == label:
                return series
        raise KeyError(label)

    def advantage(self, series: Series) -> float:
        """Return how many times better the median of the first series is than that of ``series``."""
        ours, theirs = self.series[0].median, series.median
        return ours / theirs if self.more_is_better else theirs / ours

    def bar(self, name: str, wanted: float, peers: tuple[str, ...]) -> Bar:
        """Return the bar that the advantage over the best of the series called ``peers`` has to reach."""
        best = min((self.find(label) for label in peers), key=self.advantage)
        return Bar(name, wanted, self.advantage(best), best.label)

    def document(self) -> dict[str, Any]:
        """Return the table as JSON values, every sample included."""
        return {
            "title": self.title,
            "unit": self.unit,
            "series": [
                {
                    "label": series.label,
                    "count": len(series.values),
                    "median": series.median,
                    "p99": series.p99,
                    "min": series.minimum,
                    "advantage": self.advantage(series),
                    "values": list(series.values),
                }
                for series in self.series
            ],
        }


@dataclass(frozen=True)
class Bar:
    """An advantage over the better of the peers that a release must have."""

    name: str
    wanted: float
    found: float
    against: str

    @property
    def passed(self) -> bool:
        """Whether the advantage is there."""
        return self.found >= self.wanted

    def document(self) -> dict[str, Any]:
        """Return the bar as JSON values."""
        return {
            "name": self.name,
            "wanted": self.wanted,
            "found": self.found,
            "against": self.against,
            "passed": self.passed,
        }


@dataclass
class Results:
    """What a run has found so far."""

    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no bar failed."""
        return all(bar.passed for bar in self.bars)
