"""Controls to choose with and to press."""

from __future__ import annotations

from typing import Any

from appliance.kernel.interacts.control import MAX_PARTS, Control, clamped, grid_shape, taken

SELECTOR_TYPES = ("list", "radio", "button")


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def _whole(value: Any, what: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} is set by the number of a choice, not by {value!r}") from None


class Selector(Control):
    """One of several values, in a list, as radio buttons or as buttons; the function receives the value.

    ``values``: values, or only pairs (value, label). The value in transit is the index.
    """

    def __init__(
        self,
        values: Any,
        default: Any = None,
        selector_type: str = "list",
        nrows: Any = None,
        ncols: Any = None,
        width: Any = "",
        label: str | None = None,
    ) -> None:
        choices = taken(values, "values")
        if not 0 < len(choices) <= MAX_PARTS:
            raise ValueError(f"a selector has between 1 and {MAX_PARTS} values, not {len(choices)}")
        pairs = all(_is_pair(choice) for choice in choices)
        self.values = [choice[0] for choice in choices] if pairs else choices
        self.value_labels = [str(choice[1] if pairs else choice) for choice in choices]
        self.selector_type = selector_type if selector_type in SELECTOR_TYPES else "list"
        self.nrows, self.ncols = nrows, ncols
        if self.selector_type != "list":
            self.nrows, self.ncols = grid_shape(len(choices), nrows, ncols)
        self.width = "" if width is None else str(width)
        index = 0
        if default is not None:
            try:
                index = self.values.index(default)
            except ValueError:
                raise ValueError(f"the default {default!r} is not one of the values of the selector") from None
        super().__init__(index, label)

    def constrained(self, value: Any) -> int:
        """Return the nearest index."""
        return int(clamped(_whole(value, "a selector"), 0, len(self.values) - 1))

    def adapted(self) -> Any:
        """Return the value chosen."""
        return self.values[self.value]

    def in_transit(self, value: Any) -> int:
        """Return the index of a value."""
        try:
            return self.values.index(value)
        except ValueError:
            raise ValueError(f"{value!r} is not one of the values of the selector") from None

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "selector",
            "subtype": self.selector_type,
            "values": len(self.values),
            "value_labels": self.value_labels,
            "default": self.value,
            "nrows": None if self.nrows is None else int(self.nrows),
            "ncols": None if self.ncols is None else int(self.ncols),
            "raw": True,
            "width": self.width,
        }


class Button(Control):
    """A button; the function receives ``value`` in the run that its press makes, otherwise ``default``."""

    def __init__(
        self, default: Any = "", value: Any = "", text: Any = "Button", width: Any = "", label: str | None = None
    ) -> None:
        super().__init__(False, label)
        self.default_value, self.clicked_value = default, value
        self.text = str(text)
        self.width = "" if width is None else str(width)

    def constrained(self, value: Any) -> bool:
        """Return whether it is pressed."""
        return bool(value)

    def adapted(self) -> Any:
        """Return the value of this run."""
        return self.clicked_value if self.value else self.default_value

    def reset(self) -> None:
        """Be no longer pressed."""
        self.value = False

    @property
    def lasting(self) -> bool:
        """Return False: a press is over."""
        return False

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {"control_type": "button", "width": self.width, "text": self.text, "raw": True}


class UpdateButton(Button):
    """A button without which no change of other controls runs the function."""

    def __init__(
        self, text: Any = "Update", value: Any = "", default: Any = "", width: Any = "", label: str | None = ""
    ) -> None:
        super().__init__(default, value, text, width, label)


class ButtonBar(Control):
    """Several buttons; the function receives the value of the one pressed, otherwise ``default``."""

    def __init__(
        self,
        values: Any = (0,),
        default: Any = "",
        nrows: Any = None,
        ncols: Any = None,
        width: Any = "",
        label: str | None = None,
    ) -> None:
        choices = taken(values, "values")
        if not 0 < len(choices) <= MAX_PARTS:
            raise ValueError(f"a button bar has between 1 and {MAX_PARTS} values, not {len(choices)}")
        self.values = [choice[0] if _is_pair(choice) else choice for choice in choices]
        self.value_labels = [str(choice[1] if _is_pair(choice) else choice) for choice in choices]
        self.nrows, self.ncols = grid_shape(len(choices), nrows, ncols)
        self.width = "" if width is None else str(width)
        self.default_value = default
        super().__init__(None, label)

    def constrained(self, value: Any) -> int | None:
        """Return the index of the button, or None."""
        return None if value is None else int(clamped(_whole(value, "a button bar"), 0, len(self.values) - 1))

    def adapted(self) -> Any:
        """Return the value of this run."""
        return self.default_value if self.value is None else self.values[self.value]

    def reset(self) -> None:
        """Have no button pressed."""
        self.value = None

    @property
    def lasting(self) -> bool:
        """Return False: a press is over."""
        return False

    def message(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "control_type": "button_bar",
            "values": len(self.values),
            "value_labels": self.value_labels,
            "nrows": self.nrows,
            "ncols": self.ncols,
            "raw": True,
            "width": self.width,
        }
