"""Kernels of languages in the sandbox: what each must do, through the real appliance."""

from __future__ import annotations

import base64
import pathlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration import kernel_tests
from tests.integration.running import Appliance
from tests.integration.sage_client import SageClient

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Language:
    """A language's program, and what to say to it."""

    program: str
    hello: str
    computes: tuple[str, str]
    #: Two statements on lines of their own, of which the first fails, and a word of the error.
    fails: tuple[str, str]
    unfinished: str
    completes: tuple[str, str]
    runs_on: str
    ends: str


LANGUAGES = {
    "gap": Language(
        "gap",
        'Print("hello, world\\n");',
        ("f := n -> n^2;;\nf(7);\nOrder(SymmetricGroup(4));", "49\n24\n"),
        ('1/0;\nPrint("on");', "divisor"),
        "f := function(x)",
        ("x := SymmetricGr", "SymmetricGroup"),
        'Print("begun\\n"); while true do od;',
        "FORCE_QUIT_GAP();",
    ),
    "gp": Language(
        "gp",
        'print("hello, world")',
        ("f(n) = {\n  n^2;\n}\nf(7)\n%+1", "49\n50\n"),
        ('1/0\nprint("on")', "impossible inverse"),
        "f(x) = {",
        ("x = eulerp", "eulerphi"),
        'print("begun")\nwhile(1,)',
        "quit",
    ),
    "julia": Language(
        "julia",
        'println("hello, world")',
        ("f(n) =\n  n^2\nprintln(f(7)); f(2); # a comment\n3!= 4", "49\ntrue\n"),
        ('sqrt(-1)\nprintln("on")', "DomainError"),
        "f(x) = (",
        ("x = eachli", "eachline"),
        'println("begun"); while true; sleep(0.01); end',
        "exit()",
    ),
    "macaulay2": Language(
        "M2",
        'print "hello, world"',
        ("f = n ->\n  n^2;\nprint f 7\nprint ideal(1,\n  2); -- a comment", "49\nideal (1, 2)\n"),
        ('1/0\nprint "on"', "division by zero"),
        "f = x -> (",
        ("x = idealiz", "idealizer"),
        'print "begun"; while true do 1',
        "exit 3",
    ),
    "maxima": Language(
        "maxima-sage",
        'print("hello, world")$',
        ("f(n) := n^2$ f(7);\nfactor(x^2-1)", "49\n(x-1)*(x+1)\n"),
        ('1/0;\nprint("on")$', "negative exponent"),
        "(1 + 2",
        ("x: integra", "integrate"),
        'print("begun")$ while true do 1$',
        "quit();",
    ),
    "octave": Language(
        "octave-cli",
        'disp("hello, world")',
        ("function y = f(n)\n  y = n^2;\nend\nf(7)\n% a comment\n!true", "ans = 49\nans = 0\n"),
        ('error("mine");\ndisp("on")', "mine"),
        "if true",
        ("y = cosi", "cosint"),
        'disp("begun"); while true; end',
        "exit",
    ),
    "singular": Language(
        "Singular",
        'printf("hello, %s", "world");',
        ("ring r = 0,(x,y),dp; ideal i = x2-1,xy;\ngroebner(i);", "_[1]=y\n_[2]=x2-1\n"),
        ('nothing;\nprintf("on");', "undefined"),
        "proc f(int n) {",
        ("ringl", "ringlist"),
        'printf("begun"); while (1) {}',
        "quit;",
    ),
}

R_KERNEL = pathlib.Path("/usr/share/jupyter/kernels/ir/kernel.json")

THERE = [name for name, language in LANGUAGES.items() if shutil.which(language.program)]

each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in THERE, reason=f"{language.program} is not installed"))
        for name, language in LANGUAGES.items()
    ],
)


def only(name: str) -> pytest.MarkDecorator:
    missing = pytest.mark.skipif(name not in THERE, reason=f"{LANGUAGES[name].program} is not installed")
    return pytest.mark.parametrize("name", [pytest.param(name, marks=missing)])


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    toml = "[pool]\nready = 0\nstart_seconds = 60.0\nlease_wait_seconds = 60.0\n[environment.python]\npreload = []\n"
    if R_KERNEL.exists():
        toml += '[environment.r]\nkernelspec = "ir"\n'
    for name in THERE:
        toml += f'[environment.{name}]\nkernelspec = "{name}"\nready = 1\n'
    running = Appliance(toml)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def clients(appliance: Appliance) -> Iterator[dict[str, SageClient]]:
    opened: dict[str, SageClient] = {}
    yield opened
    for client in opened.values():
        client.close()


