"""What the kernels of all these languages share: a Jupyter kernel in front of a `Program`.

A language is a `Language`: how its program is started, how statements are cut and sent, how an error looks, what it
can complete. What a program prints is shown as it comes, but for errors, which become the error of the cell; the first
error ends it.
"""

from __future__ import annotations

import base64
import os
import pathlib
import re
import tempfile
from typing import TYPE_CHECKING, Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from appliance.kernel.languages.program import STDERR, NothingToRead, Program, ProgramEnded
from appliance.kernel.languages.syntax import Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Completions offered at most.
MAX_COMPLETIONS = 200

#: Longest text of an error.
MAX_ERROR_CHARACTERS = 20_000

#: A line that is longer is none with which an error begins.
MAX_LINE_CHARACTERS = 1000


class Language:
    """A language and its program; what a module of a language overrides."""

    #: As in kernelspecs.
    name: str
    title: str
    file_extension: str
    mimetype: str = "text/plain"
    argv: Sequence[str]
    #: What a mark is followed by.
    after_mark = "\n"
    #: The beginning of an error, at that of a line (`re.MULTILINE`), and the stream on which errors come.
    error: re.Pattern[str]
    error_stream: str = STDERR
    #: Whether empty lines before all else that a cell prints are shown.
    blank_lines_first = True
    #: Whether `statements` raises `Unfinished`; else only the program itself can tell.
    tells_unfinished = True
    #: What a name to complete looks like, up to the cursor.
    word: re.Pattern[str] = re.compile(r"[A-Za-z_]\w*$")

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints two texts one after the other and ends the line."""
        raise NotImplementedError

    def statements(self, code: str) -> list[str]:
        """Return what to send of a cell, one after the other. Raises `Unfinished`."""
        raise NotImplementedError

    def text(self, code: str) -> str:
        """Return what the file of a cell holds."""
        return code

    def prepare(self, program: Program, directory: str) -> str:
        """Set the program up, which may draw into ``directory``; return its version."""
        raise NotImplementedError

    def explain(self, program: Program, said: str) -> str:
        """Return the text of an error of which the program said ``said``."""
        return said

    def completions(self, program: Program, word: str) -> list[str]:
        """Return names that begin with ``word``."""
        raise NotImplementedError

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return what the last cell drew, each as a MIME bundle."""
        return []


