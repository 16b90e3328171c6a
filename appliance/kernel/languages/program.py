"""A program that reads statements and prints: started, fed, heard, interrupted.

Statements go in by a pipe, so that the program neither echoes nor edits nor prompts; what it prints comes by two
pseudoterminals, so that it prints at once and errors are told from results. A run is over when a *mark* appears, a word
that the program prints because the statement after the visitor's tells it to. The mark is written in two halves
in that statement: a program that quotes the statement in a message does not print the mark.

After an interrupt the program may have thrown away what it had read ahead, so another mark is asked for.

A program that reads from its standard input gets the mark. So functions of a language that ask a person something do it
otherwise: they print a *question*, its text between two words, and read the answer, a line that begins with ``+``, or
``-`` alone when there is nobody to answer, from a pipe of its own; environment variables (`QUESTION`) name all three.
Whatever else reads is found out: a mark that comes before the one that it took is told as `NothingToRead`.
"""

from __future__ import annotations

import array
import codecs
import contextlib
import fcntl
import os
import pty
import re
import secrets
import selectors
import signal
import struct
import subprocess
import termios
import time
import tty
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Width of lines; programs with pagers take all that follows for one page.
COLUMNS = 100
ROWS = 65_535

#: Bytes read at once.
CHUNK_BYTES = 65_536

#: Seconds in which what a program prints bit by bit becomes one text.
GATHER_SECONDS = 0.002

#: Seconds between interrupts of a program that goes on.
INTERRUPT_AGAIN_SECONDS = 0.4

#: Seconds of silence after which a program that took the mark is sent another: it may have read it as its input.
MARK_AGAIN_SECONDS = 1.0

#: Longest answer to a question: a pipe holds it, whether the program reads it or not.
MAX_ANSWER_BYTES = 60_000

#: Variables of a program that say what to print before a question and after it, and where the answer is read.
QUESTION = ("CELL_ASKS", "CELL_ASKED", "CELL_ANSWERS")

STDOUT, STDERR = "stdout", "stderr"


class ProgramEnded(Exception):
    """The program ended; the argument is its exit status."""


class NothingToRead(Exception):
    """The program read from its standard input, where only statements come."""


