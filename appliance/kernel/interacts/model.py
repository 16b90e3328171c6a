"""An interact: a function, its controls, and the output of its last run.

`interact` makes one and runs it. How it is shown is the business of a *face* (`Face`), chosen by what the client
understands; when it runs again, that of `appliance.kernel.interacts.runs`.
"""

from __future__ import annotations

import contextlib
import inspect
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from appliance.kernel.interacts.choice_controls import UpdateButton
from appliance.kernel.interacts.guess import automatic_control
from appliance.kernel.interacts.layout import Row, arranged, located
from appliance.kernel.interacts.proxy import InteractProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from appliance.kernel.interacts.control import Control

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Saved(NamedTuple):
    """What a permalink holds of an interact: values of its controls, and bookmarks."""

    state: dict[str, Any]
    bookmarks: list[tuple[str, dict[str, Any]]]


def saved(entry: dict[str, Any]) -> Saved:
    """Return what is in ``entry``, written by a client; of what is not as it should be, nothing."""
    state, bookmarks = entry.get("state"), entry.get("bookmarks")
    named = [
        (bookmark["name"], bookmark["state"])
        for bookmark in (bookmarks if isinstance(bookmarks, list) else [])
        if isinstance(bookmark, dict)
        and isinstance(bookmark.get("name"), str)
        and isinstance(bookmark.get("state"), dict)
    ]
    return Saved(state if isinstance(state, dict) else {}, named)


class Face(Protocol):
    """How an interact is shown to one kind of client."""

    def show(self, interact: Interact) -> None:
        """Display controls and the place of the output."""

    def begin(self, changed: list[str]) -> None:
        """Send what is displayed from now on into the output, in place of what is there."""

    def end(self) -> None:
        """Send it elsewhere again; if nothing came, the output is empty."""

    def value_set(self, name: str, path: tuple[int, ...] = ()) -> None:
        """Show a value that the program set, or the entry of it at ``path``."""

    def control_added(self, name: str) -> None:
        """Show a control more."""

    def control_removed(self, name: str) -> None:
        """Show a control less."""

    def bookmarked(self, name: str, values: dict[str, Any]) -> None:
        """Offer a bookmark."""

    def concerns(self, message: dict[str, Any]) -> bool:
        """Return whether a message of the client changes a control of this interact."""

    def close(self) -> None:
        """Let go of what showed it."""


class Runner(Protocol):
    """Runs interacts; see `appliance.kernel.interacts.runs.Runs`."""

    def face_for(self, interact: Interact) -> Face:
        """Return a face that the client understands."""

    def restored(self) -> Saved:
        """Return what a permalink holds for the next interact."""

    def run(self, interact: Interact) -> None:
        """Run it, its output where it belongs."""

    def changed(self, interact: Interact) -> None:
        """Run it when the message that changed it has been handled."""


