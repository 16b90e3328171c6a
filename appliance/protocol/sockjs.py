"""SockJS 0.3 as text: frames towards the browser, messages from it, and how each transport wraps a frame.

Source: the SockJS protocol specification, version 0.3.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import attrs

from appliance.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

GREETING = b"Welcome to SockJS!\n"

OPEN = "o"
HEARTBEAT = "h"

#: Seconds between heartbeats on a connection that is otherwise silent.
HEARTBEAT_SECONDS = 25.0

#: A session without a connection ends after this long.
DISCONNECT_SECONDS = 5.0

#: A stream ends after this much, so that what a browser keeps of it stays bounded; it comes back for more.
RESPONSE_LIMIT_BYTES = 131_072

#: Bytes that some browsers and proxies want before they hand anything on.
PRELUDE_BYTES = 2048

#: Strings in one message of a client.
MAX_STRINGS = 256

# close codes of the specification
GO_AWAY = (3000, "Go away!")
ANOTHER_OPEN = (2010, "Another connection still open")
INTERRUPTED = (1002, "Connection interrupted")

#: A function of the page that gets an answer as a script (JSONP); nothing else may be injected by this name.
_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}(?:\.[A-Za-z_$][A-Za-z0-9_$]{0,63}){0,7}")

#: What means something else in a script than in JSON, or in the HTML around a script.
_UNSAFE_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def messages_frame(strings: list[str]) -> str:
    """Return the frame that carries messages; everything beyond ASCII is escaped, so every browser reads it."""
    return "a" + json.dumps(strings, separators=(",", ":"))


def close_frame(reason: tuple[int, str]) -> str:
    """Return the frame that ends a session."""
    return "c" + json.dumps(list(reason), separators=(",", ":"))


def parse_messages(text: str) -> list[str]:
    """Return the strings that a client sent: a JSON array of them, or one; raises `BadRequest`."""
    if not text:
        raise BadRequest("Payload expected.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("Broken JSON encoding.") from exc
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(item, str) for item in strings):
        raise BadRequest("Payload expected: a JSON array of strings.")
    if len(strings) > MAX_STRINGS:
        raise BadRequest(f"A payload holds at most {MAX_STRINGS} messages.")
    return strings


def checked_callback(name: str) -> str:
    """Return the name of a function of the page; raises `BadRequest` when it is none."""
    if not name:
        raise BadRequest('"callback" parameter required')
    if not _CALLBACK.fullmatch(name):
        raise BadRequest('invalid "callback" parameter')
    return name


def jsonp(callback: str, text: str) -> str:
    """Return a script that calls a function of the page with ``text``; raises `BadRequest`.

    The comment at the beginning keeps the answer from being anything else than a script.
    """
    return f"/**/{checked_callback(callback)}({json.dumps(text).translate(_UNSAFE_IN_SCRIPT)});\r\n"


@attrs.frozen
class Transport:
    """How a kind of answer carries frames: its type, what it begins with, and each frame.

    ``single``: the answer ends after one frame.
    """

    name: str
    content_type: str
    prelude: bytes
    wrap: Callable[[str], str]
    single: bool


def _line(frame: str) -> str:
    return frame + "\n"


def _event(frame: str) -> str:
    return f"data: {frame}\r\n\r\n"


_SCRIPT_TYPE = "application/javascript; charset=UTF-8"

XHR = Transport("xhr", _SCRIPT_TYPE, b"", _line, single=True)
XHR_STREAMING = Transport("xhr_streaming", _SCRIPT_TYPE, b"h" * PRELUDE_BYTES + b"\n", _line, single=False)
EVENTSOURCE = Transport("eventsource", "text/event-stream; charset=UTF-8", b"\r\n", _event, single=False)


def jsonp_transport(callback: str) -> Transport:
    """Return the transport that calls a function of the page with each frame; raises `BadRequest`."""
    checked_callback(callback)
    return Transport("jsonp", _SCRIPT_TYPE, b"", lambda frame: jsonp(callback, frame), single=True)
