"""The control that chooses a colour, and the colour that the function receives."""

from __future__ import annotations

import re
import sys
from typing import Any

from appliance.kernel.interacts.control import Control

_HEX = re.compile(r"#?([0-9a-fA-F]{6})|#([0-9a-fA-F]{3})")

#: The names of HTML 4; matplotlib, where it is there, knows more.
_NAMES = {
    "black": "#000000",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "white": "#ffffff",
    "maroon": "#800000",
    "red": "#ff0000",
    "purple": "#800080",
    "fuchsia": "#ff00ff",
    "green": "#008000",
    "lime": "#00ff00",
    "olive": "#808000",
    "yellow": "#ffff00",
    "navy": "#000080",
    "blue": "#0000ff",
    "teal": "#008080",
    "aqua": "#00ffff",
    "orange": "#ffa500",
}


def html_color(value: Any) -> str:
    """Return ``#rrggbb`` of a name, of hexadecimal digits or of three numbers from 0 to 1. Raises `ValueError`."""
    method = getattr(value, "html_color", None)
    if callable(method):
        return str(method())
    if isinstance(value, str):
        match = _HEX.fullmatch(value.strip())
        if match:
            digits = match[1] or "".join(digit * 2 for digit in match[2])
            return f"#{digits.lower()}"
        named = _NAMES.get(value.strip().lower())
        if named is not None:
            return named
        colors = sys.modules.get("matplotlib.colors")
        if colors is not None and colors.is_color_like(value):
            return str(colors.to_hex(value))
    elif isinstance(value, list | tuple) and len(value) == 3:
        try:
            parts = [round(255 * float(part)) for part in value]
        except (TypeError, ValueError, OverflowError):
            parts = [-1]
        if all(0 <= part <= 255 for part in parts):
            return "#" + "".join(f"{part:02x}" for part in parts)
    raise ValueError(f"{value!r} is not a colour: give a name, '#rrggbb' or three numbers from 0 to 1")


class Color(str):
    """A colour: the text ``#rrggbb``, which plotting libraries take as it is, with Sage's ways to ask for its parts."""

    __slots__ = ()

    def __new__(cls, value: Any = "#000000") -> Color:
        """Make it of what `html_color` takes."""
        return super().__new__(cls, html_color(value))

    def html_color(self) -> str:
        """Return ``#rrggbb``."""
        return str(self)

    def rgb(self) -> tuple[float, float, float]:
        """Return red, green and blue from 0 to 1."""
        red, green, blue = (int(self[start : start + 2], 16) / 255 for start in (1, 3, 5))
        return red, green, blue


def color_class() -> Any:
    """Return Sage's class of colours where Sage is loaded, otherwise `Color`."""
    sage = sys.modules.get("sage.plot.colors")
    return Color if sage is None else sage.Color


class ColorSelector(Control):
    """A colour; the function receives a `Color`, or its text when ``sage_color`` is false."""

    def __init__(
        self, default: Any = "#000000", hide_input: bool = False, sage_color: bool = True, label: str | None = None
    ) -> None:
        super().__init__(default, label)
        self.hide_input, self.sage_color = bool(hide_input), bool(sage_color)

    def constrained(self, value: Any) -> str:
        """Return ``#rrggbb``."""
        return html_color(value)

    def adapted(self) -> Any:
        """Return the colour."""
        return color_class()(self.value) if self.sage_color else self.value

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "color_selector",
            "default": self.value,
            "hide_input": self.hide_input,
            "raw": False,
        }
