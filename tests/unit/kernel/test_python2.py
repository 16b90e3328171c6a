"""What is offered for programs of Python 2."""

from __future__ import annotations

import pytest

from appliance.kernel import python2


def compiles(code: str) -> bool:
    try:
        compile(code, "<cell>", "exec")
    except SyntaxError:
        return False
    return True


def applied(code: str, edits: list[tuple[int, int, list[str]]]) -> str:
    """Return what a page makes of it."""
    lines = code.split("\n")
    for start, end, new in reversed(edits):
        lines[start:end] = new
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("print 'a'", "print('a')"),
        ("x = 2\nprint x, x**2\n", "x = 2\nprint(x, x**2)\n"),
        ("for n in xrange(3):\n    print n,", "for n in range(3):\n    print(n, end=' ')"),
        ("try:\n    pass\nexcept IOError, e:\n    pass", "try:\n    pass\nexcept IOError as e:\n    pass"),
        ("raise ValueError, 'no'", "raise ValueError('no')"),
        ("exec 'a = 1'", "exec('a = 1')"),
        ("if 1 <> 2:\n\tprint `1`", "if 1 != 2:\n\tprint(repr(1))"),
        ("n = 0777\nm = 7L", "n = 0o777\nm = 7"),
        ("# -*- coding: utf-8 -*-\nprint u'ü'", "# -*- coding: utf-8 -*-\nprint('ü')"),
    ],
)
def test_what_python_2_took_is_converted(old, new):
    edits = python2.edits(old, compiles)
    assert edits is not None
    assert applied(old, edits) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("f(x) = x^2\nprint f(3)", "f(x) = x^2\nprint(f(3))"),
        ("R.<t> = QQ[]\nfor n in [1..3]:\n    print t^n, n", "R.<t> = QQ[]\nfor n in [1..3]:\n    print(t^n, n)"),
        ("%time x = 1\nprint x; print 2", "%time x = 1\nprint(x); print(2)"),
        ("f(x) = x\nfor n in (1, 2): print n,\n", "f(x) = x\nfor n in (1, 2): print(n, end=' ')\n"),
        ("f(x) = x\nraise ValueError, 'no'", "f(x) = x\nraise ValueError('no')"),
    ],
)
def test_in_other_notation_lines_are_converted_one_by_one(old, new):
    edits = python2.edits(old, lambda code: True)
    assert edits is not None
    assert applied(old, edits) == new


def test_only_lines_that_change_are_told():
    assert python2.edits("a = 1\nprint a\nb = 2\nc = 3\nprint b", compiles) == [
        (1, 2, ["print(a)"]),
        (4, 5, ["print(b)"]),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "if x = 3: pass",
        "a = [1, 2\nprint a",
        "def f(:",
        "print(1",
        "x = 1",
        "",
        "\0",
        "f(x) = x\nprint('a')\nprinter = 1; print = 2",
        "print 'a'\nif x:\nprint 'b'\nelse f(",
        "print 'a'\n" + "#" * python2.MAX_CHARACTERS,
    ],
)
def test_for_anything_else_there_is_no_offer(code):
    assert python2.edits(code, compiles) is None


def test_what_would_not_run_afterwards_is_not_offered():
    assert python2.edits("print 'a'", lambda code: False) is None


@pytest.mark.parametrize(
    ("code", "division"),
    [("print 1/2", True), ("print 1//2", False), ("from __future__ import division\nprint 1/2", False)],
)
def test_divisions_are_pointed_at(code, division):
    shown = python2.offer(code, [(0, 1, ["print(1/2)"])])
    assert shown[python2.MIME] == {"edits": [[0, 1, ["print(1/2)"]]], "division": division}
    assert "text/plain" in shown
