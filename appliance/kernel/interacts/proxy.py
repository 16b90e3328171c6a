"""The object that an interact's name is bound to, through which programs read and set its controls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.kernel.interacts.model import Interact


class InteractProxy:
    """Attributes are controls: reading gives the value in transit, setting shows it, a new one adds a control."""

    _changed: list[str]

    def __init__(self, interact: Interact) -> None:
        object.__setattr__(self, "_interact", interact)
        object.__setattr__(self, "_changed", list(interact.controls))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself."""
        return self._interact.function(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        control = self._interact.controls.get(name)
        if control is None:
            raise AttributeError(f"Interact has no control {name!r}")
        return Entries(self._interact, name, control.value) if isinstance(control.value, list) else control.value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif name in self._interact.controls:
            self._interact.set_value(name, value)
        else:
            self._interact.add_control(name, value)

    def __delattr__(self, name: str) -> None:
        if name not in self._interact.controls:
            raise AttributeError(f"Interact has no control {name!r}")
        self._interact.remove_control(name)

    def __dir__(self) -> list[str]:
        return sorted((*self._interact.controls, "_bookmark", "_changed", "_set_bookmarks", "_state", "_update"))

    def _update(self) -> None:
        """Run the function now."""
        self._interact.run()

    def _state(self, state: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the values of all controls, or set those in ``state``."""
        if state is None:
            return {name: control.value for name, control in self._interact.controls.items()}
        for name, value in state.items():
            setattr(self, name, value)
        return None

    def _bookmark(self, name: str, state: dict[str, Any] | None = None) -> None:
        """Offer the present state, or ``state``, under a name."""
        controls = self._interact.controls
        if state is None:
            values = {key: control.value for key, control in controls.items() if control.lasting}
        else:
            unknown = [key for key in state if key not in controls]
            if unknown:
                raise ValueError(f"the bookmark names {unknown[0]!r}, which is no control of this interact")
            values = {key: controls[key].bookmarked(value) for key, value in state.items()}
        self._interact.bookmark(str(name), values)

    def _set_bookmarks(self, bookmarks: Any) -> None:
        """Offer several: pairs (name, state), or such a list as JSON."""
        for name, state in json.loads(bookmarks) if isinstance(bookmarks, str) else bookmarks:
            self._bookmark(name, state)


class Entries:
    """A value that is a list: what is set in it is shown at once."""

    def __init__(self, interact: Interact, name: str, values: list[Any], path: tuple[int, ...] = ()) -> None:
        self._interact, self._name, self._values, self._path = interact, name, values, path

    def __getitem__(self, index: Any) -> Any:
        value = self._values[index]
        if isinstance(value, list) and not isinstance(index, slice):
            return Entries(self._interact, self._name, value, (*self._path, range(len(self._values))[index]))
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            raise TypeError("entries of a control are set one by one, not by slices")
        place = range(len(self._values))[index]
        if isinstance(self._values[place], list):
            entries = self[place]
            if len(value) != len(entries):
                raise ValueError(f"this row has {len(entries)} entries, not {len(value)}")
            for number, entry in enumerate(value):
                entries[number] = entry
            return
        self._interact.set_entry(self._name, self._values, (*self._path, place), value)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self._values)))

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Entries) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values)
