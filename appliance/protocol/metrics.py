"""Counters, gauges and histograms of one process, and their text for Prometheus, without I/O.

Format: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format". Labels have few values, all of our own
choosing: whatever a client sends is never one.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Series of one metric; more would be a label that a client chooses.
MAX_SERIES = 500

#: Upper ends of the classes of durations, in seconds: from a read of SQLite to the longest evaluation.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

Labels = tuple[str, ...]


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _braces(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


class Counter:
    """A number for each combination of labels that only grows."""

    kind = "counter"

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self._labels = tuple(labels)
        self._values: dict[Labels, float] = {} if self._labels else {(): 0.0}

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Add to the number of these labels. Raises `ValueError` when they are not as many as there are names."""
        if len(labels) != len(self._labels):
            raise ValueError(f"labels {self._labels}, found {labels}")
        if labels in self._values or len(self._values) < MAX_SERIES:
            self._values[labels] = self._values.get(labels, 0.0) + by

    def lines(self, name: str) -> Iterable[str]:
        """Yield the samples."""
        for labels, value in sorted(self._values.items()):
            yield f"{name}{_braces(self._labels, labels)} {_number(value)}"


class Gauge:
    """Numbers as they are when somebody asks: ``read`` returns them by the values of ``labels``."""

    kind = "gauge"

    def __init__(
        self, read: Callable[[], dict[Labels, float]], labels: Sequence[str] = (), kind: str = "gauge"
    ) -> None:
        self._read = read
        self._labels = tuple(labels)
        self.kind = kind

    def lines(self, name: str) -> Iterable[str]:
        """Yield the samples."""
        for labels, value in sorted(self._read().items()):
            yield f"{name}{_braces(self._labels, labels)} {_number(value)}"


class Histogram:
    """How many values were up to each of some bounds."""

    kind = "histogram"

    def __init__(self, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS) -> None:
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._series: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count a value. Raises `ValueError` when labels are not as many as there are names."""
        if len(labels) != len(self._labels):
            raise ValueError(f"labels {self._labels}, found {labels}")
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                return
            series = self._series[labels] = ([0] * (len(self._bounds) + 1), [0.0])
        series[0][bisect.bisect_left(self._bounds, value)] += 1
        series[1][0] += value

    def lines(self, name: str) -> Iterable[str]:
        """Yield the samples."""
        for labels, (counts, total) in sorted(self._series.items()):
            sum_so_far = 0
            for bound, count in zip((*map(_number, self._bounds), "+Inf"), counts, strict=True):
                sum_so_far += count
                yield f"{name}_bucket{_braces((*self._labels, 'le'), (*labels, bound))} {sum_so_far}"
            yield f"{name}_sum{_braces(self._labels, labels)} {_number(total[0])}"
            yield f"{name}_count{_braces(self._labels, labels)} {sum_so_far}"


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Registry:
    """The metrics of one process, by name."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[str, Counter | Gauge | Histogram]] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Return a new counter; its name ends in ``_total``."""
        return self._add(name, text, Counter(labels))

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS
    ) -> Histogram:
        """Return a new histogram; its name ends in its unit."""
        return self._add(name, text, Histogram(labels, bounds))

    def gauge(self, name: str, text: str, read: Callable[[], dict[Labels, float]], labels: Sequence[str] = ()) -> None:
        """Add what ``read`` returns when somebody asks."""
        self._add(name, text, Gauge(read, labels))

    def count(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that only grows and that somebody else counts."""
        self._add(name, text, Gauge(lambda: {(): read()}, (), "counter"))

    def _add(self, name: str, text: str, metric: _Metric) -> _Metric:
        if name in self._metrics:
            raise ValueError(f"there is a metric {name} already")
        self._metrics[name] = (text, metric)
        return metric

    def render(self) -> str:
        """Return everything as text."""
        lines: list[str] = []
        for name, (text, metric) in sorted(self._metrics.items()):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {metric.kind}", *metric.lines(name)]
        return "".join(f"{line}\n" for line in lines)
