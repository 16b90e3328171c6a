"""Listening on Unix sockets: those that systemd passed in, and our own in place of what a killed process left.

Twisted's port for an adopted Unix socket changes the mode of the socket's file to 0666 when it starts, deletes the
file when it stops, and shuts the socket down for all who share it; a socket that systemd made is not ours to touch,
and the file of our own one is renamed meanwhile. So the adopted port is told that its socket has no file and that it
is not alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from twisted.internet import unix

if TYPE_CHECKING:
    import pathlib

    from twisted.internet.interfaces import IListeningPort

#: Connections that wait to be accepted.
BACKLOG = 128

#: An abstract name (unix(7)): what begins with a zero byte has no file.
_NO_FILE = b"\0"


def bind(path: pathlib.Path, mode: int) -> socket.socket:
    """Return a listening stream socket at ``path``, replacing what a killed predecessor left.

    It gets its name only when it listens: a client finds the old socket, the new one, or none, never a deaf one.
    Raises `OSError`.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        listener.bind(str(new))
        os.chmod(new, mode)
        listener.listen(BACKLOG)
        os.rename(new, path)
    except BaseException:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        raise
    return listener


def adopt(reactor: Any, fd: int, factory: Any) -> IListeningPort:
    """Return a port that accepts connections of the listening Unix socket ``fd`` for ``factory``.

    The descriptor is duplicated; nobody changes or deletes the socket's file.
    """
    os.set_blocking(fd, False)
    port: Any = unix.Port._fromListeningDescriptor(reactor, fd, factory)  # type: ignore[no-untyped-call]
    port._bindPath = _NO_FILE
    # it would shut the socket down for everybody who has it: systemd, the other instances and whoever comes after us
    port._shouldShutdown = False
    port.startListening()
    return port  # type: ignore[no-any-return]


def listen(
    reactor: Any, factory: Any, path: pathlib.Path, *, inherited: int | None = None, mode: int = 0o660
) -> IListeningPort:
    """Listen on the descriptor that systemd passed, else on a new socket at ``path``.

    Raises `OSError`. After stopping the port, call `remove` if the socket was not inherited.
    """
    if inherited is not None:
        return adopt(reactor, inherited, factory)
    with bind(path, mode) as listener:
        return adopt(reactor, listener.fileno(), factory)


def remove(path: pathlib.Path) -> None:
    """Delete the file of a socket that no longer listens."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
