"""Results that are kept for the next visitor, without I/O: what is asked of a kernel, what is kept, and when not.

An author marks a cell whose program always does the same. Its evaluation then goes to a kernel that nobody has used,
as a message that this server makes: all that a visitor has a say in is what is in the message, and all of that is in
the key under which the answer is kept. So whoever gets a kept result gets what a kernel said to exactly what they
themselves would have sent to it, and a visitor can put nothing under the program of others.

That holds while nobody else can speak to the kernel, whose id is therefore told to nobody. A *recording* follows what
the kernel says. It is given up as soon as somebody has something to say to the kernel, or must be let to: a question, a
widget, a message with the id in it; the id is told then, and all is as with any other kernel. It is given up as well
when there was an error, when the result is too large, and when the server had to leave something out: that depends on
how busy it is and not on the program.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from typing import TYPE_CHECKING

import attrs

from appliance.errors import InvalidMessage
from appliance.protocol import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from appliance.protocol.frames import ClientMessage, KernelFrame

#: Id of each such request, on a kernel that gets no other: what a kernel says of it is the same for all who ask.
REQUEST_ID = "0" * 32

#: By this, kernels know that there is a place for a list of files (`kernel.file_news`).
_USERNAME = "cell"

_SESSION = "result"

#: What can be shown again without a kernel.
_SHOWN = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "execute_input", "clear_output", "status"}
)

#: Bytes of a key.
KEY_BYTES = 32

_LENGTH = struct.Struct("!I")


def result_request(request: ClientMessage, date: str) -> ClientMessage:
    """Return the message that asks a kernel for a result: of the visitor's own, content and metadata alone.

    Raises `InvalidMessage` when it is no evaluation.
    """
    if request.msg_type != "execute_request":
        raise InvalidMessage("A result is that of an execute_request.")
    header = {
        "msg_id": REQUEST_ID,
        "msg_type": request.msg_type,
        "username": _USERNAME,
        "session": _SESSION,
        "date": date,
        "version": frames.PROTOCOL_VERSION,
    }
    made = frames.make_client_message(header, {})
    return attrs.evolve(made, parts=(made.parts[0], b"{}", request.parts[2], request.parts[3]))


def result_key(request: ClientMessage, environment: str, identity: bytes, profile: str, limits: bytes) -> str:
    """Return the name under which the answer to a request is kept.

    ``identity``: what is known of the environment beside its name, so that another version of it is another
    environment; ``limits``: what the profile allows.
    """
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (environment.encode(), identity, profile.encode(), limits, *request.parts[2:]):
        digest.update(_LENGTH.pack(len(part)))
        digest.update(part)
    return digest.hexdigest()


class Step(enum.Enum):
    """What a message means for a recording."""

    GOES_ON = enum.auto()
    COMPLETE = enum.auto()
    GIVEN_UP = enum.auto()


class Recording:
    """What one kernel says to the one request that it gets. ``max_bytes``: a larger result is not kept."""

    def __init__(self, kernel_id: str, max_bytes: int) -> None:
        # all that this server says itself, or shortens, has the id in it, too
        self._kernel_id = kernel_id.encode("ascii")
        self._room = max_bytes
        self._texts: list[bytes] = []
        self._replied = False
        self._idle = False

    @property
    def texts(self) -> Sequence[bytes]:
        """The messages so far."""
        return self._texts

    def take(self, frame: KernelFrame) -> Step:
        """Take a message for the visitor, before it is delivered."""
        self._room -= len(frame.text) + _LENGTH.size
        if (
            self._room < 0
            or frame.parent_id != REQUEST_ID
            or frame.buffers
            or self._kernel_id in frame.text
            or not self._repeatable(frame)
        ):
            return Step.GIVEN_UP
        self._texts.append(frame.text)
        if frame.msg_type == "status" and frame.content.get("execution_state") == "idle":
            self._idle = True
        return Step.COMPLETE if self._idle and self._replied else Step.GOES_ON

    def _repeatable(self, frame: KernelFrame) -> bool:
        if frame.channel == "shell":
            self._replied = frame.msg_type == "execute_reply" and frame.content.get("status") == "ok"
            return self._replied
        return frame.msg_type in _SHOWN


def pack(texts: Iterable[bytes]) -> bytes:
    """Return messages as they are kept."""
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def unpack(data: bytes) -> list[bytes]:
    """Return the messages in what `pack` made. Raises `ValueError` when it is something else."""
    texts, position = [], 0
    while position < len(data):
        start = position + _LENGTH.size
        if start > len(data):
            raise ValueError("a length is cut off")
        position = start + _LENGTH.unpack_from(data, start - _LENGTH.size)[0]
        if position > len(data):
            raise ValueError("a message is cut off")
        texts.append(data[start:position])
    return texts
