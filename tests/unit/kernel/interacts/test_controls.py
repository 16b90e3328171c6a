"""What each control says, holds, and gives to the function."""

from __future__ import annotations

import math

import pytest

from appliance.kernel.interacts import CONTROLS
from appliance.kernel.interacts.choice_controls import Button, ButtonBar, Selector, UpdateButton
from appliance.kernel.interacts.color_control import Color, ColorSelector
from appliance.kernel.interacts.control import MAX_GENERATED
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider, MultiSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, HtmlBox, InputBox, InputGrid


def given(control, value):
    """Return what the function receives when ``value`` came over the wire."""
    control.value = value
    return control.adapted()


def test_there_are_thirteen():
    assert len(CONTROLS) == 13


def test_checkbox():
    assert Checkbox().message() == {"control_type": "checkbox", "default": True, "raw": True}
    assert given(Checkbox(), 0) is False


def test_input_box():
    assert InputBox("x", width=4).message() == {
        "control_type": "input_box",
        "subtype": "input",
        "default": "x",
        "width": 4,
        "height": 1,
        "evaluate": False,
        "keypress": False,
    }
    assert InputBox(height=3).message()["subtype"] == "textarea"
    assert InputBox(keypress=True).message()["keypress"] is True
    assert given(InputBox(), "1+1") == "1+1"
    assert InputBox(12).value == "12"
    assert given(InputBox(adapter=len), "four") == 4


def test_expression_box():
    assert ExpressionBox().message()["evaluate"] is True
    control = ExpressionBox("n")
    control.names = {"n": 5}
    assert given(control, "n + 1") == 6
    assert isinstance(given(control, "n +"), SyntaxError)
    assert isinstance(given(control, "m"), NameError)
    assert given(ExpressionBox(adapter=str), "2*3") == "6"


def test_input_grid():
    grid = InputGrid(2, 2, [1, 2, 3, 4])
    assert grid.message() == {
        "control_type": "input_grid",
        "nrows": 2,
        "ncols": 2,
        "default": [["1", "2"], ["3", "4"]],
        "width": 5,
        "raw": True,
        "evaluate": True,
    }
    assert given(grid, [["1+1", "0"], ["0", "1"]]) == [[2, 0], [0, 1]]
    assert InputGrid(1, 2, 7).value == [["7", "7"]]
    assert InputGrid(1, 2, iter_of(5, 6)).value == [["5", "6"]]
    assert given(InputGrid(1, 1, evaluate=False), [["x"]]) == [["x"]]
    assert given(InputGrid(1, 2, element_adapter=float, adapter=lambda rows: rows[0]), [["1", "2"]]) == [1.0, 2.0]


def iter_of(*values):
    yield from values


@pytest.mark.parametrize("value", [[1, 2, 3], [[1], [2]], [[1, 2, 3], [4, 5, 6]]])
def test_a_grid_refuses_another_shape(value):
    with pytest.raises(ValueError, match="a grid of 2 by 2 takes"):
        InputGrid(2, 2, value)


def test_a_grid_has_a_limit():
    with pytest.raises(ValueError, match="more than 10000 entries"):
        InputGrid(1000, 1000)


def test_selector():
    control = Selector(["a", "b", "c"], default="b")
    assert control.message() == {
        "control_type": "selector",
        "subtype": "list",
        "values": 3,
        "value_labels": ["a", "b", "c"],
        "default": 1,
        "nrows": None,
        "ncols": None,
        "raw": True,
        "width": "",
    }
    assert given(control, 2) == "c"
    assert given(control, 99) == "c"
    pairs = Selector([(math.sin, "sine"), (math.cos, "cosine")], selector_type="radio")
    assert pairs.message()["value_labels"] == ["sine", "cosine"]
    assert (pairs.nrows, pairs.ncols) == (1, 2)
    assert given(pairs, 1) is math.cos
    assert Selector([1], selector_type="other").selector_type == "list"
    with pytest.raises(ValueError, match="is not one of the values"):
        Selector([1, 2], default=3)
    with pytest.raises(ValueError, match="between 1 and"):
        Selector([])
    with pytest.raises(ValueError, match="by the number of a choice, not by 'b'"):
        control.value = "b"


def test_discrete_slider():
    control = DiscreteSlider([1, 10, 100], default=11)
    assert control.message() == {
        "control_type": "slider",
        "subtype": "discrete",
        "display_value": True,
        "default": 1,
        "range": [0, 2],
        "values": ["1", "10", "100"],
        "step": 1,
        "raw": True,
    }
    assert given(control, 2) == 100
    two = DiscreteSlider([1, 10, 100], range_slider=True)
    assert two.message()["subtype"] == "discrete_range"
    assert two.adapted() == (1, 100)
    assert given(two, [2, 1]) == (10, 100)
    assert DiscreteSlider(["a", "b"], default="z").value == 0
    assert len(DiscreteSlider(iter_of(*range(MAX_GENERATED + 5))).values) == MAX_GENERATED
    with pytest.raises(ValueError, match="at least 2 values"):
        DiscreteSlider([1])


