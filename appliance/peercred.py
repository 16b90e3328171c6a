"""Who is at the other end of a Unix stream socket: ``SO_PEERCRED`` for Twisted (trust lines T3 and T8).

The kernel (Linux) fills the credentials in: for the accepting side those of the process that called connect(2), for
the connecting side those of the process that called listen(2). A socket that systemd passed in is therefore root's.
Source: unix(7).
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory
    from twisted.python.failure import Failure

log = Logger()

_UCRED = struct.Struct("=iII")

#: Root may always be at the other end: it listens for roles that are activated by socket, and can do anything else
#: too.
ROOT_UID = 0


class PeerRefusedError(Exception):
    """The process at the other end of a Unix socket runs under an unexpected account."""


def peer_uid(transport: Any) -> int | None:
    """Return the uid at the other end of a Unix stream ``transport``, or None when it has none (not a Unix socket).

    Takes anything with ``getHandle()``, protocol wrappers of Twisted included.
    """
    handle: socket.socket = transport.getHandle()
    if handle.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = _UCRED.unpack(handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def _refuse(transport: Any, uid: int | None, uids: frozenset[int], side: str) -> bool:
    """Abort a connection whose peer is not expected, log it, and return whether that was so."""
    if uid in uids:
        return False
    log.warn("peer refused: {side} runs as uid {uid}, expected {uids}", side=side, uid=uid, uids=sorted(uids))
    transport.abortConnection()
    return True


class _CheckedProtocol(ProtocolWrapper):
    """A server-side connection that its protocol sees only when the peer may connect."""

    _refused = False

    def makeConnection(self, transport: Any) -> None:  # noqa: N802 - Twisted
        """Check the peer, then connect the wrapped protocol."""
        if _refuse(transport, peer_uid(transport), self.factory.uids, "client"):
            self._refused = True
            self.transport = transport
            return
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Pass data on, unless the peer was refused."""
        if not self._refused:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted
        """Pass the end on, unless the peer was refused."""
        if not self._refused:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]


class _CheckingFactory(WrappingFactory[_CheckedProtocol]):
    protocol = _CheckedProtocol

    def __init__(self, factory: Any, uids: frozenset[int]) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.uids = uids


def require_peer(factory: Any, uids: frozenset[int]) -> Any:
    """Return a server factory like ``factory`` that aborts connections of processes with other uids than ``uids``."""
    return _CheckingFactory(factory, uids)


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """A client endpoint whose connections fail with `PeerRefusedError` unless the server runs as one of ``uids``.

    Nothing is written before the check, provided that the protocol does not write in ``connectionMade``.
    """

    def __init__(self, endpoint: Any, uids: frozenset[int]) -> None:
        self._endpoint = endpoint
        self._uids = uids

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted
        """Connect and check the server's uid."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        connecting.addCallback(self._check)
        return connecting

    def _check(self, protocol: Any) -> Any:
        uid = peer_uid(protocol.transport)
        if _refuse(protocol.transport, uid, self._uids, "server"):
            raise PeerRefusedError(f"the server runs as uid {uid}")
        return protocol
