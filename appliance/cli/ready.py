"""Ask the web role for its health over its own socket until it is well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from appliance.config import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from twisted.python.failure import Failure

#: Largest answer that is read.
MAX_ANSWER_BYTES = 65_536

#: A PROXY v2 header of the command LOCAL: "the proxy itself connects" (HAProxy's proxy-protocol.txt, section 2.2).
PROXY_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class _Probe(Protocol):
    """One request; ``answered`` fires with status and body."""

    transport: Any

    def __init__(self, proxy_protocol: bool) -> None:
        self._proxy_protocol = proxy_protocol
        self._data = b""
        self.answered: Deferred[tuple[int, bytes]] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Send the request."""
        request = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self.transport.write((PROXY_LOCAL if self._proxy_protocol else b"") + request)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Collect the answer."""
        self._data += data
        if len(self._data) > MAX_ANSWER_BYTES:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: N802 - Twisted
        """Report what came."""
        if not self.answered.called:
            self.answered.callback(parse_answer(self._data))


def parse_answer(data: bytes) -> tuple[int, bytes]:
    """Return the status and the body of an HTTP/1 answer that ended with its connection; status 0 if it is none."""
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return 0, b""
    return int(words[1]), body


def reason_of(body: bytes) -> str:
    """Return the sentence in the body of an answer that is not 200."""
    try:
        document = json.loads(body)
    except ValueError:
        return "no answer yet"
    if not isinstance(document, dict):
        return "no answer yet"
    return str(document.get("message") or document.get("error") or document.get("status") or "not healthy yet")[:500]


async def ask(
    reactor: Any, address: TcpAddress | UnixAddress, *, proxy_protocol: bool, seconds: float
) -> tuple[int, str]:
    """Return the status of ``GET /healthz`` (0: nothing answers) and, unless 200, why."""
    if isinstance(address, UnixAddress):
        endpoint: Any = UNIXClientEndpoint(reactor, address.path, int(seconds))  # type: ignore[no-untyped-call]
    else:
        host = address.url.removeprefix("http://").rpartition(":")[0].strip("[]")
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint = kind(reactor, host, address.port, timeout=int(seconds))
    probe = _Probe(proxy_protocol)
    factory = Factory.forProtocol(lambda: probe)
    factory.noisy = False
    try:
        await endpoint.connect(factory)
        status, body = await probe.answered.addTimeout(seconds, reactor)
    except CancelledError:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever the network says, the answer is "not yet"
        return 0, f"nothing answers yet ({type(exc).__name__})"
    return status, reason_of(body)
