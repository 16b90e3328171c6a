"""A file descriptor that the reactor watches for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

log = Logger()


@implementer(IReadDescriptor)
class WatchedDescriptor:
    """Calls ``on_readable`` whenever ``fd`` is readable, until `stop`; does not own the descriptor."""

    def __init__(self, reactor: Any, fd: int, on_readable: Callable[[], None]) -> None:
        self._reactor = reactor
        self._fd = fd
        self._on_readable = on_readable
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:  # noqa: N802 - Twisted
        """Return the name in Twisted's own log lines."""
        return "descriptor"

    def doRead(self) -> None:  # noqa: N802 - Twisted
        """Pass readability on; one failure must not end the watch."""
        try:
            self._on_readable()
        except Exception:  # noqa: BLE001 - the reactor would drop the descriptor without a word
            log.failure("watched descriptor {fd} could not be served", fd=self._fd)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted
        """Stop watching: the reactor is giving the descriptor up."""
        self._fd = -1

    def stop(self) -> None:
        """Stop watching."""
        self._reactor.removeReader(self)
        self._fd = -1
