"""Variables that are controls: `dynamic` and `dynamic_expression`.

A variable that is dynamic has a control on the page. What the visitor sets is the variable's value for whatever runs
afterwards; what a program sets is shown when the message that ran it has been handled (`Dynamics.settle`), since names
of a module can be watched only between two of them.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from appliance.kernel.interacts import model
from appliance.kernel.interacts.called import Called
from appliance.kernel.interacts.control import Control, evaluate
from appliance.kernel.interacts.guess import automatic_control
from appliance.kernel.interacts.text_controls import InputBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from appliance.kernel.interacts.runs import Runs

#: Controls of one kernel that follow variables; the oldest are let go.
MAX_LINKS = 100

#: Characters shown of an expression's value.
MAX_SHOWN = 1_000

_MISSING = object()


class ShownValue(InputBox):
    """A line that shows what a program computed; nobody writes in it, and no link holds it."""

    @property
    def lasting(self) -> bool:
        """Return False: it is computed anew."""
        return False


class _Variable:
    """A variable and its control."""

    def __init__(self, runs: Runs, names: dict[str, Any], name: str, control: Control) -> None:
        self._names, self._name, self._seen = names, name, _MISSING

        def take(**values: Any) -> None:
            self._seen = names[name] = values[name]

        self.proxy = model.build(runs, Called(take, names), controls=[(name, control)])

    def settle(self) -> None:
        """Show what the program set."""
        value = self._names.get(self._name, _MISSING)
        if value is self._seen or value is _MISSING:
            return
        self._seen = value
        control = self.proxy._interact.controls.get(self._name)
        if control is None:
            return
        try:
            setattr(self.proxy, self._name, control.in_transit(value))
        except Exception as exc:  # noqa: BLE001 - values compare and convert as their authors wrote
            print(f"the control of {self._name} cannot show its value: {exc}", file=sys.stderr)


class _Expression:
    """An expression, the variables it is computed from, and the line that shows it."""

    def __init__(self, runs: Runs, names: dict[str, Any], text: str, variables: list[str], label: str | None) -> None:
        self._names, self._text, self._variables = names, text, variables
        self._seen = self._present()

        def show(**_: Any) -> None:
            """Do nothing: it only shows."""

        box = ShownValue(self._shown(), label=text if label is None else label)
        self.proxy = model.build(runs, Called(show, names), controls=[("value", box)], readonly=True)

    def settle(self) -> None:
        """Compute anew when one of the variables is another object."""
        present = self._present()
        if all(new is old for new, old in zip(present, self._seen, strict=True)):
            return
        self._seen = present
        self.proxy.value = self._shown()

    def _present(self) -> list[Any]:
        return [self._names.get(name, _MISSING) for name in self._variables]

    def _shown(self) -> str:
        value = evaluate(self._text, self._names)
        try:
            text = f"{type(value).__name__}: {value}" if isinstance(value, Exception) else repr(value)
        except Exception as exc:  # noqa: BLE001 - a visitor's own repr
            text = f"{type(exc).__name__} in repr()"
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class Dynamics:
    """The dynamic variables of one kernel.

    ``names``: where its programs have theirs; ``hidden``: whether one is the kernel's.
    """

    def __init__(self, runs: Runs, names: dict[str, Any], hidden: Callable[[str], bool] = lambda _: False) -> None:
        self._runs, self._names, self._hidden = runs, names, hidden
        self._links: list[_Variable | _Expression] = []

    def dynamic(self, *variables: Any, **controls: Any) -> None:
        """Give variables controls: by name, as objects that a variable is bound to, or as ``name=control``.

        A variable that there is keeps its value if the control can hold it. Raises `ValueError`, `TypeError`.
        """
        wanted: list[tuple[str, Any]] = []
        for variable in variables:
            names = _split(variable) if isinstance(variable, str) else [self._name_of(variable)]
            wanted += [(name, self._names.get(name, "")) for name in names]
        for name, given in [*wanted, *controls.items()]:
            if not name.isidentifier() or name.startswith("_"):
                raise ValueError(f"{name!r} is no name for a dynamic variable")
            control = automatic_control(given, name)
            if name in controls and name in self._names:
                with contextlib.suppress(Exception):
                    control.value = control.in_transit(self._names[name])
            self._keep(_Variable(self._runs, self._names, name, control))

    def dynamic_expression(self, expression: str, variables: str | Iterable[str], label: str | None = None) -> None:
        """Show the value of an expression, computed anew when one of ``variables`` gets another value.

        Raises `TypeError` for what is no text.
        """
        if not isinstance(expression, str):
            raise TypeError(f"dynamic_expression takes the expression as a text, not {expression!r}")
        names = _split(variables) if isinstance(variables, str) else list(variables)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"dynamic_expression takes names of variables, not {variables!r}")
        self._keep(_Expression(self._runs, self._names, expression, names, label))

    def settle(self) -> None:
        """Bring what is shown up to date; called when a message has been handled."""
        if not self._links:
            return
        self._links = [link for link in self._links if link.proxy._interact.id in self._runs.known]
        # controls first: what they convert may be what an expression is computed from
        for link in sorted(self._links, key=lambda link: isinstance(link, _Expression)):
            link.settle()

    def _keep(self, link: _Variable | _Expression) -> None:
        self._links = [*self._links, link][-MAX_LINKS:]

    def _name_of(self, value: Any) -> str:
        found = [
            name
            for name, bound in list(self._names.items())
            if bound is value and not name.startswith("_") and not self._hidden(name)
        ]
        if len(found) != 1:
            which = f"several variables are {value!r}: {', '.join(found)}" if found else f"no variable is {value!r}"
            raise ValueError(f"{which}; write dynamic('name')")
        return found[0]


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
