"""Events of the request log, without I/O: what one is, as JSON and as syslog (RFC 5424, RFC 5425).

An event tells that something was asked for, by whom as far as the administrator wants to know, and how it went.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("evaluate", "service", "interact", "permalink")
ADDRESSES = ("short", "full", "none")

#: Longest line of an event as JSON, its code included; a longer one is none.
MAX_LINE_BYTES = 1_048_576

#: Characters kept of a page's address, of any other text, and of code.
MAX_PAGE_CHARACTERS = 500
MAX_TEXT_CHARACTERS = 100
MAX_CODE_CHARACTERS = 65_536

#: What no evaluation takes and no machine has.
MAX_SECONDS = 1e9
MAX_MEMORY_BYTES = 2.0**60

#: Bits that are kept of a shortened address: what names a network and not a person.
SHORT_BITS = {4: 24, 6: 48}

_TEXTS = ("page", "address", "kernel", "language", "profile", "outcome")
_ID = re.compile(r"[0-9a-f]{32}")

#: Facility local0, severity informational (RFC 5424, section 6.2.1).
_PRIORITY = 16 * 8 + 6

#: Structured data needs a private enterprise number (RFC 5424, section 7.2.2): the one reserved for documentation.
_DATA_ID = "request@32473"


@attrs.frozen(kw_only=True)
class Event:
    """One event. Empty text is unknown; ``time`` is seconds since 1970-01-01 UTC, ``seconds`` the wall time it took.

    ``cpu_seconds`` is the processor time of the kernel meanwhile, ``memory_bytes`` the largest memory that the kernel
    had had by then; 0 is unknown.
    """

    id: str
    time: float
    kind: str
    page: str = ""
    address: str = ""
    kernel: str = ""
    language: str = ""
    profile: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    outcome: str = "ok"
    code: str = ""


def shortened(address: str, how: str) -> str:
    """Return an address as the administrator wants it: in full, its network alone, or not at all."""
    if how == "none" or not address:
        return ""
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return ""
    if how == "full":
        return address
    bits = min(SHORT_BITS[network.version], network.prefixlen)
    return str(network.supernet(new_prefix=bits))


def page_of(origin: str, referer: str) -> str:
    """Return the page that embeds a cell: its address without query and fragment, else the site it is on."""
    page = referer.partition("#")[0].partition("?")[0]
    if not page.startswith(("http://", "https://")):
        page = "" if origin == "null" else origin
    return page[:MAX_PAGE_CHARACTERS]


def timestamp(seconds: float) -> str:
    """Return a time in ISO 8601 with milliseconds, in UTC."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def render(event: Event) -> bytes:
    """Return an event as a line of JSON, its end included; what is unknown is left out."""
    fields: dict[str, Any] = {"time": timestamp(event.time), "kind": event.kind, "id": event.id}
    fields |= {name: value for name in (*_TEXTS, "code") if (value := getattr(event, name))}
    if event.kind != "permalink":
        fields["seconds"] = round(event.seconds, 4)
    if event.memory_bytes:
        fields |= {"cpu_seconds": round(event.cpu_seconds, 4), "memory_bytes": event.memory_bytes}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def parse(line: bytes) -> Event:
    """Return the event in a line that `render` wrote. Raises `ValueError` saying what is wrong."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"an event of {len(line)} bytes")
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("an event is a JSON object")
    if document.get("kind") not in KINDS:
        raise ValueError(f"kind is none of {', '.join(KINDS)}")
    if not isinstance(document.get("id"), str) or not _ID.fullmatch(document["id"]):
        raise ValueError("id is not 32 hexadecimal digits")
    if not isinstance(document.get("time"), str):
        raise ValueError("time is missing")
    moment = datetime.datetime.fromisoformat(document["time"])
    if moment.tzinfo is None:
        raise ValueError("time has no zone")
    texts = {name: _text(document, name, MAX_TEXT_CHARACTERS) for name in _TEXTS if name != "page"}
    return Event(
        id=document["id"],
        time=moment.timestamp(),
        kind=document["kind"],
        page=_text(document, "page", MAX_PAGE_CHARACTERS),
        code=_text(document, "code", MAX_CODE_CHARACTERS),
        seconds=_number(document, "seconds", MAX_SECONDS),
        cpu_seconds=_number(document, "cpu_seconds", MAX_SECONDS),
        memory_bytes=int(_number(document, "memory_bytes", MAX_MEMORY_BYTES)),
        **texts,
    )


def _number(document: Mapping[str, Any], name: str, limit: float) -> float:
    value = document.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < limit:
        raise ValueError(f"{name} is no number of {name.rpartition('_')[2]} below {limit:g}")
    return float(value)


def _text(document: Mapping[str, Any], name: str, limit: int) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value[:limit]


def _escaped(value: str) -> str:
    """Escape what ends a value of structured data, and leave out controls (RFC 5424, section 6.3.3)."""
    value = re.sub(r'([\\"\]])', r"\\\1", value)
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", value)


def syslog(event: Event, host: str) -> bytes:
    """Return an event as one syslog message: fields as structured data, and a line for people."""
    values = {name: getattr(event, name) for name in _TEXTS}
    values |= {"id": event.id, "seconds": f"{event.seconds:.4f}", "code": event.code}
    if event.memory_bytes:
        values |= {"cpu_seconds": f"{event.cpu_seconds:.4f}", "memory_bytes": str(event.memory_bytes)}
    data = " ".join(f'{name}="{_escaped(value)}"' for name, value in values.items() if value)
    name = re.sub(r"[^!-~]", "-", host)[:255] or "-"
    text = f"{event.kind} {event.outcome} {event.language} {event.page}".encode("utf-8", "backslashreplace")
    text = re.sub(rb"[\x00-\x1f\x7f]", b" ", text)
    head = f"<{_PRIORITY}>1 {timestamp(event.time)} {name} cell-appliance - {event.kind} [{_DATA_ID} {data}] "
    return head.encode("utf-8", "backslashreplace") + b"\xef\xbb\xbf" + text


def framed(message: bytes) -> bytes:
    """Return a syslog message with its length before it, as streams need it (RFC 5425, section 4.3)."""
    return b"%d %b" % (len(message), message)