@pytest.fixture
def client(appliance: Appliance, clients: dict[str, SageClient], name: str) -> SageClient:
    """One kernel of a language, which all tests of it share: what one leaves behind is seen by the next."""
    if name not in clients:
        clients[name] = SageClient(appliance.url, environment=name, seconds=90)
    return clients[name]


def reply_of(client: SageClient, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    msg_id = client.send(kind, content)
    while True:
        message = client.receive()
        if message["msg_type"] == kind.replace("request", "reply") and message["parent_header"]["msg_id"] == msg_id:
            reply: dict[str, Any] = message["content"]
            return reply


@each
def test_it_says_who_it_is(client: SageClient, name: str) -> None:
    reply = reply_of(client, "kernel_info_request", {})
    assert reply["language_info"]["name"] == name
    assert reply["language_info"]["version"][0].isdigit()


@each
def test_it_prints_that_and_nothing_else(client: SageClient, name: str) -> None:
    answer = client.run(LANGUAGES[name].hello)
    assert answer.stdout.rstrip() == "hello, world"
    assert answer.stderr == ""
    assert answer.reply["status"] == "ok"
    states = [content["execution_state"] for content in answer.contents("status")]
    assert states == ["busy", "idle"]


@each
def test_it_computes_statement_by_statement(client: SageClient, name: str) -> None:
    code, expected = LANGUAGES[name].computes
    answer = client.run(code)
    assert (answer.reply["status"], answer.stdout, answer.stderr) == ("ok", expected, "")


@each
def test_nothing_prints_nothing(client: SageClient, name: str) -> None:
    answer = client.run("  \n")
    assert (answer.reply["status"], answer.stdout) == ("ok", "")


@each
def test_an_error_ends_the_cell_and_not_the_kernel(client: SageClient, name: str) -> None:
    code, word = LANGUAGES[name].fails
    answer = client.run(code)
    assert answer.reply["status"] == "error"
    assert answer.stdout + answer.stderr == ""
    (error,) = answer.contents("error")
    assert word in "\n".join(error["traceback"])
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


@each
def test_what_is_unfinished_is_told_and_does_not_wait(client: SageClient, name: str) -> None:
    assert client.run(LANGUAGES[name].unfinished).reply["status"] == "error"
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


@each
def test_it_completes_names(client: SageClient, name: str) -> None:
    code, expected = LANGUAGES[name].completes
    reply = reply_of(client, "complete_request", {"code": code, "cursor_pos": len(code)})
    assert expected in reply["matches"]
    assert code[: reply["cursor_start"]] + expected == code[: code.rindex(expected[:4])] + expected
    assert all(len(match.split()) == 1 for match in reply["matches"])


@each
def test_an_interrupt_ends_what_runs_and_keeps_the_rest(client: SageClient, name: str) -> None:
    client.run(LANGUAGES[name].computes[0])
    msg_id = client.start(LANGUAGES[name].runs_on)
    while (message := client.receive())["msg_type"] != "stream":
        pass
    assert message["content"]["text"].startswith("begun")
    began = time.monotonic()
    client.send("interrupt_request", {}, "control")
    answer = client.finish(msg_id)
    assert time.monotonic() - began < 2
    assert answer.reply["ename"] == "KeyboardInterrupt"
    assert answer.stderr == ""
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


#: A question of a program, the answer to it, and what is printed in the end.
QUESTIONS = {
    "gp": ("x = input();\nprint(x + 1)", "?", "6 * 7", "43\n"),
    "maxima": ('said: read("n?")$\nprint(said + 1)$', "n?", "6 * 7", "43 \n"),
    "octave": ('x = input("n? ");\ndisp(x + 1)', "n? ", "6 * 7", "43\n"),
}


@pytest.mark.parametrize(
    ("name", "code", "question", "answer", "printed"),
    [
        *((name, *question) for name, question in QUESTIONS.items()),
        ("octave", 's = input("who? ", "s")', "who? ", "Ädä", "s = Ädä\n"),
        ("maxima", "kill(n)$ integrate(x^n, x);", "Is n equal to -1?", "no;", "x^(n+1)/(n+1)\n"),
    ],
)
def test_a_program_may_ask(client: SageClient, code: str, question: str, answer: str, printed: str) -> None:
    msg_id = client.send("execute_request", {"code": code, "silent": False, "allow_stdin": True})
    while (message := client.receive())["msg_type"] != "input_request":
        assert message["msg_type"] not in ("execute_reply", "error"), message
    assert question in message["content"]["prompt"]
    client.send("input_reply", {"value": answer}, "stdin")
    told = client.finish(msg_id)
    assert (told.reply["status"], told.stderr) == ("ok", "")
    assert told.stdout == printed


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_nobody_answers_is_an_error(client: SageClient, name: str) -> None:
    answer = client.run(QUESTIONS[name][0])
    assert answer.reply["status"] == "error"
    assert "nobody is there to answer" in "\n".join(answer.reply["traceback"])
    assert answer.stdout + answer.stderr == ""
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_interrupt_takes_a_question_back(client: SageClient, name: str) -> None:
    code, _, answer, printed = QUESTIONS[name]
    for wanted in ("KeyboardInterrupt", None):
        msg_id = client.send("execute_request", {"code": code, "silent": False, "allow_stdin": True})
        while client.receive()["msg_type"] != "input_request":
            pass
        if wanted:
            client.send("interrupt_request", {}, "control")
        else:
            client.send("input_reply", {"value": answer}, "stdin")
        told = client.finish(msg_id)
        assert told.reply.get("ename") == wanted
        assert told.stdout.strip() == ("" if wanted else printed.strip())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gap", "ReadLine(InputTextUser());"),
        ("macaulay2", 'read "n? "'),
        ("singular", 'string s = read("");'),
    ],
)
def test_what_reads_the_standard_input_is_told_so(client: SageClient, name: str, code: str) -> None:
    answer = client.run(code)
    assert answer.reply["ename"] == "EOFError"
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


