"""Where statements end."""

from __future__ import annotations

import pytest

from appliance.kernel.languages import gp, macaulay2, maxima, singular
from appliance.kernel.languages.syntax import Unfinished


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1\n2", ["1\n", "2"]),
        ("f(x) = {\n  x^2;\n}\nf(3)", ["f(x) = {\n  x^2;\n}\n", "f(3)"]),
        ("x = \\\n3", ["x = \\\n3"]),
        ("\n  \n\\\\ a {\n1 \\\\ b\n", ["1 \\\\ b\n"]),
        ("/* {\n */ 1", ["/* {\n */ 1"]),
        ('print("a\\"{")\n2', ['print("a\\"{")\n', "2"]),
        ("", []),
    ],
)
def test_lines_of_gp(code, expected):
    assert gp.GP().statements(code) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1; 2$ 3", ["1;", "2$", "3;"]),
        ('"a;b\nc"; 2;', ['"a;b\nc";', "2;"]),
        ("/* a /* b; */ c; */ 1;", ["/* a /* b; */ c; */ 1;"]),
        ("1; /* the end; */", ["1;"]),
        ("a\\;b; 2;", ["a\\;b;", "2;"]),
        (":lisp (car '(1 2))\n1", [":lisp (car '(1 2))", "1;"]),
        ("1\n:lisp 2", ["1;", ":lisp 2"]),
        (" \n", []),
    ],
)
def test_statements_of_maxima(code, expected):
    assert maxima.Maxima().statements(code) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1\n2", ["1\n", "2"]),
        ("f = x ->\n  x^2\nf 3", ["f = x ->\n  x^2\n", "f 3"]),
        ("if a then\n b else\n c\nd", ["if a then\n b else\n c\n", "d"]),
        ("C = res I\nC^*\nx_*\n1 * -- c\n2", ["C = res I\n", "C^*\n", "x_*\n", "1 * -- c\n2"]),
        ('/// a\n"///\n4 //\n2', ['/// a\n"///\n', "4 //\n2"]),
        ("{1,\n 2}\n-* (\n *- 3", ["{1,\n 2}\n", "-* (\n *- 3"]),
        ("format = 1\nform", ["format = 1\n", "form"]),
        ("-- nothing\n", []),
    ],
)
def test_statements_of_macaulay2(code, expected):
    assert macaulay2.Macaulay2().statements(code) == expected


@pytest.mark.parametrize(
    ("language", "code", "what"),
    [
        (gp.GP(), "f(x) = {\n", "a } is missing"),
        (gp.GP(), '"abc\ndef"', "a string is never closed"),
        (maxima.Maxima(), "(1 + [2", "a ] is missing"),
        (maxima.Maxima(), "/* a /* b */", "a comment is never closed"),
        (maxima.Maxima(), '"abc', "a string is never closed"),
        (maxima.Maxima(), '"abc\\', "a string is never closed"),
        (macaulay2.Macaulay2(), "/// abc", "a string is never closed"),
        (macaulay2.Macaulay2(), "f = x -> (", r"a \) is missing"),
        (macaulay2.Macaulay2(), "1\nx +\n", r"something is missing after \+"),
        (singular.Singular(), "proc f() {", "a } is missing"),
    ],
)
def test_what_is_unfinished_is_named(language, code, what):
    with pytest.raises(Unfinished, match=what):
        language.statements(code)


def test_a_cell_of_singular_is_one_statement():
    assert singular.Singular().statements("int i; // {\n{ i; }") == ['execute(read("{code file}"));']
    assert singular.Singular().statements("// nothing\n") == []
