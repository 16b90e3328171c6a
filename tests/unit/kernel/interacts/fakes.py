"""A runner and a face that only take notes."""

from __future__ import annotations

from typing import Any

from appliance.kernel.interacts import model
from appliance.kernel.interacts.control import Control


class FakeControl(Control):
    """A control that passes what it was given."""

    def message(self) -> dict[str, Any]:
        return {}


class FakeFace:
    def __init__(self) -> None:
        self.notes: list[Any] = []

    def show(self, interact: Any) -> None:
        self.notes.append(("show", interact.rows, interact.locations))

    def begin(self, changed: list[str]) -> None:
        self.notes.append(("begin", changed))

    def end(self) -> None:
        self.notes.append("end")

    def value_set(self, name: str, path: tuple[int, ...] = ()) -> None:
        self.notes.append(("set", name, path))

    def control_added(self, name: str) -> None:
        self.notes.append(("added", name))

    def control_removed(self, name: str) -> None:
        self.notes.append(("removed", name))

    def bookmarked(self, name: str, values: dict[str, Any]) -> None:
        self.notes.append(("bookmark", name, values))

    def concerns(self, message: dict[str, Any]) -> bool:
        return False

    def close(self) -> None:
        self.notes.append("close")


class FakeRunner:
    """Runs at once, without capturing anything."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.face = FakeFace()
        self.state = state or {}
        self.bookmarks: Any = []
        self.due: list[Any] = []

    def face_for(self, interact: Any) -> FakeFace:
        return self.face

    def restored(self) -> model.Saved:
        return model.saved({"state": self.state, "bookmarks": self.bookmarks})

    def run(self, interact: Any) -> None:
        interact.call()
        interact.completed()

    def changed(self, interact: Any) -> None:
        self.due.append(interact)


def make(function: Any, *arguments: Any, runner: FakeRunner | None = None, **options: Any) -> Any:
    """Return the proxy of an interact."""
    return model.build(runner or FakeRunner(), function, *arguments, **options)
