"""Every control and every rule of guessing, used in the browser: what reaches Python is exactly what it should be.

All controls of a group stand on one page, each in an interact of its own that prints what it received.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

    #: Uses the control within an element.
    Use = Callable[[Locator], None]

#: Before each group: colours, matrices and vectors are among the values.
IMPORTS = "import ipywidgets, numpy, sympy\n"


def keys(*pressed: str, handle: int = 0) -> Use:
    """Move a handle of a slider by keys."""

    def use(control: Locator) -> None:
        control.locator(".noUi-handle").nth(handle).focus()
        for key in pressed:
            control.page.keyboard.press(key)

    return use


def fill(text: str, entry: int = 0) -> Use:
    """Write into a field and leave it."""

    def use(control: Locator) -> None:
        field = control.locator("input[type=text], textarea").nth(entry)
        field.fill(text)
        field.press("Tab")

    return use


def write(text: str) -> Use:
    """Press keys in a field, and do not leave it."""
    return lambda control: control.locator("input[type=text]").press_sequentially(text)


def click(name: str) -> Use:
    """Press a button in the control, or the control itself."""
    text = re.compile(f"^{re.escape(name)}$")
    return lambda control: control.locator("xpath=descendant-or-self::button").filter(has_text=text).click()


def choose(label: str) -> Use:
    return lambda control: control.locator("select").select_option(label)


def pick(label: str) -> Use:
    return lambda control: control.get_by_label(label, exact=True).check()


def tick(control: Locator) -> None:
    control.get_by_role("checkbox").click()


def both(*uses: Use) -> Use:
    def use(control: Locator) -> None:
        for each in uses:
            each(control)

    return use


def nothing(control: Locator) -> None:
    expect(control).to_be_visible()


#: (the control in Python, what the function receives first, what the visitor does, what it receives then)
Row = tuple[str, str, "Use", str]

CONTROLS: list[Row] = [
    ("Checkbox()", "True bool", tick, "False bool"),
    ("Checkbox(False)", "False bool", tick, "True bool"),
    ("InputBox('a')", "'a' str", fill("b c"), "'b c' str"),
    ("InputBox('', keypress=True)", "'' str", write("xy"), "'xy' str"),
    ("InputBox('a', height=3)", "'a' str", fill("b\nc"), r"'b\nc' str"),
    ("InputBox('2', adapter=int)", "2 int", fill("3"), "3 int"),
    ("ExpressionBox('1 + 1')", "2 int", fill("[n**2 for n in range(3)]"), "[0, 1, 4] list"),
    ("ExpressionBox('1')", "1 int", fill("1/0"), "ZeroDivisionError('division by zero') ZeroDivisionError"),
    ("ExpressionBox('1', adapter=str)", "'1' str", fill("2*3"), "'6' str"),
    (
        "InputGrid(2, 2, [[1, 2], [3, 4]])",
        "[[1, 2], [3, 4]] list",
        both(fill("2*5", 1), click("Submit")),
        "[[1, 10], [3, 4]] list",
    ),
    (
        "InputGrid(1, 2, 'a', evaluate=False, element_adapter=str.upper, adapter=tuple)",
        "(['A', 'A'],) tuple",
        both(fill("b", 1), click("Submit")),
        "(['A', 'B'],) tuple",
    ),
    ("Selector([1, 2, 3], default=2)", "2 int", choose("3"), "3 int"),
    ("Selector([(1, 'one'), (2, 'two')], selector_type='radio')", "1 int", pick("two"), "2 int"),
    ("Selector('abc', selector_type='button', ncols=2)", "'a' str", click("c"), "'c' str"),
    ("DiscreteSlider('abc')", "'a' str", keys("ArrowRight"), "'b' str"),
    ("DiscreteSlider([1, 2, 3, 4], 3)", "3 int", keys("End"), "4 int"),
    ("DiscreteSlider([1, 2, 3, 4], range_slider=True)", "(1, 4) tuple", keys("ArrowLeft", handle=1), "(1, 3) tuple"),
    ("ContinuousSlider((0, 10), steps=10)", "0.0 float", keys("ArrowRight"), "1.0 float"),
    ("ContinuousSlider((0, 1), 0.5, stepsize=0.25)", "0.5 float", keys("ArrowRight"), "0.75 float"),
    (
        "ContinuousSlider((0, 10), steps=10, range_slider=True)",
        "(0.0, 10.0) tuple",
        keys("ArrowRight"),
        "(1.0, 10.0) tuple",
    ),
    ("ContinuousSlider((0, 10), adapter=int)", "0 int", keys("End"), "10 int"),
    (
        "MultiSlider(2, interval=[(0, 10), (0, 5)], steps=[10, 5])",
        "[0.0, 0.0] list",
        keys("ArrowUp", handle=1),
        "[0.0, 1.0] list",
    ),
    (
        "MultiSlider(2, values=[['a', 'b'], [1, 2, 3]], slider_type='discrete', default=['b', 1])",
        "['b', 1] list",
        keys("ArrowUp", "ArrowUp", handle=1),
        "['b', 3] list",
    ),
    ("ColorSelector('#ff0000')", "'#ff0000' Color", fill("#00ff00"), "'#00ff00' Color"),
    ("ColorSelector('red', sage_color=False)", "'#ff0000' str", fill("blue"), "'#0000ff' str"),
    ("Button(default=0, value=1, text='Press')", "0 int", click("Press"), "1 int"),
    ("ButtonBar(['left', ('r', 'right')], default=None)", "None NoneType", click("right"), "'r' str"),
    ("HtmlBox('<b>bold</b>')", "'<b>bold</b>' str", nothing, "'<b>bold</b>' str"),
    ("UpdateButton('Go', value=1, default=0)", "0 int", click("Go"), "1 int"),
]

OLDER_FUNCTIONS: list[Row] = [
    ("slider(0, 10, 1)", "0 int", keys("ArrowRight"), "1 int"),
    ("slider(0, 1, 0.25, 0.5)", "0.5 float", keys("ArrowRight"), "0.75 float"),
    ("slider(['a', 'b'])", "'a' str", keys("End"), "'b' str"),
    ("range_slider(0, 10, 1, (2, 5))", "(2, 5) tuple", keys("ArrowRight", handle=1), "(2, 6) tuple"),
    ("input_box(3)", "3 int", fill("4 + 4"), "8 int"),
    ("input_box('a', type=str)", "'a' str", fill("1 + 1"), "'1 + 1' str"),
    ("input_box(3, type=float)", "3.0 float", fill("4"), "4.0 float"),
    ("color_selector((1, 0, 0))", "'#ff0000' Color", fill("#00ff00"), "'#00ff00' Color"),
    ("selector([1, 2, 3], default=2)", "2 int", choose("3"), "3 int"),
    ("selector([(1, 'one'), (2, 'two')], buttons=True)", "1 int", click("two"), "2 int"),
    ("selector(['go'], buttons=True)", "'go' str", click("go"), "'go' str"),
    (
        "input_grid(1, 2, default=[1, 2], to_value=tuple)",
        "([1, 2],) tuple",
        both(fill("3"), click("Submit")),
        "([3, 2],) tuple",
    ),
    (
        "input_grid(2, 1, default=[1, 2], type=float)",
        "[[1.0], [2.0]] list",
        both(fill("3"), click("Submit")),
        "[[3.0], [2.0]] list",
    ),
    ("checkbox(False)", "False bool", tick, "True bool"),
    ("text_control('note')", "'note' str", nothing, "'note' str"),
]

GUESSES: list[Row] = [
    ("'text'", "'text' str", fill("more"), "'more' str"),
    ("True", "True bool", tick, "False bool"),
    ("range(3)", "0 int", click("2"), "2 int"),
    ("range(7)", "0 int", choose("6"), "6 int"),
    ("[7]", "7 int", click("7"), "7 int"),
    ("[(7, 'seven')]", "7 int", click("seven"), "7 int"),
    ("['a', 'b', 'c', 'd', 'e']", "'a' str", click("e"), "'e' str"),
    ("[1, 2, 3, 4, 5, 6]", "1 int", choose("6"), "6 int"),
    ("(n * n for n in range(4))", "0 int", keys("End"), "9 int"),
    ("(0, 10)", "0.0 float", keys("End"), "10.0 float"),
    ("(0, 10, 2)", "0 int", keys("ArrowRight"), "2 int"),
    ("(1, 2, 4, 8)", "1 int", keys("End"), "8 int"),
    ("numpy.array([[1, 2]])", "array([[1, 2]]) ndarray", both(fill("5"), click("Submit")), "array([[5, 2]]) ndarray"),
    ("numpy.array([1.5, 2])", "array([1.5, 2. ]) ndarray", both(fill("5"), click("Submit")), "array([5., 2.]) ndarray"),
    (
        "sympy.Matrix([[1, 2]])",
        "Matrix([[1, 2]]) MutableDenseMatrix",
        both(fill("x/2"), click("Submit")),
        "Matrix([[x/2, 2]]) MutableDenseMatrix",
    ),
    ("Color('red')", "'#ff0000' Color", fill("#0000ff"), "'#0000ff' Color"),
    ("12", "12 int", fill("13"), "13 int"),
    ("None", "None NoneType", fill("'a'"), "'a' str"),
    ("{1: 2}", "{1: 2} dict", fill("{}"), "{} dict"),
    ("(4, (0, 10))", "4.0 float", keys("End"), "10.0 float"),
    ("(2, [1, 2, 3])", "2 int", click("3"), "3 int"),
    ("('label', (0, 10, 1))", "0 int", keys("ArrowRight"), "1 int"),
    ("('label', (4, (0, 10, 1)))", "4 int", keys("ArrowRight"), "5 int"),
    ("(6, ('label', (0, 10, 1)))", "6 int", keys("ArrowRight"), "7 int"),
    ("('label', Checkbox(False))", "False bool", tick, "True bool"),
    ("ipywidgets.IntSlider(3)", "3 int", keys("ArrowRight"), "4 int"),
]


def program(rows: list[Row]) -> str:
    """Return the cell in which each row is an interact with one control, ``c0``, ``c1``, …"""
    parts = [
        f"@interact\ndef f{number}(c{number}={control}):\n    print(repr(c{number}), type(c{number}).__name__)\n"
        for number, (control, *_) in enumerate(rows)
    ]
    return IMPORTS + "".join(parts)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(CONTROLS, id="controls"),
        pytest.param(OLDER_FUNCTIONS, id="older functions"),
        pytest.param(GUESSES, id="guesses"),
    ],
)
def test_values_reach_python(page, site, rows):
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate(program(rows))
    results = cell.output.locator(".widget-output")
    expect(results).to_have_count(len(rows))
    for number, (control, before, use, after) in enumerate(rows):
        result = results.nth(number)
        shown = f"row {number}: {control}"
        expect(result, shown).to_have_text(f"{before}\n")
        use(cell.output.locator(f".interact-c{number}"))
        expect(result, f"{shown}, after its use").to_have_text(f"{after}\n")


def test_labels_stand_beside_their_controls(page, site):
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate(
        "@interact\ndef f(own=(0, 10), given=('My label', 'text'), empty=InputBox('', label='')):\n    print(own)\n"
        "@interact(automatic_labels=False)\ndef g(silent=Checkbox(), told=Checkbox(label='told to')):\n"
        "    print(silent)"
    )
    output = cell.output
    expect(output.get_by_label("My label")).to_have_value("text")
    expect(output.get_by_text("own", exact=True)).to_be_visible()
    expect(output.get_by_text("empty", exact=True)).to_have_count(0)
    expect(output.get_by_text("silent", exact=True)).to_have_count(0)
    expect(output.get_by_label("told to")).to_be_checked()


def test_no_change_runs_an_interact_that_has_a_button_for_it(page, site):
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate("@interact\ndef f(n=5, auto_update=False):\n    print('n is', n, repr(auto_update))")
    result = cell.output.locator(".widget-output")
    expect(result).to_have_text("n is 5 ''\n")
    fill("6")(cell.output.locator(".interact-n"))
    page.wait_for_timeout(500)
    expect(result).to_have_text("n is 5 ''\n")
    cell.output.get_by_role("button", name="Update").click()
    expect(result).to_have_text("n is 6 ''\n")


def test_variables_are_controls_and_expressions_follow_them(page, site):
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate(
        "t = 3\ndynamic(t=(0, 10, 1), word=['ab', 'cd'])\ndynamic_expression('word * t', 't, word')\n"
        "@interact\ndef f(seven=Button(text='Seven', value=True, default=False)):\n"
        "    global t\n    if seven:\n        t = 7\n    print('t is', t)"
    )
    output = cell.output
    shown, slider = output.get_by_label("word * t"), output.locator(".interact-t .widget-readout")
    expect(shown).to_have_value("'ababab'")
    expect(shown).to_be_disabled()
    keys("ArrowRight")(output.locator(".interact-t"))
    expect(shown).to_have_value("'abababab'")
    click("cd")(output.locator(".interact-word"))
    expect(shown).to_have_value("'cdcdcdcd'")
    output.get_by_role("button", name="Seven").click()
    expect(slider).to_have_text("7")
    expect(shown).to_have_value("'cdcdcdcdcdcdcd'")
    expect(output.get_by_text("t is 7")).to_be_visible()
