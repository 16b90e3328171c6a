"""What the pool says to a zygote, over a real socket."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from appliance.pool.zygote_link import ZygoteLink

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reactor:
    """Reads when it is told to."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802 - Twisted
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802 - Twisted
        self.readers.remove(reader)

    def turn(self) -> None:
        for reader in list(self.readers):
            reader.doRead()


class Owner:
    """Notes what it is told of."""

    def __init__(self) -> None:
        self.forked: list[int] = []

    def zygote_forked(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        self.forked.append(slot)
        os.close(pidfd)


@pytest.fixture
def zygote() -> Iterator[tuple[Reactor, Owner, ZygoteLink, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    reactor, owner = Reactor(), Owner()
    link = ZygoteLink(reactor, ours, owner)  # type: ignore[arg-type]
    with theirs:
        yield reactor, owner, link, theirs
        link.close()


def forked(theirs: socket.socket, slot: int, *, last: bool) -> None:
    pidfd = os.pidfd_open(os.getpid())
    socket.send_fds(theirs, [json.dumps({"forked": slot, "last": last}).encode()], [pidfd])
    os.close(pidfd)


def test_a_zygote_is_told_to_end_when_its_last_kernel_is_ready(
    zygote: tuple[Reactor, Owner, ZygoteLink, socket.socket],
) -> None:
    reactor, owner, link, theirs = zygote
    forked(theirs, 1000, last=False)
    forked(theirs, 1001, last=True)
    reactor.turn()
    assert owner.forked == [1000, 1001]
    link.settled(1000)
    assert not link.retired
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    link.settled(1001)
    assert link.retired
    assert json.loads(theirs.recv(100)) == {"retire": True}


def test_a_zygote_that_has_gone_need_not_be_told(zygote: tuple[Reactor, Owner, ZygoteLink, socket.socket]) -> None:
    reactor, _, link, theirs = zygote
    forked(theirs, 1000, last=True)
    reactor.turn()
    link.close()
    link.settled(1000)
    assert not link.is_open
