"""When a page is told what: only what its request asks for."""

from __future__ import annotations

import types

import pytest

from appliance.kernel import explanation, python2, variables
from appliance.kernel.study_aids import StudyAids


class Kernel:
    """Collects what is displayed."""

    def __init__(self, **metadata):
        self.metadata = metadata
        self.displayed = []
        own = object()
        self.shell = types.SimpleNamespace(
            transform_cell=lambda code: code,
            user_ns={"n": 5, "own": own},
            user_ns_hidden={"own": own},
            _next_of_visitor=lambda traceback: None,
        )

    def get_parent(self, channel):
        assert channel == "shell"
        return {"metadata": self.metadata}

    def publish_display(self, data):
        self.displayed.append(data)

    @property
    def kinds(self):
        return [next(iter(data)) for data in self.displayed]


def told(error=None, code="print 'a'", **metadata):
    kernel = Kernel(**metadata)
    StudyAids(kernel).tell(code, error)
    return kernel


def test_who_asks_for_nothing_is_told_of_python_2_alone():
    assert told(widgets=True).kinds == []
    assert told(ZeroDivisionError(), widgets=True).kinds == []
    assert told(SyntaxError(), widgets=True).kinds == [python2.MIME]


def test_clients_without_widgets_are_told_nothing():
    assert told(SyntaxError(), explain="en", variables=True).kinds == []


def test_the_order_is_that_of_reading():
    with pytest.raises(SyntaxError) as caught:
        compile("print 'a'", "<cell>", "exec")
    kernel = told(caught.value, widgets=True, explain="en", variables=True)
    assert kernel.kinds == [python2.MIME, explanation.MIME, variables.MIME]
    assert kernel.displayed[-1][variables.MIME]["variables"] == [{"name": "n", "type": "int", "size": "", "value": "5"}]


def test_what_does_not_compile_after_the_conversion_is_not_offered():
    kernel = Kernel(widgets=True)

    def refuse(code):
        raise SyntaxError

    kernel.shell.transform_cell = refuse
    StudyAids(kernel).tell("print 'a'", SyntaxError())
    assert kernel.kinds == []


@pytest.mark.parametrize("wanted", ["yes", 1, None])
def test_variables_are_asked_for_by_true(wanted):
    assert told(widgets=True, variables=wanted).kinds == []


def test_an_interrupt_ends_it_and_nothing_else():
    kernel = Kernel(widgets=True, variables=True)

    class Stopped:
        def __repr__(self):
            raise KeyboardInterrupt

    kernel.shell.user_ns["stopped"] = Stopped()
    StudyAids(kernel).tell("", None)
    assert kernel.kinds == []
