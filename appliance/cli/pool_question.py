"""Questions of the administrator to the pool (T3): one AMP command over its socket, without a reactor."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.protocols import amp

from appliance.errors import ApplianceError, PoolUnavailable

if TYPE_CHECKING:
    from appliance.config import Config

#: Seconds for the pool to answer.
ANSWER_SECONDS = 10.0

#: AMP: a box is pairs of lengths of two bytes and data, ended by a length of zero; keys have up to 255 bytes.
_LENGTH_BYTES = 2

_TAG = b"1"


def ask(config: Config, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
    """Return the answer of the pool; raises `PoolUnavailable` when there is none, or the error that it answers."""
    box = command.makeArguments(arguments, None)  # type: ignore[no-untyped-call]
    box[amp.ASK], box[amp.COMMAND] = _TAG, command.commandName
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(config.pool_socket))
            connection.sendall(amp.AmpBox(box).serialize())  # type: ignore[no-untyped-call]
            answer = _read_box(connection)
    except PermissionError as exc:
        raise PoolUnavailable("only root may ask the pool") from exc
    except OSError as exc:
        raise PoolUnavailable(f"the pool does not answer at {config.pool_socket}: {exc.strerror or exc}") from exc
    if amp.ERROR in answer:
        raise ApplianceError(answer.get(amp.ERROR_DESCRIPTION, b"").decode("utf-8", "replace") or "the pool refused")
    response: dict[str, Any] = command.parseResponse(amp.AmpBox(answer), None)  # type: ignore[no-untyped-call]
    return response


def _read_box(connection: socket.socket) -> dict[bytes, bytes]:
    with connection.makefile("rb") as stream:
        answer: dict[bytes, bytes] = {}
        while key := _read_part(stream):
            answer[key] = _read_part(stream)
    return answer


def _read_part(stream: Any) -> bytes:
    length = int.from_bytes(_exactly(stream, _LENGTH_BYTES), "big")
    return _exactly(stream, length)


def _exactly(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) != size:
        raise ConnectionError("the pool closed the connection")
    return data
