"""String decorators, exercises and hidden checks in real kernels."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.integration.test_interacts import Visitor, model, models


@pytest.fixture
def visitor(appliance):
    client = Visitor(appliance.url)
    yield client
    client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def html_of(answer: Any) -> str:
    shown = [c["data"]["text/html"] for c in answer.contents("display_data") if "text/html" in c["data"]]
    return "".join(shown)


def test_functions_expressions_and_magics(visitor):
    answer = visitor.evaluate(
        "def dec(text): print('dec', repr(text))\n"
        "class Named:\n    def tagged(self, tag): return lambda text: print(tag, repr(text))\n"
        "named = [Named()]\n"
        "%dec some text\n"
        "%named[0].tagged('(x)') more\n"
        "for number in range(2):\n    %dec\n    in a block\n\n      indented\n"
        '%%dec "END"\n%dec is text here\nEND\n'
        "%html <b>bold</b>\n"
        "%time pass\n"
        "%str.upper the end",
        modern=True,
    )
    assert answer.reply["status"] == "ok"
    printed = answer.stdout.split("CPU times")[0].splitlines()
    block = "dec 'in a block\\n\\n  indented'"
    assert printed == ["dec 'some text'", "(x) 'more'", block, block, "dec '%dec is text here'"]
    assert html_of(answer) == "<b>bold</b>"
    assert [content["data"]["text/plain"] for content in answer.contents("execute_result")] == ["'THE END'"]


def test_cell_magics_and_decorators_inside_one_another(visitor):
    answer = visitor.evaluate(
        "def nested(code): get_ipython().run_cell(code)\ndef say(text): print('said', text)\n"
        '%nested "A"\nprint(1)\n%say "B"\nx\nB\nA\n'
        "%%capture caught\n%say caught this",
        modern=True,
    )
    assert answer.reply["status"] == "ok"
    assert answer.stdout == "1\nsaid x\n"
    assert visitor.evaluate("print(repr(caught.stdout))", modern=True).stdout == "'said caught this\\n'\n"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("%nothing text", "UsageError: %nothing: there is no function and no magic of that name"),
        ("x = 5\n%x text", "UsageError: %x takes a function, and x is 5"),
        ("%(1 text", None),
        ("%len(1 text", "SyntaxError: the brackets of the string decorator '%len(1 text' are not closed on its line"),
        ("%str.nothing text", "UsageError: %str.nothing: AttributeError:"),
    ],
)
def test_a_wrong_decorator_is_told_and_the_cell_can_be_used(visitor, code, error):
    answer = visitor.evaluate(code, modern=True)
    assert answer.reply["status"] == "error"
    if error is not None:
        assert f"{answer.reply['ename']}: {answer.reply['evalue']}".startswith(error)
    assert visitor.evaluate("print(1)", modern=True).stdout == "1\n"


def test_a_decorator_that_raises_shows_the_visitors_lines(visitor):
    answer = visitor.evaluate("def dec(text):\n    return 1 / len(text)\n\n%%dec\n", modern=True)
    assert answer.reply["ename"] == "ZeroDivisionError"
    traceback = plain("\n".join(answer.reply["traceback"]))
    assert "----> 4 %%dec" in traceback
    assert "----> 2     return 1 / len(text)" in traceback
    assert "appliance" not in traceback
    assert "string_decorator(" not in traceback


EXERCISE = """%exercise
import random
a = random.randint(10, 99)
title = "Sums"
question = f"What is ${a} + 1$?"
answer = a + 1
hints = ["Count one on.", "It is after " + str(a) + "."]
"""


def widget(answer: Any, description: str) -> str:
    return next(key for key, state in models(answer).items() if state.get("description") == description)


def press(visitor: Visitor, button: str) -> Any:
    content = {"comm_id": button, "data": {"method": "custom", "content": {"event": "click"}}}
    return visitor.until_idle(visitor.say("comm_msg", content))


def test_an_exercise_from_question_to_the_next(visitor):
    asked = visitor.evaluate(EXERCISE, modern=True)
    assert asked.reply["status"] == "ok"
    assert "<h3>Sums</h3>" in html_of(asked)
    a = int(re.search(r'math/tex">(\d+) \+ 1<', html_of(asked))[1])
    box, submit, again = model(asked, "TextModel"), widget(asked, "Submit"), widget(asked, "New question")

    def attempt(text: str) -> str:
        visitor.until_idle(visitor.set_widget(box, {"value": text}))
        return html_of(press(visitor, submit))

    assert attempt("0") == "<p><strong>Not correct.</strong> Attempt 1.</p><p>Count one on.</p>"
    assert "does not count: NameError: name &#x27;answer&#x27;" in attempt("answer")
    assert f"Attempt 2.</p><p>It is after {a}.</p>" in attempt("-1")
    assert "<strong>Correct.</strong> 3 attempts" in attempt(f"{a} + 1")
    following = press(visitor, again)
    a = int(re.search(r'math/tex">(\d+) \+ 1<', html_of(following))[1])
    box, submit = model(following, "TextModel"), widget(following, "Submit")
    assert "2 questions solved" in attempt(str(a + 1))
    assert visitor.evaluate("print('a' in dir(), 'question' in dir())", modern=True).stdout == "False False\n"


@pytest.mark.parametrize(
    ("program", "attempts"),
    [
        ("from sympy import *\nx = symbols('x')\nquestion = x**2\nanswer = diff(x**2)", ["x + x", "x"]),
        ("import numpy\nquestion = 'q'\nanswer = numpy.array([[1, 2]])", [[["1", "1 + 1"]], [["1", "1"]]]),
        ("question = 'q'\nanswer = 0.3", ["0.1 + 0.2", "0.31"]),
        ("question = 'q'\nanswer = 'word'", [" word", "a word"]),
        ("question = 'q'\ndef check(attempt):\n    return attempt % 2 == 0, 'even?'", ["4", "5"]),
    ],
)
def test_kinds_of_answers(visitor, program, attempts):
    asked = visitor.evaluate(f"%exercise\n{program}", modern=True)
    assert asked.reply["status"] == "ok", asked.reply
    submit = widget(asked, "Submit")
    boxes = [key for key, state in models(asked).items() if state["_model_name"] == "TextModel"]
    said = []
    for attempt in attempts:
        entries = [attempt] if isinstance(attempt, str) else attempt[0]
        for box, text in zip(boxes, entries, strict=True):
            visitor.until_idle(visitor.set_widget(box, {"value": text}))
        said.append(html_of(press(visitor, submit)))
    assert "<strong>Correct.</strong>" in said[0]
    assert "<strong>Correct.</strong>" not in said[1]
    assert "<strong>Not correct.</strong>" in said[1]


@pytest.mark.parametrize(
    ("program", "ename", "evalue"),
    [
        ("answer = 1", "ExerciseError", "the exercise binds no question: question = '...'"),
        ("question = 'q'", "ExerciseError", "the exercise binds no answer"),
        ("question = 1/0\nanswer = 1", "ZeroDivisionError", "division by zero"),
        ("question = (", "SyntaxError", "'(' was never closed"),
    ],
)
def test_an_exercise_that_cannot_be_made_is_told(visitor, program, ename, evalue):
    answer = visitor.evaluate(f"%exercise\n{program}", modern=True)
    assert answer.reply["ename"] == ename
    assert answer.reply["evalue"].startswith(evalue)
    traceback = plain("\n".join(answer.reply["traceback"]))
    assert "appliance" not in traceback
    if ename == "ZeroDivisionError":
        assert "question = 1/0" in traceback


def test_checks_judge_what_the_program_did(visitor):
    checks = [
        {"title": "double", "code": "assert double(2) == 4"},
        {"title": "of a text", "code": "assert double('a') == 'aa', f\"double('a') is {double('a')!r}\""},
        {"title": "wrong", "code": "missing"},
    ]

    def evaluate(code: str) -> Any:
        content = {"code": code, "user_expressions": {}}
        return visitor.finish(visitor.say("execute_request", content, {"widgets": True, "checks": checks}))

    answer = evaluate("def double(x): return 2 * x if x != 'a' else 'b'\nprint('done')")
    assert answer.reply["status"] == "ok"
    assert answer.stdout == "done\n"
    (shown,) = [content["data"]["text/plain"] for content in answer.contents("display_data")]
    assert shown.splitlines() == [
        "1 of 3 checks passed",
        "✓ double",
        "✗ of a text: double('a') is 'b'",
        "✗ wrong: NameError: name 'missing' is not defined",
    ]
    assert evaluate("1 / 0").contents("display_data") == []
