"""What a kernel makes shorter so that it arrives at all."""

from __future__ import annotations

import pytest

from appliance.kernel import bounds
from appliance.kernel.bounds import fitting_content, fitting_text


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_TEXT_CHARACTERS", 100)
    monkeypatch.setattr(bounds, "MAX_DATA_CHARACTERS", 1000)


def test_a_text_that_fits_is_left_alone():
    assert fitting_text("x" * 100) == "x" * 100


def test_a_long_text_keeps_its_ends_and_tells_its_length():
    text = fitting_text("a" * 5000 + "b" * 5000)
    assert text.startswith("a" * 50 + "\n")
    assert text.endswith("b" * 50 + "\n[This text had 10,000 characters: its middle is missing.]\n")


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("display_data", {"data": {"text/plain": "x" * 100, "image/png": "x" * 900}, "metadata": {}}),
        ("execute_result", {"data": {"application/json": {"a": "x" * 2000}}}),
        ("error", {"ename": "E", "evalue": "e", "traceback": ["x" * 50]}),
        ("execute_reply", {"status": "ok", "user_expressions": {}}),
        ("status", {"execution_state": "busy"}),
        ("display_data", None),
        ("display_data", {"data": None}),
    ],
)
def test_what_fits_is_the_same_object(msg_type, content):
    assert fitting_content(msg_type, content) is content


def test_a_long_representation_as_text_is_shortened_beside_others():
    content = {"data": {"text/plain": "x" * 500, "image/png": "p" * 600}, "metadata": {"a": 1}}
    fitting = fitting_content("execute_result", content)
    assert fitting["data"]["image/png"] == "p" * 600
    assert "500 characters" in fitting["data"]["text/plain"]
    assert fitting["metadata"] == {"a": 1}
    assert content["data"]["text/plain"] == "x" * 500


def test_an_object_too_large_to_be_shown_says_so():
    fitting = fitting_content("display_data", {"data": {"text/plain": "<X>", "text/html": "x" * 2000}})
    assert fitting == {"data": {"text/plain": "<X>\n[text/html of 2,000 characters is too large to be shown.]"}}
    fitting = fitting_content("display_data", {"data": {"image/png": "x" * 1001}})
    assert fitting == {"data": {"text/plain": "[image/png of 1,001 characters is too large to be shown.]"}}


@pytest.mark.parametrize("msg_type", ["error", "execute_reply"])
def test_an_error_keeps_the_ends_of_its_traceback(msg_type):
    lines = [f"line {number}" for number in range(1000)]
    content = {"status": "error", "ename": "E", "evalue": "v" * 500, "traceback": lines}
    fitting = fitting_content(msg_type, content)
    (text,) = fitting["traceback"]
    assert text.startswith("line 0\nline 1\n")
    assert "line 999\n[This text had" in text
    assert fitting["evalue"] == "v" * 50
