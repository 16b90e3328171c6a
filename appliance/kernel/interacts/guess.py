"""Which control a plain value stands for."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

from appliance.kernel.interacts.choice_controls import Button, Selector, UpdateButton
from appliance.kernel.interacts.color_control import Color, ColorSelector
from appliance.kernel.interacts.control import MAX_GENERATED, Control
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, InputBox, InputGrid
from appliance.kernel.interacts.widget_control import WidgetControl, is_widget

#: A list up to this long is shown as buttons, a longer one as a menu.
MAX_BUTTONS = 5


def automatic_control(value: Any, name: str = "") -> Control:
    """Return the control that ``value`` stands for.

    ``("label", value)`` gives it a label, ``(default, values)`` a default. Raises `ValueError`, `TypeError`.
    """
    if name == "auto_update" and value is False:
        return UpdateButton()
    label, default, value = _unwrapped(value)
    if isinstance(value, Control):
        if label:
            value.label = label
        return value
    if isinstance(value, Color):
        return ColorSelector(value, label=label)
    if isinstance(value, str):
        return InputBox(value, label=label)
    if isinstance(value, bool):
        return Checkbox(value, label=label)
    if isinstance(value, list | range):
        return _from_list(list(value), default, label)
    if isinstance(value, Generator):
        return DiscreteSlider(value, default, label=label)
    if isinstance(value, tuple):
        return _from_tuple(value, default, label)
    return _from_libraries(value, label) or ExpressionBox(value, label=label)


def _unwrapped(value: Any) -> tuple[str | None, Any, Any]:
    """Return (label, default, value) of the two wrappings, which may stand in either order."""
    label: str | None = None
    default: Any = None
    for _ in range(2):
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            label, value = value
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], tuple | list | range | Generator):
            default, value = value
    return label, default, value


def _from_list(values: list[Any], default: Any, label: str | None) -> Control:
    if len(values) != 1:
        return Selector(values, default, "button" if len(values) <= MAX_BUTTONS else "list", label=label)
    (value,) = values
    text = str(value)
    if isinstance(value, list | tuple) and len(value) == 2:
        value, text = value
    return Button(default=value, value=value, text=text, label=label)


def _from_tuple(values: tuple[Any, ...], default: Any, label: str | None) -> Control:
    if len(values) == 2:
        return ContinuousSlider(values, default, label=label)
    if len(values) == 3:
        return DiscreteSlider(stepped(*values), default, label=label)
    return DiscreteSlider(values, default, label=label)


def stepped(low: Any, high: Any, step: Any) -> list[Any]:
    """Return low, low + step, … up to ``high``, the end included where it is met. Raises `ValueError`.

    Floats are counted, not added up, so that 0.1 ten times is 1.0.
    """
    try:
        if step == 0 or (high - low) / step < 0:
            raise ValueError(f"steps of {step!r} do not lead from {low!r} to {high!r}")
        count = int((high - low) / step + 1e-9) + 1
    except TypeError:
        raise ValueError(f"({low!r}, {high!r}, {step!r}) must be numbers: from, to, step") from None
    if count > MAX_GENERATED:
        raise ValueError(f"from {low!r} to {high!r} by {step!r} are {count} values, more than {MAX_GENERATED}")
    values = [low + index * step for index in range(count)]
    if isinstance(values[-1], float) and abs(values[-1] - high) <= abs(step) * 1e-9:
        values[-1] = type(values[-1])(high)
    return values


def _from_libraries(value: Any, label: str | None) -> Control | None:
    """Return the control for a matrix, a vector, a colour or a widget of a library that is loaded, or None."""
    if is_widget(value):
        return WidgetControl(value, label)
    return _from_sage(value, label) or _from_numpy(value, label) or _from_sympy(value, label)


def _from_sage(value: Any, label: str | None) -> Control | None:
    colors, element = sys.modules.get("sage.plot.colors"), sys.modules.get("sage.structure.element")
    if colors is not None and isinstance(value, colors.Color):
        return ColorSelector(value, label=label)
    if element is not None and isinstance(value, element.Matrix):
        rows = [list(row) for row in value.rows()]
        return InputGrid(value.nrows(), value.ncols(), rows, label=label, adapter=value.parent())
    if element is not None and isinstance(value, element.Vector):
        parent = value.parent()
        return InputGrid(1, len(value), [list(value)], label=label, adapter=lambda rows: parent(rows[0]))
    return None


def _from_numpy(value: Any, label: str | None) -> Control | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.ndarray) or value.ndim not in (1, 2) or value.size == 0:
        return None
    kind = value.dtype
    if value.ndim == 2:
        nrows, ncols = value.shape
        return InputGrid(nrows, ncols, value.tolist(), label=label, adapter=lambda rows: numpy.array(rows, kind))
    return InputGrid(1, value.size, [value.tolist()], label=label, adapter=lambda rows: numpy.array(rows[0], kind))


def _from_sympy(value: Any, label: str | None) -> Control | None:
    sympy = sys.modules.get("sympy")
    if sympy is None or not isinstance(value, sympy.MatrixBase) or 0 in value.shape:
        return None
    rows = [[str(entry) for entry in row] for row in value.tolist()]
    # A text may name symbols that the visitor's program does not.
    return InputGrid(value.rows, value.cols, rows, label=label, evaluate=False, adapter=type(value))
