"""What bringing files to kernels and fetching them has in common: a conversation over a socket of the kernel's (T6).

The kernel at its other end may be its visitor's own program (`appliance.kernel.file_intake` says what an honest one
does). Its answers are one line of bounded length, believed as far as each field is what it must be.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol

from appliance.errors import ApplianceError
from appliance.signature import Signer

if TYPE_CHECKING:
    from appliance.web.pool_client import KernelAddress

#: A kernel that takes or gives nothing for so long is given up: its program may keep the interpreter to itself.
STALL_SECONDS = 30

CONNECT_SECONDS = 5

MAX_ANSWER_BYTES = 4096


class NoFilesHere(ApplianceError):
    """This kernel takes and gives no files. Start a fresh one, then try again."""

    code = "no_files_here"
    http_status = 409


class Conversation(Protocol):
    """One connection to a kernel's door for files.

    ``answered`` fires with what it says first, {} if that is nothing; it is cancelled by ending the connection. After
    ``seconds`` the connection ends, whatever it does; and when `stalled` so far that `moved` was not called.
    """

    def __init__(self, head: bytes, reactor: Any, seconds: float) -> None:
        self.answered: Deferred[dict[str, Any]] = Deferred(lambda _: self.give_up())
        self._head = head
        self._answer = b""
        self._given_up = False
        self._stall: Any = None
        self._reactor = reactor
        self._end = reactor.callLater(seconds, self.give_up)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Say what is wanted."""
        transport: Any = self.transport
        transport.write(self._head)
        self.moved()

    def moved(self) -> None:
        """Take note that the kernel takes or gives something, or is to do so now."""
        self.waits()
        self._stall = self._reactor.callLater(STALL_SECONDS, self.give_up)

    def waits(self) -> None:
        """Take note that it is not the kernel that is waited for."""
        if self._stall is not None and self._stall.active():
            self._stall.cancel()
        self._stall = None

    def give_up(self) -> None:
        """End the connection."""
        self._given_up = True
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Take the answer, a line of JSON."""
        if self.answered.called:
            self.after_answer(data)
            return
        self._answer += data
        line, newline, rest = self._answer.partition(b"\n")
        if not newline:
            if len(line) > MAX_ANSWER_BYTES:
                self.give_up()
            return
        self.waits()
        if rest:
            # before anybody acts on the answer: nothing more was asked for yet
            self.after_answer(rest)
        self._tell(b"{}" if self._given_up else line)

    def after_answer(self, _data: bytes) -> None:
        """Take what follows the answer: nothing may."""
        self.give_up()

    def _tell(self, line: bytes) -> None:
        if self.answered.called:
            return
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = {}
        self.answered.callback(answer if isinstance(answer, dict) else {})

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted
        """Tell that there is no answer, if there was none."""
        self.waits()
        if self._end.active():
            self._end.cancel()
        self._tell(b"{}")


async def speak(address: KernelAddress, conversation: Conversation, reactor: Any) -> dict[str, Any]:
    """Connect to a kernel's door for files and return its answer. Raises `NoFilesHere`."""
    path = os.path.join(address.directory, "files")
    endpoint = UNIXClientEndpoint(reactor, path, CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    try:
        await connectProtocol(endpoint, conversation)  # type: ignore[no-untyped-call]
    except BaseException as exc:
        conversation.connectionLost()
        if isinstance(exc, ConnectError):
            raise NoFilesHere from exc
        raise
    return await conversation.answered


def head_of(address: KernelAddress, document: dict[str, object]) -> bytes:
    """Return the line that says what is wanted, signed with the kernel's key."""
    text = json.dumps(document).encode()
    return Signer(address.key).sign((text,)) + b" " + text + b"\n"