@each
def test_a_long_silence_is_no_wait_for_input(client: SageClient, name: str) -> None:
    code = {
        "gap": 't := Runtime();;\nwhile Runtime() < t + 1500 do od;\nPrint("on\\n");',
        "gp": 't = getwalltime();\nwhile(getwalltime() < t + 1500,);\nprint("on")',
        "julia": 'sleep(1.5)\nprintln("on")',
        "macaulay2": 't = currentTime();\nwhile currentTime() < t + 2 do 1;\nprint "on"',
        "maxima": 't: absolute_real_time()$\nwhile absolute_real_time() < t + 2 do 1$\nprint("on")$',
        "octave": 'pause(1.5)\ndisp("on")',
        "singular": 'int silent = system("sh", "sleep 1.5");\nprintf("on");',
    }[name]
    answer = client.run(code)
    assert (answer.reply["status"], answer.stdout.rstrip(), answer.stderr) == ("ok", "on", "")
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


@each
def test_much_output_comes_whole(client: SageClient, name: str) -> None:
    code = {
        "gap": 'for i in [1..3000] do Print(i, "\\n"); od;',
        "gp": "for(i = 1, 3000, print(i))",
        "julia": "for i in 1:3000 println(i) end",
        "macaulay2": "for i from 1 to 3000 do print i",
        "maxima": "for i: 1 thru 3000 do print(i)$",
        "octave": 'for i = 1:3000, printf("%d\\n", i); end',
        "singular": "int k; for (k = 1; k <= 3000; k++) { k; }",
    }[name]
    assert client.run(code).stdout.split() == [str(number) for number in range(1, 3001)]


@each
def test_a_program_that_ends_is_told_and_started_again(client: SageClient, name: str) -> None:
    answer = client.run(LANGUAGES[name].ends)
    assert answer.reply["ename"] == "ProgramEnded"
    assert "started again" in answer.reply["evalue"]
    assert client.run(LANGUAGES[name].hello).stdout.rstrip() == "hello, world"


