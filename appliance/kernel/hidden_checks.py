"""Checks that an author put behind a cell: programs that judge what the visitor's program did.

They come with the evaluation, in metadata ``checks``: ``{"title", "code"}`` for each. A check is passed when its
program ends; a failed ``assert`` says what is wrong by its message. It runs on a copy of the names of the visitor's
program, and what it prints is not shown. Hidden means out of sight: who reads the page's source finds them.
"""

from __future__ import annotations

import contextlib
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Checks of one cell; further ones are left out.
MAX_CHECKS = 100

#: Characters shown of what a check says.
MAX_SAID = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: ``fault`` says what is wrong, "" if it passed."""

    title: str
    fault: str

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault == ""


def wanted(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (title, code) of the checks that came with an evaluation."""
    listed = metadata.get("checks")
    checks = []
    for number, check in enumerate(listed[:MAX_CHECKS] if isinstance(listed, list) else [], 1):
        if isinstance(check, dict) and isinstance(check.get("code"), str):
            title = check.get("title")
            checks.append((title if isinstance(title, str) and title else f"Check {number}", check["code"]))
    return checks


def judged(title: str, code: str, names: dict[str, Any], compiled: Callable[[str], Any]) -> Verdict:
    """Run one check. What it raises is the verdict; only an interrupt goes on."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compiled(code), dict(names))  # noqa: S102 - in the visitor's own kernel
    except AssertionError as exc:
        return Verdict(title, (str(exc) or "Not as it should be.")[:MAX_SAID])
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: it is the check's end, not the kernel's
        return Verdict(title, f"{type(exc).__name__}: {exc}"[:MAX_SAID])
    return Verdict(title, "")


def shown(verdicts: list[Verdict]) -> dict[str, str]:
    """Return the display of verdicts, by MIME type."""
    passed = sum(verdict.passed for verdict in verdicts)
    summary = (
        f"{passed} of {len(verdicts)} checks passed"
        if len(verdicts) > 1
        else ("The check passed" if passed else "The check did not pass")
    )
    items, lines = [], [summary]
    for verdict in verdicts:
        mark, word = ("✓", "passed") if verdict.passed else ("✗", "not passed")
        fault = f": {verdict.fault}" if verdict.fault else ""
        lines.append(f"{mark} {verdict.title}{fault}")
        items.append(
            f'<li><span aria-hidden="true">{mark}</span> <strong>{html.escape(verdict.title)}</strong> '
            f"{word}{html.escape(fault)}</li>"
        )
    body = f'<div class="checks"><p>{summary}.</p><ul style="list-style: none">{"".join(items)}</ul></div>'
    return {"text/html": body, "text/plain": "\n".join(lines)}
