"""Tells a page what an evaluation left in files, for kernels that are programs of their own and know nothing of pages.

A kernel's output flows through the relay as bytes. They are followed here from message to message, and before the
``status: idle`` that ends an evaluation of a page's cell comes a ``display_data`` with the files that are new or
changed; if that names some that are too large to come along, the server is asked to let the kernel stay. Other clients
have no place for such a list and do not get it. A message that is large is passed on as it comes: no status is.
Standard library only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from appliance.kernel import zmtp
from appliance.kernel.jupyter_message import KEEP_SECONDS, Requests, body, is_idle
from appliance.kernel.session_files import leaves_some

if TYPE_CHECKING:
    from collections.abc import Callable

#: Largest message looked at: a status repeats the header of its request and no more.
MAX_STATUS_BYTES = 65_536

#: How our own cell calls itself in the headers of its requests.
CELL_USERNAME = "cell"

_MORE, _LONG, _COMMAND = 1, 2, 4


class FileNews:
    """What a page is told, however many connections hear it."""

    def __init__(self, requests: Requests, changed: Callable[[], dict[str, object] | None]) -> None:
        """Begin. ``changed`` returns what to display of the files that are new or changed, or None."""
        self._requests = requests
        self._changed = changed
        self._told: tuple[bytes, bytes] = (b"", b"")

    def before(self, parts: list[bytes]) -> bytes:
        """Return the frames of the message that belongs before another, none for most."""
        message = body(parts)
        if len(message) < 6 or not is_idle(parts):
            return b""
        parent = message[3]
        if self._told[0] != parent:
            self._told = (parent, self._news(parent))
        return self._told[1]

    def _news(self, parent: bytes) -> bytes:
        try:
            header = json.loads(parent)
            wanted = header["msg_type"] == "execute_request" and header["username"] == CELL_USERNAME
        except (ValueError, LookupError, TypeError, RecursionError):
            return b""
        shown = self._changed() if wanted else None
        if shown is None:
            return b""
        told = self._message("display_data", {"data": shown, "metadata": {}, "transient": {}}, parent)
        return told + self._message("kernel_timeout", {"timeout": KEEP_SECONDS}, parent) if leaves_some(shown) else told

    def _message(self, kind: str, content: dict[str, object], parent: bytes) -> bytes:
        return zmtp.message([kind.encode(), *self._requests.message(kind, content, parent)[1]])


class Followed:
    """The bytes of a connection from a kernel's iopub, after its greeting, with what the page is told between them."""

    def __init__(self, news: FileNews) -> None:
        self._news = news
        self._buffer = bytearray()
        self._held = bytearray()
        self._parts: list[bytes] = []
        #: Whether a frame of a large message passes, how many of its bytes are still to come, whether another follows.
        self._passing = False
        self._left = 0
        self._more = False
        self._large = False

    def take(self, data: bytes) -> bytes:
        """Take what the kernel sent; return what goes on."""
        self._buffer += data
        out = bytearray()
        while self._pass_on(out) if self._passing else self._frame(out):
            continue
        return bytes(out)

    def _pass_on(self, out: bytearray) -> bool:
        """Pass on the body of a frame of a large message; return whether to go on."""
        taken = min(self._left, len(self._buffer))
        out += self._buffer[:taken]
        del self._buffer[:taken]
        self._left -= taken
        if self._left:
            return False
        self._passing, self._large = False, self._more
        return True

    def _frame(self, out: bytearray) -> bool:
        """Take the next frame; return whether there was one."""
        if len(self._buffer) < 2 or (self._buffer[0] & _LONG and len(self._buffer) < 9):
            return False
        flags, start, length = self._buffer[0], 2, self._buffer[1]
        if flags & _LONG:
            start, length = 9, int.from_bytes(self._buffer[1:9], "big")
        if self._large or len(self._held) + length > MAX_STATUS_BYTES:
            out += self._held
            out += self._buffer[:start]
            del self._buffer[:start]
            self._held.clear()
            self._parts.clear()
            self._passing, self._large, self._left, self._more = True, True, length, bool(flags & _MORE)
            return True
        if len(self._buffer) < start + length:
            return False
        self._held += self._buffer[: start + length]
        self._parts.append(bytes(self._buffer[start : start + length]))
        del self._buffer[: start + length]
        if not flags & _MORE:
            if not flags & _COMMAND and b'"idle"' in self._held:
                out += self._news.before(self._parts)
            out += self._held
            self._held.clear()
            self._parts.clear()
        return True