#: What jupyter_kernel_test is given, beside what `LANGUAGES` has. What is not here, a language does not have: Maxima
#: and Singular print errors where they print all else, GAP and Singular draw nothing.
SAMPLES: dict[str, dict[str, Any]] = {
    "gap": {
        "file_extension": ".g",
        "code_stderr": 'PrintTo("*errout*", "x\\n");',
        "completion_samples": [{"text": "x := SymmetricGroupC", "matches": ["SymmetricGroupCons"]}],
    },
    "gp": {
        "file_extension": ".gp",
        "completion_samples": [{"text": "x = eulerph", "matches": ["eulerphi"]}],
        "code_stderr": 'warning("mine")',
        "code_display_data": [{"code": "ploth(x = 0, 6, sin(x));", "mime": "image/svg+xml"}],
    },
    "macaulay2": {
        "file_extension": ".m2",
        "code_stderr": 'stderr << "x" << endl;',
        "code_display_data": [
            {"code": 'needsPackage "VectorGraphics"; Circle{[0, 0], 50}', "mime": "image/svg+xml"},
        ],
    },
    "julia": {
        "file_extension": ".jl",
        "code_stderr": 'println(stderr, "x")',
        "code_display_data": [{"code": 'HTML("<b>x</b>")', "mime": "text/html"}],
    },
    "maxima": {
        "file_extension": ".mac",
        "completion_samples": [{"text": "x: integrate_u", "matches": ["integrate_use_rootsof"]}],
        "code_display_data": [{"code": "plot2d(x, [x, 0, 1])$", "mime": "image/png"}],
    },
    "octave": {
        "file_extension": ".m",
        "code_stderr": 'warning("mine")',
        "code_display_data": [{"code": "plot(1:3)", "mime": "image/svg+xml"}],
    },
    "python": {
        "file_extension": ".py",
        "code_hello_world": 'print("hello, world")',
        "code_stderr": "import sys; print('x', file=sys.stderr)",
        "completion_samples": [{"text": "enumer", "matches": ["enumerate"]}],
        "complete_code_samples": ["1", "def f(x):\n  return x\n\n"],
        "incomplete_code_samples": ["def f(x):"],
        "invalid_code_samples": ["import = 7q"],
        "code_generate_error": "1/0",
        "code_execute_result": [{"code": "6*7", "result": "42"}],
        "code_display_data": [{"code": "from IPython.display import HTML; display(HTML('x'))", "mime": "text/html"}],
        "code_inspect_sample": "zip",
        "code_clear_output": "from IPython.display import clear_output; clear_output()",
    },
    "r": {
        "language_name": "R",
        "file_extension": ".r",
        "code_hello_world": 'cat("hello, world\\n")',
        "code_stderr": 'message("x")',
        "completion_samples": [{"text": "Sys.timez", "matches": ["Sys.timezone"]}],
        "complete_code_samples": ["1", "function(x) x"],
        "incomplete_code_samples": ["f <- function(x) {"],
        "invalid_code_samples": ["1 1"],
        "code_generate_error": "stop('mine')",
        "code_display_data": [{"code": "6*7", "mime": "text/plain"}, {"code": "plot(1:3)", "mime": "image/png"}],
    },
    "singular": {"file_extension": ".sing"},
}

#: Their kernels cannot tell whether a cell is finished: only their programs can, which do not wait for the rest.
CANNOT_TELL = ("gap", "julia", "octave")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"{name} is not installed"))
        for name in SAMPLES
        for there in [name in THERE or name == "python" or (name == "r" and R_KERNEL.exists())]
    ],
)
def test_it_passes_jupyter_s_own_test_of_kernels(client: SageClient, name: str) -> None:
    samples: dict[str, Any] = {"language_name": name}
    if name in LANGUAGES:
        language = LANGUAGES[name]
        text, match = language.completes
        samples |= {
            "code_hello_world": language.hello,
            "completion_samples": [{"text": text, "matches": [match]}],
            "code_generate_error": language.fails[0],
        }
        if name not in CANNOT_TELL:
            samples |= {
                "complete_code_samples": [language.hello, language.computes[0]],
                "incomplete_code_samples": [language.unfinished],
            }
    samples |= SAMPLES[name]
    ran, failed = kernel_tests.run(client, **samples)
    assert failed == []
    expected = {
        "code_hello_world": "execute_stdout",
        "code_stderr": "execute_stderr",
        "completion_samples": "completion",
        "complete_code_samples": "is_complete",
        "code_generate_error": "error",
        "code_execute_result": "execute_result",
        "code_display_data": "display_data",
        "code_inspect_sample": "inspect",
        "code_clear_output": "clear_output",
    }
    assert ran == sorted(["test_kernel_info", *(f"test_{test}" for key, test in expected.items() if key in samples)])


