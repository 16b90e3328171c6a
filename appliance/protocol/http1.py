"""HTTP/1.1 requests on a local socket, parsed strictly and without I/O (RFC 9112).

One regular expression takes a whole head or refuses it: no folded lines, no bare line feeds, no blanks before colons,
no repeated ``Content-Length`` or ``Host``. A body has the length that its head says; ``Transfer-Encoding`` is refused,
so two readers of a request can never disagree where it ends. After a refusal the connection has to be closed.
"""

from __future__ import annotations

import http
import re

import attrs

#: Longest head of a request: request line and fields. Larger ones are answered 431.
MAX_HEAD_BYTES = 8192

#: Fields of one head.
MAX_FIELDS = 64

#: A body above the limit is read and dropped up to this length, so that its sender reads the 413 and not a reset.
MAX_DROPPED_BYTES = 16_777_216

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(
    rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])\r\n((?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)*)\r\n", re.DOTALL
)
_LENGTH = re.compile(rb"[0-9]{1,12}")

#: Fields of which a second one would leave open which of them is meant.
_SINGLE = frozenset({b"content-length", b"host", b"cell-visitor", b"content-type"})


class RequestRefused(Exception):
    """The bytes are no request that is served; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@attrs.define(slots=True)
class Request:
    """A request with its whole body; names of fields are lower case. ``too_large``: its body was dropped."""

    method: bytes
    target: bytes
    fields: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    too_large: bool = False


class RequestParser:
    """Takes bytes of one connection, gives the requests in them one by one."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._data = b""
        self._pending: Request | None = None
        self._missing = 0

    @property
    def buffered(self) -> int:
        """Bytes that were received and not yet given out."""
        return len(self._data)

    @property
    def partial(self) -> bool:
        """Whether a request has begun and not ended."""
        return bool(self._data) or self._pending is not None

    def receive(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._data = self._data + data if self._data else data

    def next_request(self) -> Request | None:
        """Return the next complete request, or None until more bytes are here. Raises `RequestRefused`."""
        request = self._pending or self._read_head()
        if request is None:
            return None
        if request.too_large:
            dropped = min(self._missing, len(self._data))
            self._missing -= dropped
            self._data = self._data[dropped:]
            if self._missing:
                return None
        elif self._missing:
            if len(self._data) < self._missing:
                return None
            request.body, self._data = self._data[: self._missing], self._data[self._missing :]
        self._pending = None
        return request

    def _read_head(self) -> Request | None:
        data = self._data
        if not data:
            return None
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        if end < 4:
            if len(data) >= MAX_HEAD_BYTES:
                raise RequestRefused(431, f"The head of a request may have {MAX_HEAD_BYTES} bytes.")
            return None
        match = _HEAD.fullmatch(data, 0, end)
        if match is None:
            raise RequestRefused(400, "The head of the request is not HTTP/1.1.")
        method, target, version, lines = match.groups()
        fields = _fields(lines)
        if b"transfer-encoding" in fields:
            raise RequestRefused(501, "Bodies need Content-Length; Transfer-Encoding is not supported.")
        self._data = data[end:]
        length = fields.get(b"content-length", b"0")
        if not _LENGTH.fullmatch(length):
            raise RequestRefused(400, "Content-Length is not a number.")
        self._missing = int(length)
        options = fields.get(b"connection", b"").lower()
        keep_alive = b"close" not in options if version == b"1" else b"keep-alive" in options
        too_large = self._missing > self._max_body_bytes
        if self._missing > MAX_DROPPED_BYTES:
            raise RequestRefused(413, "The body is too large.")
        self._pending = Request(method, target, fields, b"", keep_alive, too_large)
        return self._pending


def _fields(lines: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    split = lines.split(b"\r\n")
    if len(split) > MAX_FIELDS + 1:
        raise RequestRefused(431, f"A request may have {MAX_FIELDS} header fields.")
    for line in split:
        if line:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip(b" \t")
            if name in fields:
                if name in _SINGLE:
                    raise RequestRefused(400, f"There is more than one {name.decode('ascii')}.")
                value = fields[name] + b", " + value
            fields[name] = value
    return fields


_REASONS = {status.value: status.phrase.encode("ascii") for status in http.HTTPStatus}


def render_response(
    status: int, body: bytes, headers: bytes = b"", *, head_only: bool = False, last: bool = False
) -> bytes:
    """Return an answer with a JSON body; ``headers`` are whole lines. ``last``: the connection ends after it."""
    end = b"Connection: close\r\n\r\n" if last else b"\r\n"
    if status == http.HTTPStatus.NOT_MODIFIED:
        return b"HTTP/1.1 304 Not Modified\r\n%b%b" % (headers, end)
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b%b%b" % (
        status,
        _REASONS.get(status, b"Unknown"),
        len(body),
        headers,
        end,
        b"" if head_only else body,
    )
