"""Sliders: over a list of values, over an interval, and several side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from appliance.kernel.interacts.control import Control, clamped, positive, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_STEPS = 250


def nearest_index(values: Sequence[Any], value: Any) -> int:
    """Return the index of ``value``, or of what is nearest to it, or 0 where nothing can be compared."""
    if value is None:
        return 0
    try:
        return list(values).index(value)
    except ValueError:
        try:
            return min(range(len(values)), key=lambda index: abs(values[index] - value))
        except TypeError:
            return 0


def interval_of(interval: Any) -> tuple[float, float]:
    """Return the two ends as floats, the lower first. Raises `ValueError`."""
    try:
        low, high = sorted(float(end) for end in interval)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"invalid interval: {interval!r}, two different numbers are needed") from None
    if low == high or not math.isfinite(high - low):
        raise ValueError(f"invalid interval: {interval!r}, two different numbers are needed")
    return low, high


def step_of(interval: tuple[float, float], stepsize: Any, steps: Any) -> float:
    """Return ``stepsize`` if it fits into the interval, otherwise the interval divided into ``steps``."""
    length = interval[1] - interval[0]
    if 0 < stepsize <= length:
        return float(stepsize)
    return length / (int(steps) if steps > 0 else DEFAULT_STEPS)


def _number(value: Any, interval: tuple[float, float]) -> float:
    try:
        return float(clamped(float(value), *interval))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a slider is set by a number, not by {value!r}") from None


def _index(value: Any, values: Sequence[Any]) -> int:
    try:
        return int(clamped(int(value), 0, len(values) - 1))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a slider over a list is set by the number of a value, not by {value!r}") from None


def _two(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{what} takes two values, not {value!r}")
    return value


class DiscreteSlider(Control):
    """A slider over a list; the function receives a value of it, or a tuple of two. In transit are indices."""

    def __init__(
        self,
        values: Any = (0, 1),
        default: Any = None,
        range_slider: bool = False,
        display_value: bool = True,
        label: str | None = None,
    ) -> None:
        self.values = taken(values, "values")
        if len(self.values) < 2:
            raise ValueError(f"a slider needs at least 2 values, not {len(self.values)}")
        self.range_slider, self.display_value = bool(range_slider), bool(display_value)
        start: Any
        if not self.range_slider:
            start = nearest_index(self.values, default)
        elif default is None:
            start = (0, len(self.values) - 1)
        else:
            start = [nearest_index(self.values, end) for end in _two(default, "the default of a range slider")]
        super().__init__(start, label)

    def constrained(self, value: Any) -> Any:
        """Return the nearest index, or a sorted tuple of two."""
        if self.range_slider:
            return tuple(sorted(_index(end, self.values) for end in _two(value, "a range slider")))
        return _index(value, self.values)

    def adapted(self) -> Any:
        """Return the value or the two."""
        return tuple(self.values[index] for index in self.value) if self.range_slider else self.values[self.value]

    def in_transit(self, value: Any) -> Any:
        """Return the index of a value, or of what is nearest to it; of two for a range."""
        if self.range_slider:
            return tuple(nearest_index(self.values, end) for end in _two(value, "a range slider"))
        return nearest_index(self.values, value)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "slider",
            "subtype": "discrete_range" if self.range_slider else "discrete",
            "display_value": self.display_value,
            "default": self.value,
            "range": [0, len(self.values) - 1],
            "values": [repr(value) for value in self.values],
            "step": 1,
            "raw": True,
        }


class ContinuousSlider(Control):
    """A slider over an interval; the function receives a float, or a tuple of two."""

    def __init__(
        self,
        interval: Any = (0, 100),
        default: Any = None,
        steps: Any = DEFAULT_STEPS,
        stepsize: Any = 0,
        label: str | None = None,
        range_slider: bool = False,
        display_value: bool = True,
        adapter: Callable[[Any], Any] | None = None,
    ) -> None:
        self.interval = interval_of(interval)
        self.range_slider, self.display_value = bool(range_slider), bool(display_value)
        self.stepsize = step_of(self.interval, stepsize, steps)
        if default is None:
            default = self.interval if self.range_slider else self.interval[0]
        super().__init__(default, label, adapter)

    def constrained(self, value: Any) -> Any:
        """Return a float in the interval, or a sorted tuple of two."""
        if self.range_slider:
            return tuple(sorted(_number(end, self.interval) for end in _two(value, "a range slider")))
        return _number(value, self.interval)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "slider",
            "subtype": "continuous_range" if self.range_slider else "continuous",
            "display_value": self.display_value,
            "default": self.value,
            "step": self.stepsize,
            "range": list(self.interval),
            "raw": True,
        }


def _for_each(given: Any, count: int, what: str) -> list[Any]:
    """Return ``count`` settings: those given, or one for all. Raises `ValueError`."""
    settings = list(given) if isinstance(given, list | tuple) else [given]
    if len(settings) == 1:
        return settings * count
    if len(settings) != count:
        raise ValueError(f"{what} has {len(settings)} entries for {count} sliders")
    return settings


class MultiSlider(Control):
    """Several sliders; the function receives a list.

    ``values`` (for ``slider_type="discrete"``), ``interval``, ``stepsize``, ``steps``, ``default``: a list with one
    entry for each slider, or for all.
    """

    def __init__(
        self,
        sliders: Any = 1,
        values: Any = ((0, 1),),
        interval: Any = ((0, 1),),
        slider_type: str = "continuous",
        default: Any = None,
        stepsize: Any = (0,),
        steps: Any = (DEFAULT_STEPS,),
        display_values: bool = True,
        label: str | None = None,
    ) -> None:
        self.number = count = positive("sliders", sliders)
        self.slider_type = "discrete" if slider_type == "discrete" else "continuous"
        self.display_values = bool(display_values)
        self.values: list[list[Any]] = []
        starts = _for_each(default, count, "default")
        self.stepsize: Any
        self.interval: list[tuple[float, float]]
        if self.slider_type == "discrete":
            self.values = [taken(choices, "values") for choices in _for_each(values, count, "values")]
            if min(map(len, self.values)) < 2:
                raise ValueError("each slider needs at least 2 values")
            self.interval = [(0, len(choices) - 1) for choices in self.values]
            self.stepsize = 1
            starts = [nearest_index(choices, start) for choices, start in zip(self.values, starts, strict=True)]
        else:
            self.interval = [interval_of(ends) for ends in _for_each(interval, count, "interval")]
            sizes, numbers = _for_each(stepsize, count, "stepsize"), _for_each(steps, count, "steps")
            self.stepsize = [step_of(*each) for each in zip(self.interval, sizes, numbers, strict=True)]
            starts = [ends[0] if start is None else start for ends, start in zip(self.interval, starts, strict=True)]
        super().__init__(starts, label)

    def constrained(self, value: Any) -> list[Any]:
        """Return one value for each slider; one number is for all."""
        return [
            self.constrained_entry(entry, index)
            for index, entry in enumerate(_for_each(value, self.number, "the value"))
        ]

    def constrained_entry(self, value: Any, index: int) -> Any:
        """Return the value of one slider."""
        if self.values:
            return _index(value, self.values[index])
        return _number(value, self.interval[index])

    def adapted(self) -> list[Any]:
        """Return the values chosen."""
        if not self.values:
            return list(self.value)
        return [choices[index] for choices, index in zip(self.values, self.value, strict=True)]

    def in_transit(self, value: Any) -> list[Any]:
        """Return the numbers, or the indices of what is nearest to the values."""
        if not self.values:
            return self.constrained(value)
        entries = _for_each(value, self.number, "the value")
        return [nearest_index(choices, entry) for choices, entry in zip(self.values, entries, strict=True)]

    def message(self) -> dict[str, Any]:
        """Describe it."""
        message: dict[str, Any] = {
            "control_type": "multi_slider",
            "subtype": self.slider_type,
            "display_values": self.display_values,
            "sliders": self.number,
            "raw": True,
            "default": self.value,
            "range": [list(ends) for ends in self.interval],
            "step": self.stepsize,
        }
        if self.values:
            message["values"] = [[repr(value) for value in choices] for choices in self.values]
        return message