def test_continuous_slider():
    control = ContinuousSlider((10, 0), default=4)
    assert control.message() == {
        "control_type": "slider",
        "subtype": "continuous",
        "display_value": True,
        "default": 4.0,
        "step": 0.04,
        "range": [0.0, 10.0],
        "raw": True,
    }
    assert given(control, 11) == 10.0
    assert ContinuousSlider((0, 1), steps=4).stepsize == 0.25
    assert ContinuousSlider((0, 1), stepsize=0.5).stepsize == 0.5
    assert ContinuousSlider((0, 1), stepsize=7).stepsize == 1 / 250
    two = ContinuousSlider((0, 1), range_slider=True)
    assert two.message()["subtype"] == "continuous_range"
    assert two.adapted() == (0.0, 1.0)
    assert given(two, [0.75, 0.5]) == (0.5, 0.75)
    assert given(ContinuousSlider((0, 1), adapter=lambda value: -value), 0.5) == -0.5


@pytest.mark.parametrize("interval", [(1, 1), (0, math.inf), (1,), "ab", (math.nan, 1), None])
def test_impossible_limits_are_refused(interval):
    with pytest.raises(ValueError, match="invalid interval"):
        ContinuousSlider(interval)


def test_multi_slider():
    control = MultiSlider(2, interval=[(0, 1), (0, 10)], default=[0.5, 5], stepsize=[0.5])
    assert control.message() == {
        "control_type": "multi_slider",
        "subtype": "continuous",
        "display_values": True,
        "sliders": 2,
        "raw": True,
        "default": [0.5, 5.0],
        "range": [[0.0, 1.0], [0.0, 10.0]],
        "step": [0.5, 0.5],
    }
    assert given(control, [2, 2]) == [1.0, 2.0]
    discrete = MultiSlider(2, values=[["a", "b"], [1, 2, 3]], slider_type="discrete", default=["b", 3])
    assert discrete.message()["values"] == [["'a'", "'b'"], ["1", "2", "3"]]
    assert discrete.adapted() == ["b", 3]
    assert given(discrete, [0, 1]) == ["a", 2]
    with pytest.raises(ValueError, match="interval has 3 entries for 2 sliders"):
        MultiSlider(2, interval=[(0, 1)] * 3)


def test_color_selector():
    control = ColorSelector("red", hide_input=True)
    assert control.message() == {
        "control_type": "color_selector",
        "default": "#ff0000",
        "hide_input": True,
        "raw": False,
    }
    color = given(control, "#00ff00")
    assert isinstance(color, Color)
    assert (color, color.rgb(), color.html_color()) == ("#00ff00", (0.0, 1.0, 0.0), "#00ff00")
    assert type(given(ColorSelector(sage_color=False), "#123")) is str
    assert Color((0, 0.5, 1)) == "#0080ff"
    for wrong in ("#12", "nocolour", (1, 2), (2, 0, 0), 5):
        with pytest.raises(ValueError, match="is not a colour"):
            Color(wrong)


def test_buttons():
    control = Button(default="up", value="down", text="Press")
    assert control.message() == {"control_type": "button", "width": "", "text": "Press", "raw": True}
    assert control.adapted() == "up"
    assert given(control, True) == "down"
    control.reset()
    assert control.adapted() == "up"
    assert not control.lasting
    assert UpdateButton().message()["text"] == "Update"
    assert UpdateButton().label == ""


def test_button_bar():
    control = ButtonBar([1, (2, "two")], default="none")
    assert control.message() == {
        "control_type": "button_bar",
        "values": 2,
        "value_labels": ["1", "two"],
        "nrows": 1,
        "ncols": 2,
        "raw": True,
        "width": "",
    }
    assert control.adapted() == "none"
    assert given(control, 1) == 2
    control.reset()
    assert control.adapted() == "none"


def test_html_box():
    assert HtmlBox("<b>x</b>").message() == {"control_type": "html_box", "value": "<b>x</b>"}
    assert HtmlBox().label == ""
    assert given(HtmlBox(), 5) == "5"


def test_a_hundred_choices_in_three_rows():
    control = Selector(list(range(100)), selector_type="button", nrows=3)
    assert (control.nrows, control.ncols) == (3, 34)


def test_a_hundred_buttons_in_three_columns():
    control = ButtonBar(list(range(100)), ncols=3)
    assert (control.nrows, control.ncols) == (34, 3)


def test_rows_and_columns_are_positive():
    with pytest.raises(ValueError, match="nrows must be a positive integer"):
        Selector([1, 2, 3], selector_type="button", nrows=-2)
    with pytest.raises(ValueError, match="ncols must be a positive integer"):
        ButtonBar([1, 2, 3], ncols=0)


def test_rows_are_whole():
    with pytest.raises(TypeError, match="nrows must be a positive integer"):
        Selector([1, 2, 3], selector_type="button", nrows=1.5)


def test_a_grid_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="2 by 2 grid cannot hold 5 buttons"):
        ButtonBar([1, 2, 3, 4, 5], nrows=2, ncols=2)
