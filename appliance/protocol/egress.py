"""What kernels may reach on the network (trust line T9): rules, addresses, requests, and how many of them.

A request names a host; the name must be on the allow-list of the kernel's profile. Names are resolved outside, and each
address found is looked at again: a name on the list that leads to the host's own networks opens nothing.
Sources: RFC 9110 and RFC 9112 (HTTP), RFC 1123 (host names), RFC 6890 and the IANA special-purpose address registries.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Ports of a rule that names none: HTTPS and HTTP.
DEFAULT_PORTS = frozenset({443, 80})

#: Longest head of a request, and the most header fields in it.
MAX_HEAD_BYTES = 16_384
MAX_HEADERS = 100

#: Longest host name (RFC 1035, section 2.3.4).
MAX_NAME_CHARACTERS = 253

#: Longest text of a client that is repeated in an answer or a log.
MAX_SHOWN_CHARACTERS = 120

#: Seconds over which requests of one kernel are counted.
RATE_WINDOW_SECONDS = 60.0

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(r"([A-Za-z]{1,20}) ([\x21-\x7e]+) HTTP/1\.([01])")
_AUTHORITY = re.compile(r"(\[[^\[\]@/]*\]|[^\[\]@/:?#]+)(?::([0-9]{1,5}))?")
#: What can stand in a field's value: visible characters, blanks, and bytes above ASCII (RFC 9110, section 5.5).
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: Fields that concern one connection only (RFC 9110, section 7.6.1), or the proxy alone.
_HOP_BY_HOP = frozenset(
    {
        *("connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade"),
        *("proxy-authorization", "proxy-authenticate", "host"),
    }
)

#: IPv4 that is not the public internet, with the word for it.
_REFUSED_IPV4 = tuple(
    (ipaddress.IPv4Network(text), word)
    for text, word in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "special"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
#: The only IPv6 addresses that are given out for the internet, and what of them is not; all others are refused.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    (ipaddress.IPv6Network(text), word)
    for text, word in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/23", "special"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "unique-local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

_REASON_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Refused(Exception):
    """A request is not let through. ``reason`` is a sentence for whoever asked; host and port as far as known."""

    def __init__(self, status: int, reason: str, host: str = "", port: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.host = host
        self.port = port


@attrs.frozen
class Rule:
    """One entry of an allow-list. ``subdomains``: every name below ``host``, but not ``host`` itself."""

    host: str
    subdomains: bool
    ports: frozenset[int]

    def matches(self, host: str, port: int) -> bool:
        """Return whether a request for ``host`` (as `host_name` returns it) at ``port`` is on this entry."""
        if port not in self.ports:
            return False
        return host.endswith(f".{self.host}") if self.subdomains else host == self.host


@attrs.frozen
class Request:
    """A request that is well-formed. ``head`` and ``body_bytes`` are what the server is sent; of a tunnel, nothing."""

    host: str
    port: int
    tunnel: bool
    head: bytes = b""
    body_bytes: int = 0


def host_name(text: str) -> str:
    """Return a host name in lower case without a final dot. Raises `ValueError`.

    A name whose last label is a number is an address in one of its many spellings (inet_aton(3)), not a name.
    """
    name = text.removesuffix(".").lower()
    labels = name.split(".")
    if not name or len(name) > MAX_NAME_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is no host name (write international ones as xn--…)")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise ValueError("is an address; name a host")
    return name


def parse_rule(text: str) -> Rule:
    """Return the entry written ``HOST``, ``*.HOST``, ``HOST:PORT`` or ``*.HOST:PORT``. Raises `ValueError`."""
    name, colon, digits = text.partition(":")
    ports = DEFAULT_PORTS
    if colon:
        if not re.fullmatch(r"[0-9]{1,5}", digits) or not 0 < int(digits) < 65_536:
            raise ValueError(f"{text!r}: expected a port from 1 to 65535 after the colon")
        ports = frozenset({int(digits)})
    subdomains = name.startswith("*.")
    try:
        return Rule(host_name(name.removeprefix("*.")), subdomains, ports)
    except ValueError as exc:
        raise ValueError(f"{text!r} {exc}") from exc


def parse_network(text: str) -> Network:
    """Return the address range written as ``ADDRESS/BITS``. Raises `ValueError`."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is no range of addresses: {exc}") from exc


