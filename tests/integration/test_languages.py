"""Kernels of GAP, GP, Maxima, Octave and Singular in the sandbox: what each must do, through the real appliance."""

from __future__ import annotations

import base64
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

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

THERE = [name for name, language in LANGUAGES.items() if shutil.which(language.program)]

each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in THERE, reason=f"{language.program} is not installed"))
        for name, language in LANGUAGES.items()
    ],
)


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    toml = "[pool]\nready = 0\nstart_seconds = 60.0\nlease_wait_seconds = 60.0\n[environment.python]\npreload = []\n"
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


@each
def test_much_output_comes_whole(client: SageClient, name: str) -> None:
    code = {
        "gap": 'for i in [1..3000] do Print(i, "\\n"); od;',
        "gp": "for(i = 1, 3000, print(i))",
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


@pytest.mark.parametrize(
    ("name", "code", "kinds"),
    [
        ("octave", "plot(1:10); figure; plot(1:5)", ["image/svg+xml", "image/svg+xml"]),
        ("octave", "surf(peaks(60))", ["image/png"]),
        ("maxima", "plot2d(sin(x), [x, -5, 5])$", ["image/png"]),
    ],
)
def test_figures_are_shown(client: SageClient, name: str, code: str, kinds: list[str]) -> None:
    answer = client.run(code)
    assert (answer.reply["status"], answer.stdout, answer.stderr) == ("ok", "", "")
    pictures = [content["data"] for content in answer.contents("display_data")]
    assert [next(iter(picture)) for picture in pictures] == kinds
    for picture in pictures:
        if "image/png" in picture:
            assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
        else:
            assert "<svg" in picture["image/svg+xml"]
    assert client.run(LANGUAGES[name].hello).contents("display_data") == []
