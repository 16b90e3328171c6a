"""The eight functions that made controls in the first interacts of Sage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from appliance.kernel.interacts.choice_controls import Button, Selector
from appliance.kernel.interacts.color_control import Color, ColorSelector, color_class
from appliance.kernel.interacts.control import MAX_GENERATED, Control
from appliance.kernel.interacts.guess import stepped
from appliance.kernel.interacts.slider_controls import DiscreteSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, HtmlBox, InputBox, InputGrid

#: Positions of such a slider.
MAX_POSITIONS = 500


def _positions(low: Any, high: Any, step: Any) -> list[Any]:
    if isinstance(low, Iterable):
        values = list(low)
    else:
        if high is None:
            low, high = 0, low
        if step is None:
            step = (high - low) / (MAX_POSITIONS - 1)
        elif step <= 0:
            raise ValueError(f"step_size must be positive, not {step!r}")
        count = math.ceil((high - low) / step)
        if count <= 1:
            return [low, high]
        if count >= MAX_GENERATED:
            step = step * math.ceil(count / (MAX_POSITIONS - 1))
        values = stepped(low, high, step)
        if values[-1] != high:
            values.append(high)
    if len(values) <= MAX_POSITIONS:
        return values or [0]
    return [values[index * (len(values) - 1) // (MAX_POSITIONS - 1)] for index in range(MAX_POSITIONS)]


def slider(
    vmin: Any,
    vmax: Any = None,
    step_size: Any = None,
    default: Any = None,
    label: str | None = None,
    display_value: bool = True,
) -> Control:
    """Return a slider over numbers, or over the values in a list."""
    return DiscreteSlider(_positions(vmin, vmax, step_size), default, display_value=display_value, label=label)


def range_slider(
    vmin: Any,
    vmax: Any = None,
    step_size: Any = None,
    default: Any = None,
    label: str | None = None,
    display_value: bool = True,
) -> Control:
    """Return a slider with two handles."""
    return DiscreteSlider(_positions(vmin, vmax, step_size), default, True, display_value, label)


def input_box(
    default: Any = None,
    label: str | None = None,
    type: Callable[[Any], Any] | None = None,  # noqa: A002 - the name that programs use
    width: Any = 80,
    height: Any = 1,
    **options: Any,
) -> Control:
    """Return a box for an expression, for text (``type=str``) or for a colour."""
    if type is color_class() or type is Color:
        return color_selector("#000000" if default is None else default, label, hide_box=options.get("hide_box", False))
    if type is str or height > 1:
        return InputBox(default, label, width, height)
    return ExpressionBox(default, label, width, height, adapter=type)


def color_selector(
    default: Any = (0, 0, 1), label: str | None = None, widget: str = "colorpicker", hide_box: bool = False
) -> Control:
    """Return a choice of colours; there is one kind of ``widget``."""
    return ColorSelector(default, hide_box, label=label)


def selector(
    values: Any,
    label: str | None = None,
    default: Any = None,
    nrows: Any = None,
    ncols: Any = None,
    width: Any = None,
    buttons: bool = False,
) -> Control:
    """Return a menu, or buttons if asked for or if rows or columns are given; of one value a button to press."""
    choices = list(values)
    kind = "button" if buttons or nrows is not None or ncols is not None else "list"
    if kind == "button" and len(choices) == 1:
        (value,) = choices
        text = str(value)
        if isinstance(value, list | tuple) and len(value) == 2:
            value, text = value
        return Button(default=value, value=value, text=text, width=width, label=label)
    return Selector(choices, default, kind, nrows, ncols, width, label)


def input_grid(
    nrows: Any,
    ncols: Any,
    default: Any = None,
    label: str | None = None,
    to_value: Callable[[Any], Any] | None = None,
    width: Any = 4,
    type: Callable[[Any], Any] | None = None,  # noqa: A002 - the name that programs use
) -> Control:
    """Return a grid of expressions, or of texts (``type=str``)."""
    element = None if type is None or type is str else type
    return InputGrid(nrows, ncols, default, width, label, type is not str, to_value, element)


def checkbox(default: Any = True, label: str | None = None) -> Control:
    """Return a box to tick."""
    return Checkbox(default, label)


def text_control(value: Any = "") -> Control:
    """Return HTML between the controls."""
    return HtmlBox(value)


#: All of them, as programs name them.
FUNCTIONS = (slider, range_slider, input_box, color_selector, selector, input_grid, checkbox, text_control)
