"""What a program prints, parted into output and error."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.kernel.languages import gap, gp, julia, kernel, macaulay2, maxima, octave, singular
from appliance.kernel.languages.syntax import Unfinished


@pytest.fixture
def shown():
    return []


def errors(language, shown):
    return kernel.Errors(language, lambda stream, text: shown.append((stream, text)))


def test_what_is_no_error_is_shown_as_it_comes(shown):
    heard = errors(octave.Octave(), shown)
    heard.take("stdout", "x = ")
    heard.take("stderr", "warning: w\nwarn")
    heard.take("stdout", "3\n")
    assert shown == [("stdout", "x = "), ("stderr", "warning: w\n"), ("stdout", "3\n")]
    assert heard.end() == ""
    assert shown[3:] == [("stderr", "warn")]


def test_an_error_that_comes_in_pieces_is_kept_whole(shown):
    heard = errors(octave.Octave(), shown)
    for text in ("warning: w\nerr", "or: mine\nerror: called", " from\n"):
        heard.take("stderr", text)
    heard.take("stdout", "out")
    assert heard.end() == "error: mine\nerror: called from\n"
    assert shown == [("stderr", "warning: w\n"), ("stdout", "out")]


def test_words_of_an_error_within_a_line_are_none(shown):
    heard = errors(octave.Octave(), shown)
    heard.take("stderr", "no error: here\n")
    assert heard.end() == ""
    assert shown == [("stderr", "no error: here\n")]


def test_much_is_kept_within_bounds(shown, monkeypatch):
    monkeypatch.setattr(kernel, "MAX_ERROR_CHARACTERS", 20)
    monkeypatch.setattr(kernel, "MAX_LINE_CHARACTERS", 10)
    heard = errors(octave.Octave(), shown)
    heard.take("stderr", "." * 11)
    assert shown == [("stderr", "." * 11)]
    for _ in range(9):
        heard.take("stderr", "\nerror: 1234567890")
    assert len(heard.end()) == 20


@pytest.mark.parametrize(
    ("language", "text", "is_error"),
    [
        (gap.GAP(), "Error, Variable: 'x' must have a value\n", True),
        (gap.GAP(), "Syntax error: ; expected in stream:1\n", True),
        (gap.GAP(), "Syntax warning: Unbound global variable\n", False),
        (gp.GP(), "  ***   at top-level: 1/0\n", True),
        (gp.GP(), "  *** Warning: new stack size = 16000000 (15.259 Mbytes).\n", False),
        (gp.GP(), "  ***   user warning: mine\n", False),
        (julia.Julia(), "ERROR: UndefVarError: foo not defined\n", True),
        (julia.Julia(), "┌ Warning: no ERROR: here\n", False),
        (macaulay2.Macaulay2(), "stdio:8:1:(3): error: no method found\n", True),
        (macaulay2.Macaulay2(), "stdio:6:11:(3):[1]: error: division by zero\n", True),
        (macaulay2.Macaulay2(), "/usr/share/Macaulay2/x.m2:3:4:(1):[5]: error: mine\n", True),
        (macaulay2.Macaulay2(), "stdio:1:1:(3): warning: mine\n", False),
        (macaulay2.Macaulay2(), "-- error: no\n", False),
        (maxima.Maxima(), " -- an error. To debug this try: debugmode(true);\n", True),
        (maxima.Maxima(), "incorrect syntax: Missing )\n", True),
        (maxima.Maxima(), "an error\n", False),
        (singular.Singular(), "   ? `foo` is undefined\n", True),
        (singular.Singular(), "// ** redefining i\n", False),
    ],
)
def test_each_language_knows_its_errors(language, text, is_error, shown):
    heard = errors(language, shown)
    heard.take(language.error_stream, text)
    assert (heard.end() == text, shown == [(language.error_stream, text)]) == (is_error, not is_error)


def test_gap_tells_the_line_of_the_cell_and_not_what_it_forgot():
    said = "Syntax error: expression expected in stream:2\n\0\x7f\n  ^\n"
    assert gap.GAP().explain(None, said) == "Syntax error: expression expected in line 2"


def test_macaulay2_leaves_out_lines_that_nobody_can_count():
    said = "stdio:70:11:(3):[1]: error: division by zero\n--   of 1\n"
    assert macaulay2.Macaulay2().explain(None, said) == "error: division by zero\n--   of 1\n"


def test_drawings_of_macaulay2_are_as_wide_as_they_are_high():
    svg = '<svg class="M2Svg" viewBox="0 0 9 9" style="width:14.5em;height:14.5em;" preserveAspectRatio="none">'
    assert macaulay2.sized(svg) == '<svg class="M2Svg" viewBox="0 0 9 9" width="290" height="290">'


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ploth(x = 0, 1, f(x))", 'cell_figure(plothexport("svg",x = 0, 1, f(x)))'),
        ('f(g) = ploth (t = 0, 1, g("(", t)); 2', 'f(g) = cell_figure(plothexport("svg",t = 0, 1, g("(", t))); 2'),
        (
            "plothraw([1],[2]); plotdraw(0)",
            'cell_figure(plothrawexport("svg",[1],[2])); cell_figure(plotexport("svg",0))',
        ),
        ("ploth(a, b, ploth(c))", 'cell_figure(plothexport("svg",a, b, cell_figure(plothexport("svg",c))))'),
        ('plot(x = 0, 1, x); myploth(1); print("ploth(1)") \\\\ ploth(2)', None),
        ("ploth(x = 0", None),
    ],
)
def test_gp_keeps_what_would_open_a_window(code, expected):
    assert gp.with_figures(code) == (expected or code)


def test_definitions_of_gp_may_begin_in_the_next_line():
    assert gp.GP().statements("f(x)=\n  x^2\nf(2)") == ["f(x)=\n  x^2\n", "f(2)"]
    assert gp.GP().statements('x == y\nprint("=")\n') == ["x == y\n", 'print("=")\n']
    with pytest.raises(Unfinished, match="after ="):
        gp.GP().statements("f(x)= \\\\ nothing")


def test_maxima_tells_the_calls_and_not_the_lines_that_nobody_can_count():
    class Asked:
        def ask(self, statement):
            assert statement == "errormsg()$"
            return "division by 0\n"

    said = "#0: g(x=0) (stdin line 2)\n#1: h(x=0) (file.mac line 3)\n -- an error. To debug this try: ...\n"
    assert maxima.Maxima().error.match(said)
    assert maxima.Maxima().explain(Asked(), said) == "division by 0\n#0: g(x=0)\n#1: h(x=0) (file.mac line 3)\n"


def test_gp_asks_whoever_runs_the_cell():
    assert gp.with_questions('x = input() + input ( ); print("input()") \\\\ input()') == (
        'x = cell_input() + cell_input ( ); print("input()") \\\\ input()'
    )
    assert gp.with_questions("myinput(1) + input") == "myinput(1) + input"


def test_pictures_are_taken_once(tmp_path):
    (tmp_path / "code").write_text("plot")
    (tmp_path / "1.svg").write_text("<svg/>")
    (tmp_path / "2.png").write_bytes(b"\x89PNG")
    (tmp_path / "3.html").write_text("<b>x</b>")
    assert kernel.pictures_in(str(tmp_path)) == [
        {"image/svg+xml": "<svg/>"},
        {"image/png": "iVBORw=="},
        {"text/html": "<b>x</b>"},
    ]
    assert kernel.pictures_in(str(tmp_path)) == []
    assert (tmp_path / "code").exists()


def test_an_interrupt_between_two_statements_is_an_error_of_the_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Between(kernel.Language):
        def statements(self, code):
            raise KeyboardInterrupt

    class BetweenKernel(kernel.LanguageKernel):
        LANGUAGE = Between()

        def _start(self):
            """Start no program."""

    with ThreadPoolExecutor(1) as thread:  # Playwright's loop may be this thread's
        reply = thread.submit(lambda: asyncio.run(BetweenKernel().do_execute("1", silent=True))).result()
    assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