def address_refusal(text: str, allowed: Iterable[Network]) -> str:
    """Return why no connection may be made to the address ``text``: a word for its kind, or nothing.

    ``allowed``: ranges that an administrator allows although they are not the public internet.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "no address"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return "link-local"
    if any(address.version == network.version and address in network for network in allowed):
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return next((word for network, word in _REFUSED_IPV4 if address in network), "")
    word = next((word for network, word in _REFUSED_IPV6 if address in network), "")
    return word or ("" if address in _GLOBAL_IPV6 else "reserved")


def check(request: Request, rules: Iterable[Rule]) -> None:
    """Raise `Refused` unless one of ``rules`` lets ``request`` through."""
    if not any(rule.matches(request.host, request.port) for rule in rules):
        raise Refused(
            403, f"{request.host}:{request.port} is not on the allow-list of this cell", request.host, request.port
        )


def parse_request(head: bytes, max_body_bytes: int) -> Request:
    """Return the request whose head, up to and with the empty line, is ``head``. Raises `Refused`.

    Taken are CONNECT and, in absolute form, every other method on ``http://``.
    """
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refused(400, "the request line is malformed")
    method, target, minor = match.groups()
    headers = _parse_headers(fields)
    if method == "CONNECT":
        host, port = _authority(target, None)
        _check_host(headers, host, port, required=False)
        return Request(host, port, tunnel=True)
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() != "http":
        raise Refused(400, "this is a proxy: ask for http://HOST/…, or CONNECT HOST:PORT for https")
    end = re.search(r"[/?#]|$", rest)
    assert end is not None  # noqa: S101 - the empty match at the end is always there
    authority, path = rest[: end.start()], rest[end.start() :]
    host, port = _authority(authority, 80)
    if "#" in path:
        raise Refused(400, "the address holds a fragment", host, port)
    _check_host(headers, host, port, required=minor == "1")
    body_bytes = _body_bytes(headers, max_body_bytes, host, port)
    name = host if port == 80 else f"{host}:{port}"
    dropped = _HOP_BY_HOP | {
        option.strip().lower() for key, value in headers if key.lower() == "connection" for option in value.split(",")
    }
    lines = [f"{method} {path if path.startswith('/') else '/' + path} HTTP/1.1", f"Host: {name}"]
    lines += [f"{key}: {value}" for key, value in headers if key.lower() not in dropped]
    lines += ["Connection: close", "", ""]
    return Request(host, port, tunnel=False, head="\r\n".join(lines).encode("latin-1"), body_bytes=body_bytes)


def _parse_headers(lines: Sequence[str]) -> list[tuple[str, str]]:
    if len(lines) > MAX_HEADERS:
        raise Refused(431, f"more than {MAX_HEADERS} header fields")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Refused(400, "a header field is malformed")
        headers.append((name, value.strip("\t ")))
    return headers


def _authority(text: str, default_port: int | None) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, or of ``HOST`` if there is a default."""
    match = _AUTHORITY.fullmatch(text)
    port = default_port if match is None or match[2] is None else int(match[2])
    if match is None or port is None or not 0 < port < 65_536:
        raise Refused(400, "the host or the port is malformed")
    try:
        return host_name(match[1]), port
    except ValueError:
        raise Refused(403, "only hosts can be reached, by their names", shown(match[1]), port) from None


def _check_host(headers: Sequence[tuple[str, str]], host: str, port: int, *, required: bool) -> None:
    """Refuse a ``Host`` that names another place than the target does; some clients leave the port out."""
    values = [value for key, value in headers if key.lower() == "host"]
    if len(values) > 1 or (required and not values):
        raise Refused(400, "expected one Host field", host, port)
    for value in values:
        match = _AUTHORITY.fullmatch(value)
        if match is None or match[1].removesuffix(".").lower() != host or int(match[2] or port) != port:
            raise Refused(400, "the Host field names another place than the request line", host, port)


