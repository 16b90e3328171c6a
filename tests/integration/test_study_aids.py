"""What a kernel tells a page beside the output: conversions of Python 2, explanations, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from appliance.kernel import explanation, python2, variables
from tests.integration.test_interacts import Visitor

if TYPE_CHECKING:
    from tests.integration.sage_client import Answer


@pytest.fixture
def visitor(appliance):
    client = Visitor(appliance.url)
    yield client
    client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def evaluate(visitor: Visitor, code: str, *, silent: bool = False, **metadata: Any) -> Answer:
    content = {"code": code, "silent": silent}
    return visitor.finish(visitor.say("execute_request", content, {"widgets": True, **metadata}))


def told(answer: Answer, kind: str) -> Any:
    found = [content["data"][kind] for content in answer.contents("display_data") if kind in content["data"]]
    assert len(found) < 2
    return found[0] if found else None


def test_a_program_of_python_2_can_be_converted(visitor):
    answer = evaluate(visitor, "for n in xrange(2):\n    print n, 1/2")
    assert told(answer, python2.MIME) == {
        "edits": [[0, 2, ["for n in range(2):", "    print(n, 1/2)"]]],
        "division": True,
    }
    kinds = [message["msg_type"] for message in answer.messages]
    assert kinds.index("error") < kinds.index("display_data") < kinds.index("execute_reply")
    assert answer.stderr == ""
    with_magic = told(evaluate(visitor, "%time x = 1\nprint x"), python2.MIME)
    assert with_magic == {"edits": [[1, 2, ["print(x)"]]], "division": False}
    assert told(evaluate(visitor, "a = [1"), python2.MIME) is None
    assert told(evaluate(visitor, "1/0"), python2.MIME) is None


def test_an_error_is_explained_when_the_page_asks_for_that(visitor):
    code = "def total(values):\n    return sum(value)\ntotal([1])"
    assert told(evaluate(visitor, code), explanation.MIME) is None
    parts = told(evaluate(visitor, code, explain="en"), explanation.MIME)
    assert "`values`" in parts["suggest"] + parts["cause"]
    french = told(evaluate(visitor, code, explain="fr-CA"), explanation.MIME)
    assert french["language"] == "fr"
    assert told(evaluate(visitor, "1 + 1", explain="en"), explanation.MIME) is None
    syntax = told(evaluate(visitor, "a = (1", explain="en"), explanation.MIME)
    assert "parenthesis" in syntax["cause"]


def test_variables_are_listed_when_the_page_asks_for_them(visitor):
    hostile = "class Hostile:\n    def __repr__(self):\n        while True: pass\nh = Hostile()"
    code = f"import os\nn, text = 5, 'a'\ndef f(): pass\n{hostile}"
    assert told(evaluate(visitor, code), variables.MIME) is None
    listed = {"h": "(takes too long to show)", "n": "5", "text": "'a'"}
    shown = told(evaluate(visitor, "", silent=True, variables=True), variables.MIME)
    assert {each["name"]: each["value"] for each in shown["variables"]} == listed
    failed = evaluate(visitor, "m = 6; 1/0", variables=True)
    assert [each["name"] for each in told(failed, variables.MIME)["variables"]] == ["h", "m", "n", "text"]
    # what the kernel brings along is a variable once the program binds it
    bound = told(evaluate(visitor, "Button = 1", variables=True), variables.MIME)
    assert "Button" in {each["name"] for each in bound["variables"]}