class Interact:
    """See the module. ``rows``, ``locations``, ``output``, ``readonly``, ``labels``: how it is laid out."""

    def __init__(
        self,
        function: Callable[..., Any],
        controls: dict[str, Control],
        *,
        passes_proxy: bool,
        rows: list[Row],
        locations: dict[str, str] | None,
        output: bool,
        readonly: bool,
        automatic_labels: bool,
        runner: Runner,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.function, self.controls = function, controls
        self.rows, self.locations, self.output, self.readonly = rows, locations, output, readonly
        self.children: list[Interact] = []
        #: Whether it stands in the output of another.
        self.inner = False
        self._passes_proxy, self._automatic_labels, self._runner = passes_proxy, automatic_labels, runner
        for control in controls.values():
            control.names = self.names
        self.proxy = InteractProxy(self)
        self.face = runner.face_for(self)

    @property
    def names(self) -> dict[str, Any]:
        """What expressions of visitors may use: the function's globals."""
        names: dict[str, Any] = getattr(inspect.unwrap(self.function), "__globals__", {})
        return names

    def label(self, name: str) -> str:
        """Return what stands beside a control."""
        given = self.controls[name].label
        if given is not None:
            return given
        return name if self._automatic_labels else ""

    def call(self) -> Any:
        """Call the function with the controls' values."""
        arguments = [self.proxy] if self._passes_proxy else []
        return self.function(*arguments, **{name: control.adapted() for name, control in self.controls.items()})

    def completed(self) -> None:
        """Forget what was for this run only."""
        for control in self.controls.values():
            control.reset()
        self.proxy._changed = []

    def run(self) -> None:
        """Run the function now."""
        self._runner.run(self)

    def request_run(self) -> None:
        """Run the function when the present message is handled."""
        self._runner.changed(self)

    def receive(self, values: dict[str, Any], *, run: bool = True) -> None:
        """Take values that a client sent. Raises `ValueError` for those that a control cannot hold."""
        due = False
        for name, value in values.items():
            control = self.controls.get(name)
            if control is None:
                continue
            control.value = value
            self._mark(name)
            due = due or control.update
        if due and run:
            self._runner.changed(self)

    def _mark(self, name: str) -> None:
        if name not in self.proxy._changed:
            self.proxy._changed.append(name)

    def set_value(self, name: str, value: Any) -> None:
        """Set a control from the program."""
        self.controls[name].value = value
        self._mark(name)
        self.face.value_set(name)

    def set_entry(self, name: str, values: list[Any], path: tuple[int, ...], value: Any) -> None:
        """Set one entry of a control whose value is a list."""
        values[path[-1]] = self.controls[name].constrained_entry(value, path[-1])
        self._mark(name)
        self.face.value_set(name, path)

    def add_control(self, name: str, value: Any) -> None:
        """Add a control; it runs the function unless there is a button for that."""
        control = automatic_control(value, name)
        control.names = self.names
        control.update = not any(isinstance(other, UpdateButton) for other in self.controls.values())
        self.controls[name] = control
        self._mark(name)
        self.face.control_added(name)

    def remove_control(self, name: str) -> None:
        """Take a control away."""
        del self.controls[name]
        self._mark(name)
        self.face.control_removed(name)

    def bookmark(self, name: str, values: dict[str, Any]) -> None:
        """Offer a state under a name."""
        self.face.bookmarked(name, values)

    def close(self) -> None:
        """Let go of this interact and of those inside it."""
        for child in self.children:
            child.close()
        self.children = []
        self.face.close()


def build(
    runner: Runner,
    function: Any,
    controls: Iterable[Any] | None = None,
    update: Iterable[str] | None = None,
    layout: Any = None,
    locations: Any = None,
    output: bool = True,
    readonly: bool = False,
    automatic_labels: bool = True,
) -> InteractProxy:
    """Make an interact of a function, show it and run it once. Raises `ValueError`, `TypeError` for what cannot be."""
    if isinstance(function, InteractProxy):
        function = function._interact.function
    if not callable(function):
        raise TypeError(f"interact is a decorator for functions, not for {function!r}")
    wanted, passes_proxy = _wanted(function, controls)
    made = {name: automatic_control(value, name) for name, value in wanted}
    _choose_updates(made, update)
    places = located(list(made), locations)
    rows = arranged(list(made), layout, set(places or ()), output=output)
    interact = Interact(
        function,
        made,
        passes_proxy=passes_proxy,
        rows=rows,
        locations=places,
        output=output,
        readonly=readonly,
        automatic_labels=automatic_labels,
        runner=runner,
    )
    restored = runner.restored()
    for name, value in restored.state.items():
        # A state that was saved from another version of the program: what does not fit is left as it is.
        with contextlib.suppress(ValueError, TypeError):
            interact.receive({name: value}, run=False)
    interact.proxy._changed = list(made)
    interact.face.show(interact)
    for name, state in restored.bookmarks:
        with contextlib.suppress(ValueError, TypeError):
            interact.proxy._bookmark(name, state)
    interact.run()
    return interact.proxy


def _wanted(function: Any, controls: Iterable[Any] | None) -> tuple[list[tuple[str, Any]], bool]:
    """Return the names and values of which to make controls, and whether the function wants the proxy first."""
    explicit: list[tuple[str, Any]] = []
    for item in controls or ():
        name, value = (item, None) if isinstance(item, str) else _pair(item)
        explicit.append((name, value))
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters else None
    passes_proxy = first is not None and first.kind in _POSITIONAL and first.default is first.empty
    own = [
        (parameter.name, None if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters[passes_proxy:]
        if parameter.kind not in _VARIADIC
    ]
    wanted = [*own, *explicit]
    names = [name for name, _ in wanted]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate argument {name!r} in interact definition")
        if name.startswith("_"):
            raise ValueError(f"invalid control name: {name}")
    return wanted, passes_proxy


def _pair(item: Any) -> tuple[str, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise ValueError(f"a control is a name or a pair (name, control), not {item!r}")
    if not isinstance(item[0], str):
        raise ValueError(f"interact control must have a string name, but {item[0]!r} isn't a string")
    return item[0], item[1]


def _choose_updates(controls: dict[str, Control], update: Iterable[str] | None) -> None:
    """Mark the controls whose change runs the function: those named and the update buttons, or else all."""
    names = {update} if isinstance(update, str) else set(update or ())
    unknown = sorted(str(name) for name in names if name not in controls)
    if unknown:
        raise ValueError(f"update names {unknown[0]!r}, which is no control of this interact")
    names |= {name for name, control in controls.items() if isinstance(control, UpdateButton)}
    for name in names or set(controls):
        controls[name].update = True
