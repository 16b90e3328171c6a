"""What every language's program is run by, with a shell for the program: marks, interrupts, questions, input."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from appliance.kernel.languages import program
from appliance.kernel.languages.program import NothingToRead, Program, ProgramEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

ASK = 'printf "%s%s%s" "$CELL_ASKS" "a name?" "$CELL_ASKED"; read -r answer < "$CELL_ANSWERS"; echo "<$answer>"'


@pytest.fixture
def shell() -> Iterator[Program]:
    shell = Program(["sh"], lambda one, other: f"printf '%s%s\\n' {one} {other}")
    yield shell
    shell.close()


@pytest.fixture
def shown() -> list[str]:
    return []


def interrupt_soon() -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_what_is_printed_is_shown(shell: Program, shown: list[str]) -> None:
    assert not shell.run("echo 6; printf 7", lambda stream, text: shown.append(text))
    assert "".join(shown) == "6\n7"


def test_a_question_is_answered_and_shown_to_nobody(shell: Program, shown: list[str]) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "Ada\nLovelace"

    assert not shell.run(f"echo begun; {ASK}", lambda stream, text: shown.append(text), answer)
    assert (asked, "".join(shown)) == (["a name?"], "begun\n<+Ada Lovelace>\n")


def test_nobody_answers(shell: Program, shown: list[str]) -> None:
    assert not shell.run(ASK, lambda stream, text: shown.append(text))
    assert "".join(shown) == "<->\n"


def test_an_interrupt_takes_a_question_back(shell: Program, shown: list[str]) -> None:
    interrupt_soon()

    def wait(question: str) -> str:
        signal.pause()
        return "late"

    assert shell.run(f"trap : INT; {ASK}", lambda stream, text: shown.append(text), wait)
    assert "late" not in "".join(shown)
    assert not shell.run(ASK, lambda stream, text: shown.append(text), lambda _: "now")
    assert "".join(shown).endswith("<+now>\n")


def test_an_interrupt_ends_what_runs(shell: Program, shown: list[str]) -> None:
    interrupt_soon()
    assert shell.run("trap : INT; sleep 60", lambda stream, text: shown.append(text))
    assert shell.ask("echo 6") == "6\n"


@pytest.mark.parametrize(
    "statement", ["read -r x", "trap : INT; read -r x; read -r y", "trap : INT; while read -r x; do :; done"]
)
def test_what_reads_the_statements_is_told(shell: Program, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MARK_AGAIN_SECONDS", 0.2)
    with pytest.raises(NothingToRead):
        shell.run(statement, lambda stream, text: None)
    assert shell.ask("echo 6") == "6\n"


def test_what_computes_in_silence_reads_nothing(
    shell: Program, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "MARK_AGAIN_SECONDS", 0.1)
    assert not shell.run("sleep 0.5; echo 6", lambda stream, text: shown.append(text))
    assert "".join(shown) == "6\n"
    assert shell.ask("echo 7") == "7\n"


def test_the_end_is_told(shell: Program) -> None:
    with pytest.raises(ProgramEnded) as caught:
        shell.run("exit 3", lambda stream, text: None)
    assert caught.value.args == (3,)
