"""Signatures, layouts, and the object that the interact's name is bound to."""

from __future__ import annotations

import ipywidgets
import pytest

from appliance.kernel.interacts.choice_controls import Button, UpdateButton
from appliance.kernel.interacts.layout import arranged, located
from appliance.kernel.interacts.slider_controls import MultiSlider
from appliance.kernel.interacts.text_controls import InputGrid
from appliance.kernel.interacts.widget_control import WidgetControl
from appliance.kernel.interacts.widget_controls import view_of
from tests.unit.kernel.interacts.fakes import FakeControl, FakeRunner, make


def test_explicit_controls_are_passed_through_kwargs():
    calls = []

    def f(**kwargs):
        calls.append(kwargs)

    proxy = make(f, controls=[("button", FakeControl("clicked"))])
    assert calls == [{"button": "clicked"}]
    assert proxy._state() == {"button": "clicked"}


def test_a_first_parameter_without_default_is_the_proxy():
    calls = []

    def f(proxy, **kwargs):
        calls.append((proxy, kwargs))

    proxy = make(f, controls=[("button", FakeControl("clicked"))])
    assert calls == [(proxy, {"button": "clicked"})]
    assert "kwargs" not in proxy._state()


def test_defaults_and_explicit_controls_go_together():
    calls = []

    def f(multiplier=2, **kwargs):
        calls.append((multiplier, kwargs))

    proxy = make(f, controls=[("value", FakeControl(3))])
    assert calls == [(2, {"value": 3})]
    assert proxy._state() == {"multiplier": "2", "value": 3}


def test_an_explicit_button_is_passed_through_kwargs():
    calls = []

    def f(**kwargs):
        calls.append(kwargs)

    proxy = make(f, controls=[("button", Button(value="clicked"))])
    assert calls == [{"button": ""}]
    assert proxy._state() == {"button": False}


def test_a_name_alone_is_a_text_box():
    proxy = make(lambda **named: None, ["x"])
    assert proxy._state() == {"x": "None"}


