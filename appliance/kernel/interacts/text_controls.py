"""Controls to tick and to write in."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from appliance.kernel.interacts.control import MAX_PARTS, Control, evaluate, positive, size_of

if TYPE_CHECKING:
    from collections.abc import Callable


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


class Checkbox(Control):
    """A box to tick; the function receives a bool."""

    def __init__(self, default: Any = True, label: str | None = None, raw: bool = True) -> None:
        super().__init__(default, label)
        self.raw = raw

    def constrained(self, value: Any) -> bool:
        """Return its truth."""
        return bool(value)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {"control_type": "checkbox", "default": self.value, "raw": self.raw}


class InputBox(Control):
    """A line of text, or several if ``height`` is above 1; the function receives a str.

    ``width``, ``height``: characters and lines, 0 as the browser likes. ``keypress``: run at each key.
    """

    evaluates = False

    def __init__(
        self,
        default: Any = "",
        label: str | None = None,
        width: Any = 0,
        height: Any = 1,
        keypress: bool = False,
        adapter: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(default, label, adapter)
        self.width = size_of("width", width)
        self.height = size_of("height", height)
        self.keypress = bool(keypress)

    @property
    def subtype(self) -> str:
        """``input`` or ``textarea``."""
        return "textarea" if self.height > 1 else "input"

    def constrained(self, value: Any) -> str:
        """Return a text as it is, of anything else its repr."""
        return _text(value)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "input_box",
            "subtype": self.subtype,
            "default": self.value,
            "width": self.width,
            "height": self.height,
            "evaluate": self.evaluates,
            "keypress": self.keypress,
        }


class ExpressionBox(InputBox):
    """A line whose text is evaluated; the function receives the value, or the exception that it raised."""

    evaluates = True

    def __init__(
        self,
        default: Any = "0",
        label: str | None = None,
        width: Any = 0,
        height: Any = 1,
        adapter: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(default, label, width, height, adapter=adapter)

    def adapted(self) -> Any:
        """Evaluate the text, then let the adapter have it."""
        value = evaluate(self.value, self.names)
        return value if self.adapter is None else self.adapter(value)


class InputGrid(Control):
    """Rows of entries, sent together by a button; the function receives a list of rows.

    ``default``: rows, or a flat list, or one value for all. ``width``: characters of an entry.
    """

    def __init__(
        self,
        nrows: Any = 1,
        ncols: Any = 1,
        default: Any = "0",
        width: Any = 5,
        label: str | None = None,
        evaluate: bool = True,
        adapter: Callable[[Any], Any] | None = None,
        element_adapter: Callable[[Any], Any] | None = None,
    ) -> None:
        self.nrows, self.ncols = positive("nrows", nrows), positive("ncols", ncols)
        if self.nrows * self.ncols > MAX_PARTS:
            raise ValueError(f"a grid of {self.nrows} by {self.ncols} has more than {MAX_PARTS} entries")
        self.width = size_of("width", width)
        self.evaluate = bool(evaluate)
        self.element_adapter = element_adapter
        super().__init__(default, label, adapter)

    def constrained(self, value: Any) -> list[list[str]]:
        """Return rows of texts. Raises `ValueError` for rows of another shape."""
        count = self.nrows * self.ncols
        if isinstance(value, Generator):
            value = [next(value) for _ in range(count)]
        if not isinstance(value, list | tuple):
            return [[_text(value)] * self.ncols for _ in range(self.nrows)]
        if not all(isinstance(row, list | tuple) for row in value):
            if len(value) != count:
                raise ValueError(f"a grid of {self.nrows} by {self.ncols} takes {count} values, not {len(value)}")
            value = [value[start : start + self.ncols] for start in range(0, count, self.ncols)]
        if len(value) != self.nrows or any(len(row) != self.ncols for row in value):
            raise ValueError(f"a grid of {self.nrows} by {self.ncols} takes rows of that shape, not {value!r}")
        return [[_text(entry) for entry in row] for row in value]

    def in_transit(self, value: Any) -> list[list[str]]:
        """Return the rows of a list or of a matrix; of a vector its one row."""
        rows = value.tolist() if hasattr(value, "tolist") else value
        return self.constrained([list(row) for row in rows.rows()] if hasattr(rows, "rows") else rows)

    def constrained_entry(self, value: Any, index: int) -> str:
        """Return the text of an entry."""
        return _text(value)

    def adapted(self) -> Any:
        """Evaluate and adapt each entry, then let the adapter have the rows."""
        rows = [[self._entry(entry) for entry in row] for row in self.value]
        return rows if self.adapter is None else self.adapter(rows)

    def _entry(self, text: str) -> Any:
        value = evaluate(text, self.names) if self.evaluate else text
        return value if self.element_adapter is None else self.element_adapter(value)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "input_grid",
            "nrows": self.nrows,
            "ncols": self.ncols,
            "default": self.value,
            "width": self.width,
            "raw": True,
            "evaluate": self.evaluate,
        }


class HtmlBox(Control):
    """HTML between the controls; the function receives it as a str."""

    def __init__(self, value: Any = "", label: str | None = "") -> None:
        super().__init__(value, label)

    def constrained(self, value: Any) -> str:
        """Return its text."""
        return str(value)

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {"control_type": "html_box", "value": self.value}
