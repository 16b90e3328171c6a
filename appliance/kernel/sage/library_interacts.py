"""Sage's own `interact` and controls, replaced by this server's: one kind of interact, whatever a program imports.

Sage's are ipywidgets' in shape: ``interact(function, name=control)``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from appliance.kernel import interacts
from appliance.kernel.interacts import compatibility

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where Sage keeps its own, and where its library takes them from.
_MODULES = (
    "sage.repl.ipython_kernel.interact",
    "sage.repl.ipython_kernel.widgets_sagenb",
    "sage.repl.ipython_kernel.all_jupyter",
)

#: Names of the arguments of this server's `interact`.
_OWN = frozenset({"controls", "update", "layout", "locations", "output", "readonly", "automatic_labels"})


def interact(function: Any = None, *arguments: Any, **options: Any) -> Any:
    """Make an interact; controls may also be given by the names of the function's parameters."""
    if function is None or not callable(function):
        if function is not None:
            arguments = (function, *arguments)
        return lambda decorated: interact(decorated, *arguments, **options)
    given = _parameters(function) & options.keys() - _OWN
    if not given:
        return interacts.interact(function, *arguments, **options)
    controls = [(name, options.pop(name)) for name in list(options) if name in given]
    return interacts.interact(_without_defaults(function, given), controls=controls, **options)


def _parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def _without_defaults(function: Callable[..., Any], given: set[str]) -> Callable[..., Any]:
    """Return the function with parameters for what has no control yet, and the others as keywords."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*arguments: Any, **values: Any) -> Any:
        return function(*arguments, **values)

    left = [parameter for name, parameter in signature.parameters.items() if name not in given]
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in left):
        left.append(inspect.Parameter("controls", inspect.Parameter.VAR_KEYWORD))
    called.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
    return called


def install() -> None:
    """Put them where Sage's own are."""
    for name in _MODULES:
        module: Any = importlib.import_module(name)
        for function in (interact, *compatibility.FUNCTIONS):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)