class Program:
    """A running program.

    ``mark`` makes a statement that prints two texts one after the other, and then ``after_mark``.
    """

    def __init__(
        self,
        argv: Sequence[str],
        mark: Callable[[str, str], str],
        after_mark: str = "\n",
    ) -> None:
        """Start ``argv``. Raises `OSError`."""
        self._mark, self._after_mark = mark, after_mark
        self._word = f"cell_{secrets.token_hex(12)}_"
        self._number = 0
        self._question = (f"{self._word}asks_", f"_{self._word}asked\n")
        output, output_end = _terminal()
        errors, errors_end = _terminal()
        self._answers = os.pipe()
        os.set_blocking(self._answers[0], False)
        question = dict(zip(QUESTION, (*self._question, f"/proc/self/fd/{self._answers[0]}"), strict=True))
        try:
            # ipykernel ignores SIGINT between cells, and a program would inherit that; a handler it does not.
            with _interrupts():
                self._process = subprocess.Popen(  # noqa: S603 - a fixed program
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=output_end,
                    stderr=errors_end,
                    env={**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(ROWS), **question},
                    bufsize=0,
                    start_new_session=True,
                    pass_fds=self._answers[:1],
                )
        finally:
            os.close(output_end)
            os.close(errors_end)
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._input = self._stdin.fileno()
        os.set_blocking(self._input, False)
        self._streams = {output: _Stream(STDOUT), errors: _Stream(STDERR)}
        self._output = self._streams[output]

    def run(
        self, statement: str, show: Callable[[str, str], None], answer: Callable[[str], str | None] | None = None
    ) -> bool:
        """Have ``statement`` run; give each text printed, with the name of its stream, to ``show``.

        ``answer``: returns a person's answer to a question, or None; may raise `KeyboardInterrupt`.
        Return whether it was interrupted. Raises `ProgramEnded`, `NothingToRead`.
        """
        self._answer = answer
        with contextlib.suppress(BlockingIOError):  # an answer that a program did not read since it was interrupted
            os.read(self._answers[0], CHUNK_BYTES)
        self._pending = f"{statement}\n{self._next_mark()}".encode()
        with _interrupts() as wake, selectors.DefaultSelector() as selector:
            for fd in self._streams:
                selector.register(fd, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            return self._exchange(selector, wake, show)

    def ask(self, statement: str) -> str:
        """Return what ``statement`` prints. Raises `ProgramEnded`, `NothingToRead`."""
        said: list[str] = []
        self.run(statement, lambda stream, text: said.append(text) if stream == STDOUT else None)
        return "".join(said)

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stdin.close()
        for fd in (*self._streams, *self._answers):
            os.close(fd)

    def _next_mark(self) -> str:
        self._number += 1
        return self._mark(self._word, f"{self._number}_end") + "\n"

    def _printed_mark(self, number: int) -> str:
        return f"{self._word}{number}_end{self._after_mark}"

    def _exchange(self, selector: selectors.BaseSelector, wake: int, show: Callable[[str, str], None]) -> bool:
        interrupted = reads = False
        writing = False
        first = self._number
        while True:
            if bool(self._pending) != writing:
                writing = not writing
                if writing:
                    selector.register(self._input, selectors.EVENT_WRITE)
                else:
                    selector.unregister(self._input)
            events = selector.select(INTERRUPT_AGAIN_SECONDS if interrupted or reads else MARK_AGAIN_SECONDS)
            if any(key.fd == wake for key, _ in events) and signal.SIGINT in os.read(wake, CHUNK_BYTES):
                interrupted = True
                self._interrupt()
            elif not events and (interrupted or reads):
                self._interrupt()
            elif not events and self._took_all():
                # It computes and has read ahead, or reads: in that case it takes the second mark as well.
                reads = self._number > first and self._printed_mark(first) not in self._output.text
                self._pending += b"" if reads else self._next_mark().encode()
            for key, _ in events:
                if key.fd == self._input:
                    self._write()
                elif key.fd != wake:
                    time.sleep(GATHER_SECONDS)
                    self._read(key.fd, show)
            question = self._output.take_question(*self._question)
            if question is not None and self._interrupted_while_asking(question):
                interrupted = True
                self._interrupt()
            if self._output.take_mark(self._printed_mark(self._number)):
                taken = any(self._printed_mark(at) not in self._output.text for at in range(first, self._number))
                self._finish(show)
                if taken and not interrupted:
                    raise NothingToRead
                return interrupted

    def _took_all(self) -> bool:
        """Return whether the program has read all that was sent."""
        left = array.array("i", [0])
        fcntl.ioctl(self._input, termios.FIONREAD, left)
        return not self._pending and left[0] == 0

    def _interrupted_while_asking(self, question: str) -> bool:
        """Answer a question; return whether an interrupt came instead."""
        answer, interrupted = None, False
        try:
            with _exceptions():
                answer = self._answer(question) if self._answer is not None else None
        except KeyboardInterrupt:
            interrupted = True
        line = "-" if answer is None else "+" + " ".join(answer.splitlines())
        os.write(self._answers[1], line.encode()[:MAX_ANSWER_BYTES] + b"\n")
        return interrupted

    def _interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        # A statement of several lines that was cut is ended by the first empty one.
        self._pending += f"\n{self._next_mark()}".encode()

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self._input, self._pending) :]
        except BlockingIOError:
            pass
        except BrokenPipeError as exc:
            raise ProgramEnded(self._process.wait()) from exc

    def _read(self, fd: int, show: Callable[[str, str], None]) -> None:
        stream = self._streams[fd]
        try:
            data = os.read(fd, CHUNK_BYTES)
        except OSError:  # EIO: nobody has the other end any more
            data = b""
        if not data and stream is self._output:
            self._finish(show)
            raise ProgramEnded(self._process.wait())
        if not data:
            del self._streams[fd]
            os.close(fd)
            return
        stream.add(data)
        if text := stream.shown(self._word):
            show(stream.name, text)

    def _finish(self, show: Callable[[str, str], None]) -> None:
        """Show what was printed before the mark and is still on its way or held back."""
        for fd, stream in self._streams.items():
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):  # nothing there, or nobody
                while stream is not self._output and (data := os.read(fd, CHUNK_BYTES)):
                    stream.add(data)
            os.set_blocking(fd, True)
            if text := stream.rest(self._word, self._after_mark):
                show(stream.name, text)


class _Stream:
    """What came from one terminal and was not yet shown."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""

    def add(self, data: bytes) -> None:
        self.text += self._decoder.decode(data)

    def shown(self, word: str) -> str:
        """Return the text before what is or may become a mark, once."""
        at = self.text.find(word)
        if at < 0:
            at = len(self.text) - _overlap(self.text, word)
        text, self.text = self.text[:at], self.text[at:]
        return text

    def take_question(self, before: str, after: str) -> str | None:
        """Return the text of a question that came whole, once."""
        shown, _, rest = self.text.partition(before)
        question, asked, rest = rest.partition(after)
        if not asked:
            return None
        self.text = shown + rest
        return question

    def take_mark(self, mark: str) -> bool:
        """Return whether the mark came, and forget it."""
        if mark not in self.text:
            return False
        self.text = self.text.partition(mark)[0]
        return True

    def rest(self, word: str, after: str) -> str:
        """Return all that is left but marks of earlier interrupts."""
        text, self.text = re.sub(rf"{word}\d+_end{re.escape(after)}", "", self.text), ""
        return text


def _overlap(text: str, word: str) -> int:
    """Return how many characters at the end of ``text`` could be the beginning of ``word``."""
    return next((length for length in range(len(word) - 1, 0, -1) if text.endswith(word[:length])), 0)


def _terminal() -> tuple[int, int]:
    """Return both ends of a pseudoterminal that changes nothing."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return ours, theirs


@contextlib.contextmanager
def _exceptions() -> Iterator[None]:
    """Have SIGINT raise `KeyboardInterrupt`, within `_interrupts`."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    wakeup = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _interrupts() -> Iterator[int]:
    """Give a descriptor that becomes readable at SIGINT, instead of an exception in the midst of something."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, before)
        os.close(read)
        os.close(write)
