"""Which control a plain value stands for, and the eight older functions."""

from __future__ import annotations

import sys
import types
from fractions import Fraction

import pytest

from appliance.kernel.interacts import NAMES, compatibility
from appliance.kernel.interacts.choice_controls import Button, Selector, UpdateButton
from appliance.kernel.interacts.color_control import Color, ColorSelector
from appliance.kernel.interacts.guess import automatic_control, stepped
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, HtmlBox, InputBox, InputGrid


@pytest.mark.parametrize(
    ("value", "kind", "received"),
    [
        ("text", InputBox, "text"),
        (True, Checkbox, True),
        (range(3), Selector, 0),
        ([7], Button, 7),
        ([(7, "seven")], Button, 7),
        ([1, 2, 3, 4, 5], Selector, 1),
        ([1, 2, 3, 4, 5, 6], Selector, 1),
        ((value for value in "abc"), DiscreteSlider, "a"),
        ((0, 10), ContinuousSlider, 0.0),
        ((0, 10, 2), DiscreteSlider, 0),
        ((1, 2, 4, 8), DiscreteSlider, 1),
        (Color("red"), ColorSelector, "#ff0000"),
        (12, ExpressionBox, 12),
        (2.5, ExpressionBox, 2.5),
        (None, ExpressionBox, None),
        ({1: 2}, ExpressionBox, {1: 2}),
    ],
)
def test_rules(value, kind, received):
    control = automatic_control(value)
    assert type(control) is kind
    assert control.label is None
    assert control.adapted() == received


def test_five_values_are_buttons_and_six_a_menu():
    assert automatic_control([1, 2, 3, 4, 5]).selector_type == "button"
    assert automatic_control([1, 2, 3, 4, 5, 6]).selector_type == "list"


def test_a_range_with_its_end():
    assert automatic_control((0, 10, 2)).values == [0, 2, 4, 6, 8, 10]
    assert automatic_control((0, 1, 0.1)).values[-1] == 1.0
    assert automatic_control((0, 9, 2)).values == [0, 2, 4, 6, 8]
    assert stepped(Fraction(0), Fraction(1), Fraction(1, 3))[-1] == 1
    assert stepped(3, 0, -1) == [3, 2, 1, 0]
    with pytest.raises(ValueError, match="do not lead from"):
        automatic_control((0, 10, 0))
    with pytest.raises(ValueError, match="more than 10000"):
        automatic_control((0, 1, 1e-9))


@pytest.mark.parametrize(
    ("value", "label", "received"),
    [
        (("name", (0, 10)), "name", 0.0),
        ((4, (0, 10)), None, 4.0),
        (("name", (4, (0, 10))), "name", 4.0),
        ((4, ("name", (0, 10))), None, None),
        (("b", ["a", "b"]), "b", "a"),
        ((2, [1, 2, 3]), None, 2),
        (("name", "text"), "name", "text"),
        ((6, range(10)), None, 6),
    ],
)
def test_labels_and_defaults(value, label, received):
    control = automatic_control(value)
    if received is None:
        # A default before a label: the pair (label, values) is a container itself.
        assert (control.label, control.adapted()) == ("name", 4.0)
        return
    assert (control.label, control.adapted()) == (label, received)


def test_a_control_is_itself_and_takes_a_label():
    control = Checkbox()
    assert automatic_control(control) is control
    assert automatic_control(("name", control)).label == "name"


def test_auto_update_is_a_button():
    assert type(automatic_control(False, "auto_update")) is UpdateButton
    assert type(automatic_control(True, "auto_update")) is Checkbox


@pytest.fixture
def sage(monkeypatch):
    """Pretend that Sage is loaded: the parts that the rules ask for."""

    class Element:
        def __init__(self, entries):
            self.entries = entries

        def __len__(self):
            return len(self.entries)

        def __iter__(self):
            return iter(self.entries)

        def parent(self):
            return lambda entries: ("made of", entries)

    class Matrix(Element):
        def rows(self):
            return self.entries

        def nrows(self):
            return len(self.entries)

        def ncols(self):
            return len(self.entries[0])

    class Vector(Element):
        pass

    module = types.SimpleNamespace(Matrix=Matrix, Vector=Vector)
    monkeypatch.setitem(sys.modules, "sage.structure.element", module)
    return module


def test_a_matrix_is_a_grid(sage):
    control = automatic_control(sage.Matrix([[1, 2], [3, 4]]))
    assert type(control) is InputGrid
    assert control.value == [["1", "2"], ["3", "4"]]
    control.value = [["5", "6"], ["7", "8"]]
    assert control.adapted() == ("made of", [[5, 6], [7, 8]])


def test_a_vector_is_a_row(sage):
    control = automatic_control(sage.Vector([1, 2]))
    assert (control.nrows, control.ncols) == (1, 2)
    assert control.adapted() == ("made of", [1, 2])


def test_the_older_functions_are_there():
    assert {"slider", "range_slider", "input_box", "color_selector", "selector", "input_grid"} < set(NAMES)
    assert {"checkbox", "text_control", "interact"} < set(NAMES)


def test_slider():
    assert compatibility.slider(0, 4, 1).values == [0, 1, 2, 3, 4]
    assert compatibility.slider(4, step_size=1).values == [0, 1, 2, 3, 4]
    assert compatibility.slider([1, 5, 9], default=5).adapted() == 5
    assert compatibility.slider(0, 3.5, 1).values == [0, 1, 2, 3, 3.5]
    assert compatibility.slider(0, 1, 5).values == [0, 1]
    assert len(compatibility.slider(0, 1).values) == 500
    assert len(compatibility.slider(range(100_000)).values) == 500
    assert len(compatibility.slider(0, 10**6, 1).values) <= 500
    with pytest.raises(ValueError, match="step_size must be positive"):
        compatibility.slider(0, 1, -1)
    assert compatibility.range_slider(0, 4, 1, default=(1, 3)).adapted() == (1, 3)


def test_input_box():
    assert type(compatibility.input_box("x", type=str)) is InputBox
    assert type(compatibility.input_box("x", height=4)) is InputBox
    box = compatibility.input_box(5, "label", type=float)
    assert (type(box), box.width, box.label, box.adapted()) == (ExpressionBox, 80, "label", 5.0)
    assert type(compatibility.input_box("red", type=Color)) is ColorSelector


def test_selector():
    assert compatibility.selector([1, 2, 3]).selector_type == "list"
    assert compatibility.selector([1, 2, 3], buttons=True).message()["width"] == ""
    assert type(compatibility.selector([1], buttons=True)) is Button
    assert compatibility.selector([(1, "one"), (2, "two")], default=2).adapted() == 2


def test_rows_of_a_selector_make_it_buttons():
    control = compatibility.selector([1, 2, 3], nrows=2)
    assert control.selector_type == "button"
    assert (control.nrows, control.ncols) == (2, 2)


def test_the_others():
    assert compatibility.color_selector().adapted() == "#0000ff"
    grid = compatibility.input_grid(1, 2, default=[[1, 2]], type=float, to_value=lambda rows: rows[0])
    assert grid.adapted() == [1.0, 2.0]
    assert compatibility.input_grid(1, 1, default="x", type=str).adapted() == [["x"]]
    assert compatibility.checkbox(False, "label").adapted() is False
    assert type(compatibility.text_control("<b>x</b>")) is HtmlBox
