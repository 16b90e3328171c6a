"""An error explained for learners, for a page that asks for that: what it means, and what probably caused it.

friendly-traceback knows the explanations, in several languages; it is imported in the kernel that has an error to
explain. It looks at the program's lines, as `linecache` has them, and at names of the visitor's.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

#: What an explanation is displayed as, to clients that know it.
MIME = "application/vnd.cell-appliance.explanation+json"

#: Characters of each part of an explanation.
MAX_CHARACTERS = 2_000

#: Parts of an explanation in the order in which they are read: what is probably wrong, why, what such errors are.
PARTS = ("suggest", "cause", "generic")

_LANGUAGE = re.compile(r"[a-z]{2,3}")


def wanted(metadata: dict[str, Any]) -> str | None:
    """Return the language in which a client asks for explanations (metadata ``explain``), or None."""
    tag = metadata.get("explain")
    found = _LANGUAGE.match(tag.lower()) if isinstance(tag, str) else None
    return found[0] if found else None


def explained(error: BaseException, traceback: TracebackType | None, language: str) -> dict[str, str] | None:
    """Return the parts of an explanation and its ``language``, which is English where the library has no other.

    None where there is no explanation: what the library or a visitor's class raises ends in none.
    """
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), _lines_as_they_were():
        try:
            info = _info(error, traceback, language)
            parts = {part: str(info[part]).strip()[:MAX_CHARACTERS] for part in PARTS if info.get(part)}
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a visitor's classes may raise anything
            return None
    return {**parts, "language": info["lang"]} if parts else None


def _info(error: BaseException, traceback: TracebackType | None, language: str) -> dict[str, Any]:
    import friendly_traceback
    from friendly_traceback.core import FriendlyTraceback

    shown: Any = traceback
    known = language if (resources.files("friendly_traceback") / "locales" / language).is_dir() else "en"
    friendly_traceback.set_lang(known)
    told: Any = FriendlyTraceback(type(error), error, shown)
    told.compile_info()
    return {**told.info, "lang": known}


@contextlib.contextmanager
def _lines_as_they_were() -> Iterator[None]:
    """Take back what the library puts in the place of linecache's function, which would show in later tracebacks."""
    getlines = linecache.getlines
    try:
        yield
    finally:
        linecache.getlines = getlines


def display(parts: dict[str, str]) -> dict[str, Any]:
    """Return the display of an explanation, by MIME type."""
    return {MIME: parts, "text/plain": "\n".join(parts[part] for part in PARTS if part in parts)}
