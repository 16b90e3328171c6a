"""What an exercise needs, how answers are judged, and what an attempt may name."""

from __future__ import annotations

import math
import types

import pytest

from appliance.kernel.exercise import ExerciseError, NotReadable, duration, read, same, usable, with_formulas
from appliance.kernel.interacts.choice_controls import Selector
from appliance.kernel.interacts.slider_controls import ContinuousSlider
from appliance.kernel.interacts.text_controls import ExpressionBox, InputBox, InputGrid


class Ambiguous:
    def __bool__(self):
        raise ValueError("more than one truth")


class Callable:
    def __call__(self):
        return 5


Callable.__module__ = "library"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_attempts_hints_and_time():
    clock = Clock()
    question = read({"question": "q", "answer": 7, "hints": ["one", "two $x$"]}, clock)
    assert question.judge(1) == "<p><strong>Not correct.</strong> Attempt 1.</p><p>one</p>"
    assert 'two <script type="math/tex">x</script>' in question.judge(2)
    assert "two" in question.judge(3)
    clock.now += 64.2
    assert question.judge(7) == "<p><strong>Correct.</strong> 4 attempts, 1 min 5 s.</p>"
    clock.now += 100
    assert (question.solved, question.attempts, question.seconds) == (True, 4, pytest.approx(64.2))
    assert question.judge(7) == "<p><strong>Correct.</strong></p>"
    assert question.judge(8) == "<p><strong>Not correct.</strong></p>"


def test_check_takes_one_or_two_and_may_comment():
    one = read({"question": "q", "check": lambda attempt: (attempt > 3, "<i>why</i>")}, Clock())
    assert one.judge(4) == "<p><strong>Correct.</strong> 1 attempt, 0 s.</p><p><i>why</i></p>"
    two = read({"question": "q", "answer": 10, "check": lambda attempt, right: abs(attempt - right) < 2})
    assert "Not correct" in two.judge(5)
    assert "Correct." in two.judge(11)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({}, "binds no question"),
        ({"question": "q"}, "binds no answer"),
        ({"question": "q", "check": 5}, "check is a function of an attempt, not 5"),
        ({"question": "q", "check": lambda a, b, c: True}, "check takes an attempt"),
        ({"question": "q", "answer": 1, "hints": 5}, "hints is a list of at most 100 texts, not int"),
        ({"question": "q", "answer": 1, "hints": ["x"] * 101}, "hints is a list of at most 100"),
    ],
)
def test_what_is_missing_is_named(names, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        read(names)


def test_what_check_returns_wrongly_is_the_authors_error():
    with pytest.raises(ExerciseError, match="check must return True or False"):
        read({"question": "q", "check": lambda attempt: None}).judge(1)
    with pytest.raises(ExerciseError, match="neither true nor false"):
        read({"question": "q", "check": lambda attempt: Ambiguous()}).judge(1)


def test_an_attempt_that_has_no_value_does_not_count():
    question = read({"question": "q", "answer": 3})
    with pytest.raises(NotReadable, match="NameError: name 'y'"):
        question.judge(NameError("name 'y' is not defined"))
    failing = read({"question": "q", "check": lambda attempt: attempt + 1})
    with pytest.raises(NotReadable, match="TypeError: can only concatenate"):
        failing.judge("text")
    assert (question.attempts, failing.attempts) == (0, 0)


@pytest.mark.parametrize(
    ("attempt", "right", "expected"),
    [
        (3, 3, True),
        (3, 4, False),
        (0.1 + 0.2, 0.3, True),
        (0.31, 0.3, False),
        ("text", 0.3, False),
        (" word ", "word", True),
        ("other", "word", False),
        ({1, 2}, {2, 1}, True),
        (math.nan, 1.0, False),
    ],
)
def test_same(attempt, right, expected):
    assert same(attempt, right) is expected


@pytest.mark.parametrize(
    ("answer", "kind", "value"),
    [
        (42, ExpressionBox, ""),
        ("word", InputBox, ""),
        (True, Selector, 0),
        ([3, (0, 10)], ContinuousSlider, 0.0),
        (["b", ["a", "b"]], Selector, 0),
        ([5, ""], ExpressionBox, ""),
        ([[[1, 2]], InputGrid(1, 2)], InputGrid, [["0", "0"]]),
    ],
)
def test_the_control_does_not_tell_the_answer(answer, kind, value):
    control = read({"question": "q", "answer": answer}).control
    assert isinstance(control, kind)
    assert control.value == value


def test_attempts_may_name_what_was_imported_and_no_value_of_the_program():
    names = {
        "answer": 5,
        "secret": 5,
        "polynomial": Callable(),
        "x": types.SimpleNamespace(is_Symbol=True),
        "v": types.SimpleNamespace(is_symbol=lambda: True),
        "w": types.SimpleNamespace(is_symbol=lambda: False),
        "sqrt": math.sqrt,
        "math": math,
        "own": eval("lambda: 5", {"__name__": "__main__"}),
    }
    assert set(usable(names, {"before": 1})) == {"before", "x", "v", "sqrt", "math"}


def test_formulas():
    assert with_formulas(r"a $x_1$ b \$5 and \$6") == 'a <script type="math/tex">x_1</script> b $5 and $6'
    assert with_formulas("$$x$$") == '<script type="math/tex; mode=display">x</script>'
    assert with_formulas("5 $ and 6 $ more") == "5 $ and 6 $ more"
    assert "</script>x" not in with_formulas("$</script>x$")


def test_durations():
    assert [duration(seconds) for seconds in (0.2, 59.2, 61)] == ["1 s", "1 min 0 s", "1 min 1 s"]
