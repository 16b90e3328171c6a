"""Interacts in the shape of Sage's library and ipywidgets': controls by the names of parameters."""

from __future__ import annotations

import inspect

from appliance.kernel.sage.library_interacts import _without_defaults


def test_parameters_with_controls_of_their_own_are_passed_as_keywords():
    def function(a, b=2, *, c=3):
        return a, b, c

    left = _without_defaults(function, {"a", "c"})
    parameters = inspect.signature(left).parameters
    assert list(parameters) == ["b", "controls"]
    assert parameters["controls"].kind is inspect.Parameter.VAR_KEYWORD
    assert left(b=5, a=1, c=7) == (1, 5, 7)


def test_a_function_that_takes_everything_takes_the_controls_as_well():
    def function(**values):
        return values

    left = _without_defaults(function, {"a"})
    assert list(inspect.signature(left).parameters) == ["values"]
    assert left(a=1) == {"a": 1}
