"""Errors explained for learners."""

from __future__ import annotations

import linecache

import pytest

from appliance.kernel import explanation

NAME = "<cell of the test>"


def explained(code, language="en", **names):
    """Run code that fails, and return what is said of it."""
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    try:
        exec(compile(code, NAME, "exec"), names)
    except BaseException as exc:  # noqa: BLE001
        traceback = exc.__traceback__
        while traceback is not None and traceback.tb_frame.f_code.co_filename != NAME and traceback.tb_next:
            traceback = traceback.tb_next
        return explanation.explained(exc, traceback, language)
    raise AssertionError("it did not fail")


def test_a_misspelt_name_is_found():
    parts = explained("length = 3\nprint(lenght)")
    assert "`length`" in parts["suggest"]
    assert "`lenght`" in parts["cause"]
    assert "NameError" in parts["generic"]
    assert parts["language"] == "en"


def test_a_syntax_error_is_explained():
    parts = explained("a = [1, 2\nprint(a)")
    assert "bracket" in parts["cause"]


@pytest.mark.parametrize(
    ("language", "known", "word"),
    [("fr", "fr", "par zéro"), ("es", "es", "por cero"), ("de", "en", "by zero"), ("xx", "en", "by zero")],
)
def test_the_visitors_language_is_spoken_where_there_is_one(language, known, word):
    parts = explained("1 / 0", language)
    assert parts["language"] == known
    assert word in parts["generic"]


def test_hostile_errors_end_in_no_explanation():
    class Hostile(Exception):
        def __str__(self):
            raise SystemExit(3)

        __repr__ = __str__

    parts = explained("raise Hostile()", Hostile=Hostile)
    assert parts is None or "language" in parts


def test_tracebacks_afterwards_read_their_lines_as_before():
    before = linecache.getlines
    explained("1 / 0")
    assert linecache.getlines is before


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"explain": "fr"}, "fr"),
        ({"explain": "zh-Hans"}, "zh"),
        ({"explain": "EN"}, "en"),
        ({"explain": True}, None),
        ({"explain": "../../etc"}, None),
        ({}, None),
    ],
)
def test_a_client_asks_by_a_language(metadata, language):
    assert explanation.wanted(metadata) == language


def test_it_is_displayed_as_text_as_well():
    shown = explanation.display({"suggest": "a", "generic": "b", "language": "en"})
    assert shown["text/plain"] == "a\nb"