@only("macaulay2")
def test_macaulay2_names_its_values(client: SageClient, name: str) -> None:
    answer = client.run('2 + 3\n"a" | "b"')
    number = int(answer.stdout.partition(" ")[0][1:])
    assert answer.stdout == f"o{number} = 5\n\no{number + 1} = ab\n"
    assert client.run(f"print(o{number} + 2)").stdout == "7\n"


@only("maxima")
def test_maxima_prints_by_a_format_without_telling_what_it_loads(client: SageClient, name: str) -> None:
    assert client.run('printf(true, "~d of ~a~%", 3, "x")$').stdout == "3 of x\n"


@only("maxima")
def test_maxima_shows_plots_and_not_the_names_of_their_files(client: SageClient, name: str) -> None:
    answer = client.run('p: plot2d(x, [x, 0, 1]);\nplot3d(x*y, [x, 0, 1], [y, 0, 1]);\n["a", "b"];\nlength(p);')
    assert (answer.stdout, len(answer.contents("display_data"))) == ('["a","b"]\n2\n', 2)
    answer = client.run('plot2d(x, [x, 0, 1], [png_file, "/tmp/mine.png"]);')
    assert (answer.reply["status"], answer.stdout, answer.contents("display_data")) == ("ok", "", [])


@only("maxima")
def test_maxima_has_no_debugger_and_needs_no_compiler(client: SageClient, name: str) -> None:
    for code, said in (("debugmode(true);", "no debugger"), ("to_lisp();", ":lisp")):
        assert said in client.run(code).reply["evalue"]
    assert client.run("reset()$ 1/a;").stdout == "1/a\n"
    answer = client.run("f(x) := 1/x$ f(0);")
    assert answer.stdout == ""
    assert answer.reply["traceback"] == ["expt: undefined: 0 to a negative exponent.", "#0: f(x=0)"]


@pytest.mark.parametrize(
    ("name", "code", "kinds"),
    [
        ("octave", "plot(1:10); figure; plot(1:5)", ["image/svg+xml", "image/svg+xml"]),
        ("octave", "surf(peaks(60))", ["image/png"]),
        ("gp", "ploth(x = 0, 6, sin(x));\nplothraw([1, 2], [3, 4])", ["image/svg+xml", "image/svg+xml"]),
        ("macaulay2", 'needsPackage "VectorGraphics";\nCircle{[0, 0], 50}', ["image/svg+xml"]),
        ("maxima", "plot2d(sin(x), [x, -5, 5]);", ["image/png"]),
        ("maxima", "for k: 1 thru 3 do plot2d(sin(k*x), [x, 0, 1])$", ["image/png"] * 3),
        ("maxima", "draw2d(explicit(x^2, x, -1, 1))$", ["image/png"]),
        ("maxima", "load(draw)$ draw3d(terminal = screen, explicit(x*y, x, -1, 1, y, -1, 1))$", ["image/png"]),
    ],
)
def test_figures_are_shown(client: SageClient, name: str, code: str, kinds: list[str]) -> None:
    answer = client.run(code)
    assert (answer.reply["status"], answer.stderr) == ("ok", "")
    assert not answer.stdout or (name, answer.stdout.endswith(" : Circle\n")) == ("macaulay2", True)
    pictures = [content["data"] for content in answer.contents("display_data")]
    assert [next(iter(picture)) for picture in pictures] == kinds
    for picture in pictures:
        if "image/png" in picture:
            assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
        else:
            assert "<svg" in picture["image/svg+xml"]
    assert client.run(LANGUAGES[name].hello).contents("display_data") == []
