"""Which lines are string decorators, what their texts are, and what a wrong one is told."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from appliance.kernel.string_decorators import StringDecorators, parsed, resolved

TRANSFORM = StringDecorators({"time", "matplotlib"}, {"time", "html", "bash"})


class Shell:
    """Stands for IPython in the calls that were made of decorators; keeps what was called with what."""

    def __init__(self, names):
        self.names, self.calls = names, []

    def string_decorator(self, expression, evaluate, words):
        return lambda text: self.calls.append((expression, words, text))


def calls(cell):
    """Return (expression, words, text) of each decorator of a cell that holds nothing else."""
    lines = cell.splitlines(keepends=True)
    transformed = TRANSFORM(lines)
    assert len(transformed) == len(lines)
    shell = Shell({})
    exec("".join(transformed), {"get_ipython": lambda: shell})
    return shell.calls


@pytest.mark.parametrize(
    ("cell", "made"),
    [
        ("%dec some text \n", [("dec", "", "some text")]),
        ('%dec it\'s \\n "quoted"\n', [("dec", "", 'it\'s \\n "quoted"')]),
        ("%dec\na\n  b\n", [("dec", "", "a\n  b")]),
        ("%%dec\na\n", [("dec", "", "a")]),
        ("%%dec words\na\n", [("dec", "words", "a")]),
        ("%dec", [("dec", "", "")]),
        ('%dec "END"\na\n END \nx = 1\n', [("dec", "", "a")]),
        ('%%dec "END"\na\nEND\n%dec b\n', [("dec", "", "a"), ("dec", "", "b")]),
        ("%'END' dec\na\nEND\n", [("dec", "", "a")]),
        ('%"END" dec words\na\nEND\n', [("dec", "words", "a")]),
        ('%%dec "END"\na\n', [("dec", "", "a")]),
        ('%dec "no such line"\n', [("dec", "", '"no such line"')]),
        ("%a.b[0](')', \"(\")[f(1)] text\n", [("a.b[0](')', \"(\")[f(1)]", "", "text")]),
        ("%outer\n%inner\ntext\n", [("outer", "", "%inner\ntext")]),
        ('%outer "A"\n%inner "B"\nx\nB\nA\n%dec y\n', [("outer", "", '%inner "B"\nx\nB'), ("dec", "", "y")]),
        ("if 1:\n    %dec\n    a\n      b\n\n    c\nx = 1\n", [("dec", "", "a\n  b\n\nc")]),
        ("if 1:\n\t%dec a\n\tx = 1\n", [("dec", "", "a")]),
        ("%html <b>\n", [("html", "", "<b>")]),
        ("x = 1\n%%bash -e\nls\n", [("bash", "-e", "ls")]),
        ("%time(1) text\n", [("time(1)", "", "text")]),
        ("x = '''\n%dec\n'''\n%dec a\n", [("dec", "", "a")]),
        ('x = "it\'s (" # [\n%dec a\n', [("dec", "", "a")]),
        ("x = 'an \\' escape ('\n%dec a\n", [("dec", "", "a")]),
        ("x = ['\\\\', '(']\n%dec a\n", [("dec", "", "a")]),
        ("# C:\\\n%dec a\n", [("dec", "", "a")]),
        ("x = 1 # C:\\\n%dec a\n", [("dec", "", "a")]),
    ],
)
def test_texts(cell, made):
    assert calls(cell) == made


@pytest.mark.parametrize(
    "cell",
    [
        "x = (5\n%3)\n",
        "x = 5 \\\n%3\n",
        "s = '''\n%dec text\n'''\n",
        "print('%d' %\n3)\n",
        "%time 1 + 1\n",
        "%matplotlib inline\n",
        "%%time\n%dec text\n",
        "%%html\n<b>\n",
        "%dec?\n",
        "%foo-bar\n",
        "% dec\n",
        "!echo '%dec\n",
    ],
)
def test_what_is_no_decorator_stays(cell):
    lines = cell.splitlines(keepends=True)
    assert TRANSFORM(lines) == lines


def test_a_shell_command_or_magic_opens_nothing():
    assert calls("if 0:\n    pass\n%dec a\n") == [("dec", "", "a")]
    lines = ["!echo '''(\n", "%time '''(\n", "%dec a\n"]
    assert TRANSFORM(lines)[2].startswith("get_ipython().string_decorator('dec'")


def test_brackets_must_be_closed_on_the_line():
    with pytest.raises(SyntaxError, match=r"brackets of the string decorator '%dec\(1' are not closed on its line"):
        parsed("  %dec(1\n")


def test_many_lines_take_no_time():
    lines = ["x = (\n", *["%1\n"] * 50_000, ")\n", "%dec" + "(" * 50_000 + ")" * 50_000 + "\n"]
    assert TRANSFORM(lines)[-1].startswith("get_ipython()")


def fail():
    raise NameError("name 'dec' is not defined", name="dec")


def test_a_function_comes_before_a_cell_magic():
    assert resolved("len", lambda: len, print) is len
    assert resolved("dec", fail, print) is print
    assert resolved("dec", lambda: 5, print) is print


@pytest.mark.parametrize(
    ("evaluate", "sentence"),
    [
        (fail, "%dec: there is no function and no magic of that name"),
        (lambda: 5, "%dec takes a function, and dec is 5"),
        (lambda: (1).missing, "%dec: AttributeError: 'int' object has no attribute 'missing'"),
    ],
)
def test_a_wrong_decorator_is_named(evaluate, sentence):
    with pytest.raises(UsageError) as told:
        resolved("dec", evaluate, None)
    assert str(told.value) == sentence