@pytest.mark.parametrize(
    ("controls", "sentence"),
    [
        ([("a", 1), ("a", 2)], "duplicate argument 'a'"),
        (["_a"], "invalid control name: _a"),
        ([(1, 2)], "must have a string name, but 1 isn't a string"),
        ([("a", 1, 2)], "a control is a name or a pair"),
    ],
)
def test_wrong_controls_are_refused(controls, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(lambda **named: None, controls)


def test_the_first_run_comes_with_all_controls_changed():
    seen = []

    def f(me, a=1, b=2):
        seen.append(list(me._changed))

    proxy = make(f)
    assert seen == [["a", "b"]]
    assert proxy._changed == []


def test_an_interact_made_again_uses_the_function():
    def f(a=1):
        return a

    assert make(make(f))(7) == 7


def test_only_named_controls_run_it():
    runner = FakeRunner()
    proxy = make(lambda a=1, b=2: None, update=["b"], runner=runner)
    proxy._interact.receive({"a": "3"})
    assert runner.due == []
    assert proxy._changed == ["a"]
    proxy._interact.receive({"b": "3"})
    assert runner.due == [proxy._interact]
    with pytest.raises(ValueError, match="update names 'c'"):
        make(lambda a=1: None, update=["c"])


def test_an_update_button_is_the_only_one_to_run_it():
    runner = FakeRunner()
    proxy = make(lambda a=1, go=UpdateButton(): None, runner=runner)  # noqa: B008 - how interacts are written
    proxy._interact.receive({"a": "3"})
    assert runner.due == []
    proxy._interact.receive({"go": True})
    assert runner.due == [proxy._interact]


def test_auto_update_is_passed():
    seen = []
    make(lambda a=1, auto_update=False: seen.append((a, auto_update)))
    assert seen == [(1, "")]


def test_a_press_lasts_for_one_run():
    seen = []
    proxy = make(lambda b=Button(default=0, value=1): seen.append(b))  # noqa: B008
    proxy._interact.receive({"b": True})
    proxy._update()
    proxy._update()
    assert seen == [0, 1, 0]


def test_values_restored_are_there_in_the_first_run():
    seen = []
    make(lambda a=(0, 10), b=True: seen.append((a, b)), runner=FakeRunner({"a": 4, "gone": 1, "b": False}))
    make(lambda a=(0, 10): seen.append(a), runner=FakeRunner({"a": "no number"}))
    assert seen == [(4.0, False), 0.0]


def test_bookmarks_restored_are_offered_and_those_that_do_not_fit_are_not():
    runner = FakeRunner()
    runner.bookmarks = [
        {"name": "low", "state": {"a": 1}},
        {"name": "of another program", "state": {"z": 1}},
        {"name": 5, "state": {}},
        {"name": "stateless"},
        "none",
    ]
    make(lambda a=(0, 10): None, runner=runner)
    assert [note for note in runner.face.notes if note[0] == "bookmark"] == [("bookmark", "low", {"a": 1.0})]
    runner.bookmarks = "no list"
    make(lambda a=(0, 10): None, runner=runner)


def test_proxy_reads_sets_adds_and_deletes():
    runner = FakeRunner()
    proxy = make(lambda **named: None, [("n", (0, 10)), ("s", "text")], runner=runner)
    assert (proxy.n, proxy.s) == (0.0, "text")
    runner.face.notes.clear()
    proxy.n = 20
    assert proxy.n == 10.0
    proxy.extra = [1, 2]
    del proxy.s
    assert runner.face.notes == [("set", "n", ()), ("added", "extra"), ("removed", "s")]
    assert proxy._changed == ["n", "extra", "s"]
    proxy._state({"n": 3})
    assert proxy._state() == {"n": 3.0, "extra": 0}
    with pytest.raises(AttributeError, match="Interact has no control 's'"):
        proxy.s  # noqa: B018
    with pytest.raises(AttributeError, match="Interact has no control 's'"):
        del proxy.s
    assert {"n", "extra", "_update", "_state", "_bookmark"} < set(dir(proxy))


def test_lists_are_set_by_entry():
    runner = FakeRunner()
    proxy = make(lambda **named: None, [("m", MultiSlider(2)), ("g", InputGrid(2, 2, [1, 2, 3, 4]))], runner=runner)
    runner.face.notes.clear()
    proxy.m[1] = 5
    proxy.g[0][1] = 9
    proxy.g[-1] = [0, "x"]
    assert proxy.m == [0.0, 1.0]
    assert proxy.g == [["1", "9"], ["0", "x"]]
    assert runner.face.notes == [("set", "m", (1,)), ("set", "g", (0, 1)), ("set", "g", (1, 0)), ("set", "g", (1, 1))]
    assert (len(proxy.g), repr(proxy.m)) == (2, "[0.0, 1.0]")
    with pytest.raises(TypeError, match="not by slices"):
        proxy.m[:] = [1, 2]
    with pytest.raises(ValueError, match="this row has 2 entries"):
        proxy.g[0] = [1]


def test_bookmarks():
    runner = FakeRunner()
    proxy = make(lambda a=(0, 10), b=Button(): None, runner=runner)  # noqa: B008
    runner.face.notes.clear()
    proxy._bookmark("now")
    proxy._bookmark("high", {"a": 99})
    proxy._set_bookmarks('[["low", {"a": 1}]]')
    assert runner.face.notes == [
        ("bookmark", "now", {"a": 0.0}),
        ("bookmark", "high", {"a": 10.0}),
        ("bookmark", "low", {"a": 1.0}),
    ]
    with pytest.raises(ValueError, match="the bookmark names 'c'"):
        proxy._bookmark("wrong", {"c": 1})


def test_rows_left_out_come_last_and_output_after_them():
    names = ["a", "b", "c"]
    assert arranged(names, [["b", ("a", 3)], [None]], set(), output=True) == [
        [("b", 1), ("a", 3)],
        [(None, 1)],
        [("c", 1)],
        [("_output", 1)],
    ]
    assert arranged(names, None, {"a"}, output=False) == [[("b", 1)], [("c", 1)]]
    sides = {"top": [["a"]], "bottom": [["b"]], "left": [["c"]]}
    assert arranged(names, sides, set(), output=True) == [[("a", 1)], [("c", 1)], [("_output", 1)], [("b", 1)]]


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ([["a", "a"]], "duplicate item a in layout"),
        ([["z"]], "the layout names 'z'"),
        ([[("a", 0)]], "a width in a layout is a positive number"),
        (["ab"], "a row of a layout is a list"),
        ({"middle": []}, "not 'middle'"),
    ],
)
def test_wrong_layouts_are_refused(layout, sentence):
    with pytest.raises(ValueError, match=sentence):
        arranged(["a", "b"], layout, set(), output=True)


def test_locations():
    assert located(["a"], None) is None
    assert located(["a"], True) == {"a": "#a", "_output": "#_output", "_bookmarks": "#_bookmarks"}
    assert located(["a"], "my-")["a"] == "#my-a"
    assert located(["a"], {"a": ".place"}) == {"a": ".place"}
    with pytest.raises(ValueError, match="locations names 'b'"):
        located(["a"], {"b": "#b"})


def test_a_bookmark_leaves_a_widget_of_the_author_as_it_is():
    slider, runner = ipywidgets.IntSlider(7), FakeRunner()
    proxy = make(lambda w=slider: None, runner=runner)
    proxy._bookmark("later", {"w": 50})
    assert slider.value == proxy.w == 7
    assert ("bookmark", "later", {"w": 50}) in runner.face.notes


def test_only_the_visitor_changes_a_widget_of_the_author_for_its_view():
    slider, heard = ipywidgets.IntSlider(7), []
    control = WidgetControl(slider)
    view_of(control, "", heard.append, readonly=False)
    control.value = 8
    assert (slider.value, heard) == (8, [])
    slider.value = 9
    assert heard == [9]
