"""Sends a part of a file as fast as the client takes it: one that does not read costs no copy of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from typing import BinaryIO

CHUNK_BYTES = 65_536

#: A client that takes nothing for this long is disconnected.
STALL_SECONDS = 60


@attrs.frozen
class FilePart:
    """A part of a file that is here."""

    file: BinaryIO
    start: int
    size: int

    def send(self, request: Any) -> None:
        """Send it, finish the request and close the file."""
        _FileSending(request, self).start()

    def close(self) -> None:
        """Close the file unsent."""
        self.file.close()


@implementer(IPushProducer)
class _FileSending:
    """A part of a file on its way; the file is closed at its end."""

    def __init__(self, request: Any, part: FilePart) -> None:
        self._request = request
        self._file = part.file
        self._left = part.size
        self._paused = False
        part.file.seek(part.start)

    def start(self) -> None:
        """Send, and finish the request."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Wait until the client has taken what it got."""
        self._paused = True
        self._request.channel.setTimeout(STALL_SECONDS)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Go on."""
        self._request.channel.setTimeout(None)
        self._paused = False
        while self._left and not self._paused:
            data = self._file.read(min(CHUNK_BYTES, self._left))
            if not data:
                # whoever waits for the rest must not wait for ever
                self._request.channel.loseConnection()
                return
            self._left -= len(data)
            self._request.write(data)
        if not self._left and not self._file.closed:
            self._file.close()
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Take note that the client went away."""
        self._left = 0
        self._file.close()
