"""The short way of formatting gives what IPython gives."""

from __future__ import annotations

import pytest
from IPython.core.formatters import DisplayFormatter

from appliance.kernel.formatting import CellDisplayFormatter


class Number(int):
    def _repr_html_(self):
        return f"<b>{int(self)}</b>"


@pytest.mark.parametrize("value", [2, True, 1.5, 1j, "text\nmore", b"bytes", None, [1], {"a": 1}, Number(3)])
def test_the_result_is_that_of_ipython(value):
    assert CellDisplayFormatter().format(value) == DisplayFormatter().format(value)


def test_a_registered_representation_is_used():
    formatter = CellDisplayFormatter()
    assert set(formatter.format(2)[0]) == {"text/plain"}
    formatter.formatters["text/html"].for_type(int, lambda value: f"<i>{value}</i>")
    assert formatter.format(2)[0]["text/html"] == "<i>2</i>"
    assert set(formatter.format("2")[0]) == {"text/plain"}


def test_a_representation_registered_by_name_is_used():
    formatter = CellDisplayFormatter()
    formatter.formatters["text/latex"].for_type_by_name("builtins", "float", lambda value: f"${value}$")
    assert formatter.format(1.5)[0]["text/latex"] == "$1.5$"


def test_a_precision_is_obeyed():
    formatter = CellDisplayFormatter()
    formatter.formatters["text/plain"].float_precision = "%.2f"
    assert formatter.format(1.23456)[0]["text/plain"] == "1.23"