def _body_bytes(headers: Sequence[tuple[str, str]], limit: int, host: str, port: int) -> int:
    """Return the size of the request's body."""
    names = [key.lower() for key, _ in headers]
    if "transfer-encoding" in names:
        raise Refused(411, "send Content-Length instead of Transfer-Encoding", host, port)
    values = [value for key, value in headers if key.lower() == "content-length"]
    if not values:
        return 0
    if len(values) > 1 or not re.fullmatch(r"[0-9]{1,18}", values[0]):
        raise Refused(400, "Content-Length is malformed", host, port)
    if int(values[0]) > limit:
        raise Refused(413, f"the body is larger than {limit} bytes", host, port)
    return int(values[0])


def shown(text: str) -> str:
    """Return what a client wrote, cut and in visible ASCII."""
    return "".join(character if "!" <= character <= "~" else "?" for character in text[:MAX_SHOWN_CHARACTERS])


def answer(refused: Refused) -> bytes:
    """Return the HTTP answer to a refused request.

    The sentence is in the status line, too: of a refused CONNECT most clients show nothing else.
    """
    body = f"cell-appliance: {refused.reason}.\n".encode("ascii", "replace")
    head = (
        f"HTTP/1.1 {refused.status} {_REASON_PHRASES[refused.status]} ({refused.reason})\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii", "replace") + body


@attrs.define
class _Use:
    """What one kernel uses: connections now, let in and denied; requests since ``since``, and the denied of them."""

    open: int = 0
    lingering: int = 0
    since: float = 0.0
    requests: int = 0
    denied: int = 0


class Admission:
    """How many connections each kernel, known by its uid, and all of them may have. Times in seconds."""

    def __init__(self, per_kernel: int, per_minute: int, total: int) -> None:
        self._per_kernel = per_kernel
        self._per_minute = per_minute
        self._total = total
        self._uses: dict[int, _Use] = {}
        self._open = 0

    @property
    def open(self) -> int:
        """Connections now."""
        return self._open

    def enter(self, uid: int, now: float) -> str:
        """Count a connection of ``uid`` in and return nothing, or return why it is denied.

        Each connection that was let in must be counted out by `leave`.
        """
        use = self._uses.get(uid)
        if use is None:
            self._prune(now)
            use = self._uses[uid] = _Use(since=now)
        if now - use.since >= RATE_WINDOW_SECONDS:
            use.since, use.requests, use.denied = now, 0, 0
        use.requests += 1
        why = ""
        if use.requests > self._per_minute:
            why = f"more than {self._per_minute} requests of this cell in a minute"
        elif use.open >= self._per_kernel:
            why = f"more than {self._per_kernel} connections of this cell at once"
        elif self._open >= self._total:
            why = "all connections of this server are in use"
        if why:
            use.denied += 1
            return why
        use.open += 1
        self._open += 1
        return ""

    def first_denial(self, uid: int) -> bool:
        """Return whether the last denial of ``uid`` was the first within its window: the one that is worth a line."""
        return self._uses[uid].denied == 1

    def leave(self, uid: int) -> None:
        """Count a connection of ``uid`` out."""
        self._uses[uid].open -= 1
        self._open -= 1

    def linger(self, uid: int) -> bool:
        """Return whether a denied connection of ``uid`` may stay for its answer; it is then counted out by `go`."""
        use = self._uses[uid]
        if use.lingering >= self._per_kernel:
            return False
        use.lingering += 1
        return True

    def go(self, uid: int) -> None:
        """Count out a denied connection that stayed."""
        self._uses[uid].lingering -= 1

    def _prune(self, now: float) -> None:
        """Forget kernels that have no connection and whose window is over."""
        over = [
            uid
            for uid, use in self._uses.items()
            if not use.open and not use.lingering and now - use.since >= RATE_WINDOW_SECONDS
        ]
        for uid in over:
            del self._uses[uid]
