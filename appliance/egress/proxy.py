"""One connection of a kernel: read one request, decide, resolve, connect to an address that was checked, carry bytes.

A tunnel (CONNECT) is carried blindly. A plain http request is sent on with its head written anew, for one answer: the
connection ends with it. Every decision is one event of the log, and so is the end of what was let through, with bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.defer import TimeoutError as ResolveTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from appliance.peercred import peer_uid
from appliance.protocol import egress as decisions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted.python.failure import Failure

    from appliance.config import Egress

log = Logger(namespace="appliance.egress")

_HEAD_END = b"\r\n\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

#: Addresses of one host that are tried.
MAX_ADDRESSES = 4

#: Seconds that a refused client has to take its answer and to stop sending; closing earlier could lose the answer
#: (RFC 9112, section 9.6).
FAREWELL_SECONDS = 2.0


@attrs.frozen
class Policy:
    """What holds for the kernels of one profile, and how the proxy reaches the world."""

    profile: str
    rules: Sequence[decisions.Rule]
    allowed_networks: Sequence[decisions.Network]
    limits: Egress
    kernel_uids: range
    first_slot: int
    admission: decisions.Admission
    #: Returns the addresses of a host name; raises `OSError`.
    resolve: Callable[[str], Awaitable[Sequence[str]]]
    reactor: Any


@implementer(IHalfCloseableProtocol)
class _Upstream(Protocol):
    """The connection to a server."""

    transport: Any

    def __init__(self, client: ProxyConnection) -> None:
        self._client = client

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Pass on what the server sent."""
        self._client.received(data)

    def readConnectionLost(self) -> None:  # noqa: N802 - Twisted
        """Pass on that the server has sent everything."""
        self._client.server_has_sent_all()

    def writeConnectionLost(self) -> None:  # noqa: N802 - Twisted
        """Go on reading."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted
        """Tell the client's side."""
        self._client.server_lost()


