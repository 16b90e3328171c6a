"""Variables that are controls, and expressions that follow them."""

from __future__ import annotations

import pytest

from appliance.kernel.interacts.choice_controls import Selector
from appliance.kernel.interacts.color_control import ColorSelector
from appliance.kernel.interacts.dynamic import MAX_LINKS, MAX_SHOWN, Dynamics
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider, MultiSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, InputGrid
from tests.unit.kernel.interacts.fakes import FakeRunner


class Runner(FakeRunner):
    """Knows its interacts, in order."""

    def __init__(self):
        super().__init__()
        self.known = {}

    def face_for(self, interact):
        self.known[interact.id] = interact
        return super().face_for(interact)

    @property
    def interacts(self):
        return list(self.known.values())


@pytest.fixture
def runner():
    return Runner()


def use(runner, interact, **values):
    """Do what the visitor does, and what follows."""
    interact.receive(values)
    runner.run(interact)


def test_a_control_sets_its_variable_and_shows_what_programs_set(runner):
    names = {}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic(t=(1, 10), x=[1, 2, 3, 4])
    slider, selector = runner.interacts
    assert names == {"t": 1.0, "x": 1}
    use(runner, slider, t=4)
    assert names["t"] == 4.0
    names["t"], names["x"] = 7, 3
    dynamics.settle()
    assert (slider.controls["t"].value, selector.controls["x"].value) == (7.0, 2)
    assert ("set", "t", ()) in runner.face.notes
    # shown, and not taken back from the control: the variable is what the program made it
    assert names == {"t": 7, "x": 3}


def test_what_no_program_changed_is_not_shown_again(runner):
    names = {"t": 5}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic("t")
    runner.face.notes.clear()
    dynamics.settle()
    assert runner.face.notes == []


def test_a_variable_is_named_by_itself_or_by_its_name(runner):
    names = {"t": 5, "hidden": 5, "_": 5, "u": 1.5}
    dynamics = Dynamics(runner, names, lambda name: name == "hidden")
    dynamics.dynamic(names["t"])
    dynamics.dynamic("u, new")
    assert [list(interact.controls) for interact in runner.interacts] == [["t"], ["u"], ["new"]]
    assert names["new"] == ""
    names["again"] = names["t"]
    with pytest.raises(ValueError, match="several variables are 5: t, again; write dynamic"):
        dynamics.dynamic(names["t"])
    with pytest.raises(ValueError, match="no variable is 7"):
        dynamics.dynamic(7)
    with pytest.raises(ValueError, match="'_t' is no name"):
        dynamics.dynamic("_t")


def test_a_variable_that_is_there_keeps_its_value_where_the_control_can_hold_it(runner):
    names = {"t": 5, "x": "z"}
    Dynamics(runner, names).dynamic(t=(0, 10), x=["a", "b"])
    assert names == {"t": 5.0, "x": "a"}


def test_a_value_that_a_control_cannot_show_is_told(runner, capsys):
    names = {}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic(t=(0, 10))
    names["t"] = "text"
    dynamics.settle()
    assert (
        "the control of t cannot show its value: a slider is set by a number, not by 'text'" in capsys.readouterr().err
    )
    assert names["t"] == "text"
    dynamics.settle()
    assert capsys.readouterr().err == ""


def test_what_is_written_may_use_the_names_of_the_program(runner):
    names = {"n": 3, "t": 1}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic("t")
    use(runner, runner.interacts[0], t="n * 2")
    assert names["t"] == 6


def test_an_expression_follows_its_variables(runner):
    names = {"t": 2, "other": 0}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic("t")
    dynamics.dynamic_expression("2*t", "t")
    control, shown = runner.interacts
    assert shown.readonly
    assert shown.label("value") == "2*t"
    assert shown.controls["value"].value == "4"
    assert not shown.controls["value"].lasting
    use(runner, control, t="10")
    dynamics.settle()
    assert shown.controls["value"].value == "20"
    names["t"] = "a"
    dynamics.settle()
    assert shown.controls["value"].value == "'aa'"
    del names["t"]
    dynamics.settle()
    assert shown.controls["value"].value == "NameError: name 't' is not defined"


def test_an_expression_is_computed_only_when_one_of_its_variables_is_another(runner):
    computed = []
    names = {"t": 1, "f": lambda t: computed.append(t) or t}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic_expression("f(t)", ["t"], label="f of t")
    dynamics.settle()
    names["t"] = 2
    dynamics.settle()
    dynamics.settle()
    assert computed == [1, 2]
    assert runner.interacts[0].label("value") == "f of t"


def test_hostile_values_are_shown_in_bounds(runner):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    names = {"h": Hostile(), "long": "x" * 100_000}
    dynamics = Dynamics(runner, names)
    dynamics.dynamic_expression("h", "h")
    dynamics.dynamic_expression("long", "long")
    assert runner.interacts[0].controls["value"].value == "RuntimeError in repr()"
    assert len(runner.interacts[1].controls["value"].value) == MAX_SHOWN + 1


@pytest.mark.parametrize("arguments", [(5, "t"), ("t", [5])])
def test_what_is_no_text_is_refused(runner, arguments):
    with pytest.raises(TypeError, match="dynamic_expression takes"):
        Dynamics(runner, {}).dynamic_expression(*arguments)


def test_links_are_let_go_with_their_interacts_and_beyond_the_limit(runner):
    names = {"t": 1}
    dynamics = Dynamics(runner, names)
    for _ in range(MAX_LINKS + 1):
        dynamics.dynamic("t")
    first, second, *_ = runner.interacts
    names["t"] = 2
    dynamics.settle()
    assert first.controls["t"].value == "1"
    assert second.controls["t"].value == "2"
    del runner.known[second.id]
    names["t"] = 3
    dynamics.settle()
    assert second.controls["t"].value == "2"


@pytest.mark.parametrize(
    ("control", "value", "transit"),
    [
        (Checkbox(), 0, False),
        (ExpressionBox(), [1], "[1]"),
        (Selector(["a", "b"]), "b", 1),
        (DiscreteSlider([1, 2, 4]), 4, 2),
        (DiscreteSlider([1, 2, 4], range_slider=True), (2, 4), (1, 2)),
        (ContinuousSlider((0, 10)), 12, 10.0),
        (MultiSlider(2, values=[[1, 2], "ab"], slider_type="discrete"), [2, "b"], [1, 1]),
        (MultiSlider(2), [0.5, 0.25], [0.5, 0.25]),
        (ColorSelector(), "red", "#ff0000"),
        (InputGrid(1, 2), [[3, 4]], [["3", "4"]]),
    ],
)
def test_values_are_found_in_what_controls_can_be_set_to(control, value, transit):
    assert control.in_transit(value) == transit


def test_a_matrix_is_found_by_its_rows():
    numpy = pytest.importorskip("numpy")
    assert InputGrid(1, 2).in_transit(numpy.array([[3, 4]])) == [["3", "4"]]
    assert InputGrid(1, 2).in_transit(numpy.array([3, 4])) == [["3", "4"]]


def test_a_value_that_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="'c' is not one of the values"):
        Selector(["a", "b"]).in_transit("c")