class LanguageKernel(Kernel):
    """The Jupyter kernel of a language, which `run` puts into ``LANGUAGE``."""

    LANGUAGE: Language
    implementation = "cell-appliance"
    implementation_version = "1"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._directory = tempfile.mkdtemp(prefix="cell-")
        self._code_file = os.path.join(self._directory, "code")
        self._start()

    def _start(self) -> None:
        language = self.LANGUAGE
        self._program = Program(language.argv, language.mark, language.after_mark)
        version = language.prepare(self._program, self._directory).strip()
        self.banner = f"{language.title} {version}"
        self.language_info = {
            "name": language.name,
            "version": version,
            "mimetype": language.mimetype,
            "file_extension": language.file_extension,
        }

    async def do_execute(  # type: ignore[override]
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Any = None,
        allow_stdin: bool = False,
    ) -> dict[str, Any]:
        """Run a cell up to its first error."""
        language = self.LANGUAGE
        begun = language.blank_lines_first
        # as only ipykernel's kernel of Python does by itself
        self._allow_stdin = allow_stdin

        def show(stream: str, text: str) -> None:
            nonlocal begun
            text = text if begun else text.lstrip("\n")
            begun = begun or bool(text)
            if text and not silent:
                self.send_response(self.iopub_socket, "stream", {"name": stream, "text": text})

        try:
            for statement in self._sent(code):
                errors = Errors(language, show)
                interrupted = self._program.run(statement, errors.take, self.raw_input if allow_stdin else None)
                said = errors.end()
                if interrupted:
                    raise KeyboardInterrupt
                if said:
                    text = language.explain(self._program, said).strip("\n")
                    return self._failure("Error", text.partition("\n")[0].strip(), text, silent)
                for picture in language.pictures(self._program, self._directory):
                    if not silent:
                        self.send_response(self.iopub_socket, "display_data", {"data": picture, "metadata": {}})
        except KeyboardInterrupt:
            # of the program, or of what is done between two statements
            return self._failure("KeyboardInterrupt", "the cell was interrupted", "", silent)
        except Unfinished as exc:
            return self._failure("SyntaxError", f"the cell is not finished: {exc}", "", silent)
        except NothingToRead:
            return self._failure("EOFError", f"{language.title} waited for input, which does not come here", "", silent)
        except ProgramEnded as exc:
            self._program.close()
            self._start()
            end = f"{language.title} ended (exit status {exc}) and was started again: its variables are gone"
            return self._failure("ProgramEnded", end, "", silent)
        return {
            "status": "ok",
            "execution_count": self.execution_count,
            "payload": [],
            "user_expressions": {},
        }

    def _sent(self, code: str) -> list[str]:
        """Return what to send for ``code``; a language whose program reads files finds it in one."""
        with open(self._code_file, "w", encoding="utf-8") as file:
            file.write(self.LANGUAGE.text(code))
        return [statement.replace(CODE_FILE, self._code_file) for statement in self.LANGUAGE.statements(code)]

    def _failure(self, name: str, value: str, text: str, silent: bool) -> dict[str, Any]:
        error = {"ename": name, "evalue": value, "traceback": (text or f"{name}: {value}").splitlines()}
        if not silent:
            self.send_response(self.iopub_socket, "error", error)
        return {"status": "error", "execution_count": self.execution_count, **error}

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Complete the name before the cursor."""
        before = code[:cursor_pos]
        found = self.LANGUAGE.word.search(before)
        names: list[str] = []
        if found is not None:
            words = self.LANGUAGE.completions(self._program, found[0])
            names = sorted({word for word in words if word.startswith(found[0])})[:MAX_COMPLETIONS]
        return {
            "status": "ok",
            "matches": names,
            "cursor_start": found.start() if found is not None else cursor_pos,
            "cursor_end": cursor_pos,
            "metadata": {},
        }

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Say whether something in ``code`` is still open."""
        try:
            self.LANGUAGE.statements(code)
        except Unfinished:
            return {"status": "incomplete", "indent": "  "}
        return {"status": "complete" if self.LANGUAGE.tells_unfinished else "unknown"}

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the program with the kernel."""
        self._program.close()
        return {"status": "ok", "restart": restart}


#: Stands in a statement for the path of the file that holds the cell.
CODE_FILE = "{code file}"


class Errors:
    """Shows what a program prints until an error begins, and keeps that."""

    def __init__(self, language: Language, show: Callable[[str, str], None]) -> None:
        self._error, self._stream, self._show = language.error, language.error_stream, show
        self._line = ""
        self._said = ""

    def take(self, stream: str, text: str) -> None:
        """Take a text that was printed."""
        if stream != self._stream:
            self._show(stream, text)
        elif self._said:
            self._said += text[: MAX_ERROR_CHARACTERS - len(self._said)]
        else:
            # An error begins a line: the last one, while it is not all there, is kept.
            text = self._line + text
            found = self._error.search(text)
            at = found.start() if found else text.rfind("\n") + 1
            shown, rest = text[:at], text[at:]
            self._said, self._line = (rest[:MAX_ERROR_CHARACTERS], "") if found else ("", rest)
            if len(self._line) > MAX_LINE_CHARACTERS:
                shown, self._line = shown + self._line, ""
            if shown:
                self._show(stream, shown)

    def end(self) -> str:
        """Show what is left; return the error, or empty."""
        if self._line:
            self._show(self._stream, self._line)
        return self._said


_TEXTS = {".svg": "image/svg+xml", ".html": "text/html"}


def pictures_in(directory: str) -> list[dict[str, str]]:
    """Take the pictures out of a directory, each as a MIME bundle."""
    found = []
    for name in sorted(os.listdir(directory)):
        file = pathlib.Path(directory, name)
        if file.suffix in _TEXTS:
            found.append({_TEXTS[file.suffix]: file.read_text(encoding="utf-8", errors="replace")})
        elif file.suffix == ".png":
            found.append({"image/png": base64.b64encode(file.read_bytes()).decode("ascii")})
        else:
            continue
        file.unlink()
    return found


def run(language: Language) -> None:
    """Be the kernel of ``language``, as a kernelspec starts it."""
    kernel = type(f"{language.title}Kernel", (LanguageKernel,), {"LANGUAGE": language})
    IPKernelApp.launch_instance(kernel_class=kernel)