@implementer(IHalfCloseableProtocol)
class ProxyConnection(Protocol):
    """The connection of a kernel."""

    transport: Any

    def __init__(self, policy: Policy, forget: Callable[[ProxyConnection], None]) -> None:
        self._policy = policy
        self._forget = forget
        self._clock = policy.reactor
        self._uid = -1
        self._counted_out: Callable[[int], None] | None = None
        self._buffer = b""
        self._request: decisions.Request | None = None
        self._opening: Deferred[None] | None = None
        self._upstream: Any = None
        self._to_send: int | None = 0  # bytes of the body that are still to come; of a tunnel, any number
        self._sent = self._received = 0
        self._client_done = self._server_done = False
        self._timer: Any = None
        self._last_moved = 0.0
        self._over = False

    # -- the kernel's side --------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Find out which kernel this is and whether it may have another connection."""
        uid = peer_uid(self.transport)
        if uid is None or uid not in self._policy.kernel_uids:
            log.warn("egress peer refused: uid {uid} is no kernel", uid=uid)
            self._over = True
            self.transport.abortConnection()
            return
        self._uid = uid
        why = self._policy.admission.enter(uid, self._clock.seconds())
        if why:
            told = self._policy.admission.first_denial(uid)
            if self._policy.admission.linger(uid):
                self._counted_out = self._policy.admission.go
            self._refuse(decisions.Refused(429, why), told=told)
            if self._counted_out is None:
                self.transport.abortConnection()
            return
        self._counted_out = self._policy.admission.leave
        self._timer = self._clock.callLater(self._policy.limits.head_seconds, self._head_is_late)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Take a part of the head, or pass data on."""
        if self._over:
            return
        if self._upstream is not None:
            self._forward(data)
            return
        self._buffer += data
        if self._request is not None:
            return
        end = self._buffer.find(_HEAD_END)
        if end < 0 or end > decisions.MAX_HEAD_BYTES:
            if len(self._buffer) > decisions.MAX_HEAD_BYTES:
                self._refuse(decisions.Refused(431, f"the head is larger than {decisions.MAX_HEAD_BYTES} bytes"))
            return
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        try:
            self._request = decisions.parse_request(head, self._policy.limits.max_request_bytes)
            decisions.check(self._request, self._policy.rules)
        except decisions.Refused as refused:
            self._refuse(refused)
            return
        self._stop_timer()
        # Nothing more is read until it can be passed on.
        self.transport.pauseProducing()
        self._opening = ensureDeferred(self._open(self._request))
        self._opening.addErrback(self._failed)

    def readConnectionLost(self) -> None:  # noqa: N802 - Twisted
        """Pass on that the kernel has sent everything."""
        if self._upstream is None:
            self._end("closed by the cell")
            self._close(FAREWELL_SECONDS)
        elif not self._client_done:
            self._client_done = True
            self._upstream.transport.unregisterProducer()
            self._upstream.transport.loseWriteConnection()
            self._end_if_done()

    def writeConnectionLost(self) -> None:  # noqa: N802 - Twisted
        """Go on reading."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted
        """Give everything back."""
        self._end("closed by the cell")
        self._forget(self)
        if self._counted_out is not None:
            self._counted_out(self._uid)
            self._counted_out = None

    def stop(self) -> None:
        """End the connection at once: the role stops."""
        self._stop("the proxy stops")

    # -- deciding and connecting --------------------------------------------------------------------------------------

    async def _open(self, request: decisions.Request) -> None:
        host, port = request.host, request.port
        addresses = await self._addresses(host, port)
        self._upstream = await self._connect(addresses, host, port)
        self._opening = None
        address = self._upstream.transport.getPeer().host
        self._log("egress allowed: {host}:{port} at {address} for slot {slot}", "allowed", address=address)
        self._begin(request)

    def _log(self, text: str, verdict: str, **fields: object) -> None:
        request = self._request
        known: dict[str, object] = {
            "profile": self._policy.profile,
            "uid": self._uid,
            "slot": self._policy.kernel_uids.index(self._uid) + self._policy.first_slot,
            "host": request.host if request is not None else "-",
            "port": request.port if request is not None else 0,
            "verdict": verdict,
            "reason": "",
            "sent": self._sent,
            "received": self._received,
        }
        log.info(text, **{**known, **fields})

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of ``host`` that may be connected to. Raises `Refused`."""
        resolving: Deferred[Sequence[str]] = ensureDeferred(self._policy.resolve(host))  # type: ignore[arg-type]
        resolving.addTimeout(self._policy.limits.connect_seconds, self._clock)
        try:
            found = await resolving
        except CancelledError:
            raise
        except ResolveTimeout:
            raise decisions.Refused(504, f"the name {host} was not resolved in time", host, port) from None
        except OSError:
            raise decisions.Refused(502, f"the name {host} cannot be resolved", host, port) from None
        refusals = {address: decisions.address_refusal(address, self._policy.allowed_networks) for address in found}
        good = [address for address, refusal in refusals.items() if not refusal]
        if not good:
            kinds = ", ".join(sorted(set(refusals.values()))) or "no"
            raise decisions.Refused(403, f"{host} has only {kinds} addresses, which cells may not reach", host, port)
        return good[:MAX_ADDRESSES]

    async def _connect(self, addresses: Sequence[str], host: str, port: int) -> Any:
        """Return the connection to the first of ``addresses`` that answers. Raises `Refused`."""
        status, why = 502, "refused the connection"
        for address in addresses:
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            # A literal address: nothing is resolved a second time.
            endpoint = kind(self._policy.reactor, address, port, timeout=self._policy.limits.connect_seconds)
            factory = Factory.forProtocol(lambda: _Upstream(self))
            factory.noisy = False
            try:
                return await endpoint.connect(factory)
            except CancelledError:
                raise
            except ConnectTimeout:
                status, why = 504, "did not answer in time"
            except ConnectError:
                status, why = 502, "refused the connection"
        raise decisions.Refused(status, f"{host}:{port} {why}", host, port)

    def _failed(self, failure: Failure) -> None:
        if self._over or isinstance(failure.value, CancelledError):
            return
        refused = failure.value
        if not isinstance(refused, decisions.Refused):
            log.failure("egress: a request could not be served", failure=failure)
            refused = decisions.Refused(502, "the proxy failed")
        self._refuse(refused)

    # -- carrying -----------------------------------------------------------------------------------------------------

    def _begin(self, request: decisions.Request) -> None:
        server = self._upstream.transport
        self.transport.registerProducer(server, streaming=True)
        server.registerProducer(self.transport, streaming=True)
        self._last_moved = self._clock.seconds()
        self._timer = self._clock.callLater(self._policy.limits.idle_seconds, self._look_whether_idle)
        if request.tunnel:
            self.transport.write(_ESTABLISHED)
            self._to_send = None
        else:
            server.write(request.head)
            self._to_send = request.body_bytes
        first, self._buffer = self._buffer, b""
        self.transport.resumeProducing()
        if first:
            self._forward(first)

    def _forward(self, data: bytes) -> None:
        """Send to the server what the kernel sent, as far as it belongs to the request."""
        if self._to_send is not None:
            if len(data) > self._to_send:
                self._stop("more data than the request announced")
                return
            self._to_send -= len(data)
        self._sent += len(data)
        self._upstream.transport.write(data)
        self._moved()

    def received(self, data: bytes) -> None:
        """Send to the kernel what the server sent."""
        if self._over or self._upstream is None:
            return
        self._received += len(data)
        self.transport.write(data)
        self._moved()

    def server_has_sent_all(self) -> None:
        """End the kernel's reading side."""
        if not self._over and not self._server_done:
            self._server_done = True
            self.transport.unregisterProducer()
            if self._is_plain and not self._received:
                self._without_answer()
            elif self._is_plain:
                self._end("complete")
                self._close(self._policy.limits.idle_seconds)
            else:
                self.transport.loseWriteConnection()
                self._end_if_done()

    def server_lost(self) -> None:
        """End the connection after what was received has been written."""
        if self._over:
            return
        if self._is_plain and not self._received:
            self._without_answer()
        else:
            self._end("closed by the server")
            self._close(self._policy.limits.idle_seconds)

    @property
    def _is_plain(self) -> bool:
        return self._request is not None and not self._request.tunnel

    def _without_answer(self) -> None:
        """Say that the server closed the connection on which it was to answer: to the cell it would look like ours."""
        self._end("closed by the server without an answer")
        host, port = ("-", 0) if self._request is None else (self._request.host, self._request.port)
        self._refuse(decisions.Refused(502, f"{host}:{port} closed the connection without an answer", host, port))

    def _end_if_done(self) -> None:
        if self._client_done and self._server_done:
            self._end("complete")
            self._close(self._policy.limits.idle_seconds)

    def _moved(self) -> None:
        self._last_moved = self._clock.seconds()
        if self._sent + self._received > self._policy.limits.max_connection_bytes:
            self._stop("the connection has carried all it may")

    def _look_whether_idle(self) -> None:
        left = self._last_moved + self._policy.limits.idle_seconds - self._clock.seconds()
        if left <= 0:
            self._timer = None
            self._stop("idle")
        else:
            self._timer = self._clock.callLater(left, self._look_whether_idle)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _head_is_late(self) -> None:
        self._timer = None
        self._refuse(decisions.Refused(408, "the head of the request did not come in time"))

    def _refuse(self, refused: decisions.Refused, *, told: bool = True) -> None:
        """Answer, log and end."""
        self._over = True
        self._stop_timer()
        if told:
            self._log(
                "egress refused: {host}:{port} for slot {slot}: {reason}",
                "refused",
                host=refused.host or "-",
                port=refused.port,
                reason=refused.reason,
                status=refused.status,
            )
        self.transport.write(decisions.answer(refused))
        self.transport.resumeProducing()
        self.transport.loseWriteConnection()
        self._timer = self._clock.callLater(FAREWELL_SECONDS, self._close_is_late)

    def _close(self, seconds: float) -> None:
        """Close the kernel's side after it has taken what is written, or after ``seconds``."""
        self._stop_timer()
        self._timer = self._clock.callLater(seconds, self._close_is_late)
        self.transport.loseConnection()

    def _close_is_late(self) -> None:
        self._timer = None
        self.transport.abortConnection()

    def _stop(self, why: str) -> None:
        self._end(why)
        self.transport.abortConnection()

    def _end(self, why: str) -> None:
        """Let go of the server and log what was carried; the kernel's side is the caller's to close."""
        self._stop_timer()
        if self._over:
            return
        self._over = True
        self._buffer = b""
        if self._opening is not None:
            self._opening.cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if not self._server_done:
                self.transport.unregisterProducer()
            if not self._client_done:
                upstream.transport.unregisterProducer()
            upstream.transport.abortConnection()
            text = "egress ended: {host}:{port} for slot {slot}: {reason}, {sent} bytes sent, {received} received"
            self._log(text, "ended", reason=why)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
