"""What all controls of an interact have in common.

A control holds a *value in transit*: what JSON carries between browser and kernel, for instance the index of a choice.
`Control.adapted` makes of it what the visitor's function receives.
"""

from __future__ import annotations

import operator
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Values taken of a generator: a slider needs to know how many there are.
MAX_GENERATED = 10_000

#: Entries of a grid, buttons of a bar, choices of a selector: each is a widget of the page.
MAX_PARTS = 10_000


def evaluate(text: str, names: dict[str, Any]) -> Any:
    """Return the value of an expression, or the exception that it raised: an unfinished input is no error yet."""
    try:
        sage = sys.modules.get("sage.misc.sage_eval")
        if sage is not None:
            return sage.sage_eval(text, locals=names)
        return eval(text, names)  # noqa: S307 - the visitor's own code, in the visitor's own kernel
    except Exception as exc:  # noqa: BLE001 - whatever it is, the function decides what to make of it
        return exc


def clamped(value: Any, low: Any, high: Any) -> Any:
    """Return ``value`` brought into the range."""
    return min(max(value, low), high)


def taken(values: Iterable[Any], what: str) -> list[Any]:
    """Return values as a list; of a generator the first `MAX_GENERATED`. Raises `TypeError`."""
    try:
        return list(islice(values, MAX_GENERATED)) if not hasattr(values, "__len__") else list(values)
    except TypeError:
        raise TypeError(f"{what} must be a list of values, not {values!r}") from None


def positive(name: str, value: Any) -> int:
    """Return an integer above zero. Raises `TypeError`, `ValueError`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a positive integer, not {value!r}") from None
    if number <= 0:
        raise ValueError(f"{name} must be a positive integer, not {number}")
    return number


def size_of(what: str, value: Any) -> int:
    """Return a number of characters or rows, zero for "as the browser likes". Raises `ValueError`."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a number, not {value!r}") from None
    if not 0 <= number <= MAX_PARTS:
        raise ValueError(f"{what} must be between 0 and {MAX_PARTS}, not {number}")
    return number


def grid_shape(count: int, nrows: Any = None, ncols: Any = None) -> tuple[int, int]:
    """Return the (rows, columns) in which ``count`` buttons stand; the last row may be short.

    Raises `TypeError` and `ValueError` for what is no positive integer, and for a grid that is too small.
    """
    rows = None if nrows is None else positive("nrows", nrows)
    columns = None if ncols is None else positive("ncols", ncols)
    if count == 0:
        return 0, 0
    if rows is None:
        columns = columns or count
        return -(-count // columns), columns
    if columns is None:
        return rows, -(-count // rows)
    if rows * columns < count:
        raise ValueError(f"a {rows} by {columns} grid cannot hold {count} buttons")
    return rows, columns


class Control:
    """One control: ``label`` (None: the name), ``value`` in transit, ``update``: whether a change runs the function."""

    def __init__(self, value: Any, label: str | None = None, adapter: Callable[[Any], Any] | None = None) -> None:
        self.label = label
        self.update = False
        self.adapter = adapter
        #: Names that expressions of a visitor may use; the function's globals once the interact is made.
        self.names: dict[str, Any] = {}
        self._value = self.constrained(value)

    @property
    def value(self) -> Any:
        """The value in transit."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = self.constrained(value)

    def adapted(self) -> Any:
        """Return what the function receives."""
        return self._value if self.adapter is None else self.adapter(self._value)

    def constrained(self, value: Any) -> Any:
        """Return ``value`` as this control can hold it. Raises `ValueError`, `TypeError`."""
        return value

    def bookmarked(self, value: Any) -> Any:
        """Return ``value`` as it is kept for later. Raises `ValueError`, `TypeError` for what it can tell is wrong."""
        return self.constrained(value)

    def in_transit(self, value: Any) -> Any:
        """Return the value in transit for which the function receives ``value``, or what comes nearest.

        Raises `ValueError`, `TypeError` for what it cannot hold.
        """
        return self.constrained(value)

    def constrained_entry(self, value: Any, index: int) -> Any:
        """Return one entry of a value that is a list."""
        return value

    def reset(self) -> None:
        """Forget what lasts for one run only: that a button was pressed."""

    @property
    def lasting(self) -> bool:
        """Whether the value belongs into a permalink."""
        return True

    def message(self) -> dict[str, Any]:
        """Return the control as ``application/sage-interact`` describes it, but for label and update."""
        raise NotImplementedError
