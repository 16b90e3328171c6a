"""What crosses between pool and zygote: datagrams of a zygote, and limits of a kernel."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from appliance.pool.zygote_link import MAX_DATAGRAM_BYTES, ZygoteLink
from appliance.zygote.sandbox import Limits
from tests.fuzz.budget import ROUND, fuzz, seconds
from tests.fuzz.test_messages import JSON, NEARLY, SCALARS, check_sentence, dumped

pytestmark = pytest.mark.timeout(seconds() + 120)


class Reactor:
    """Watches nothing: the fuzzer calls what a readable socket would."""

    def addReader(self, reader: object) -> None:  # noqa: N802 - Twisted
        """Do nothing."""

    def removeReader(self, reader: object) -> None:  # noqa: N802 - Twisted
        """Do nothing."""


class Owner:
    """Takes what a link tells, as a pool does: descriptors are its own to close."""

    def __init__(self) -> None:
        self.lost = False
        self.slots: list[object] = []

    def zygote_hello(self, link: ZygoteLink) -> None:
        assert all(type(name) is str and type(reason) is str for name, reason in link.layers.items())

    def zygote_ready(self, link: ZygoteLink) -> None:
        """Do nothing."""

    def zygote_alive(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        self.slots.append(slot)
        os.close(pidfd)

    zygote_forked = zygote_alive

    def zygote_failed(self, link: ZygoteLink, slot: int, why: str) -> None:
        self.slots.append(slot)

    def zygote_exited(self, link: ZygoteLink, slot: int, status: int, *, oom: bool) -> None:
        self.slots += [slot, status]

    def zygote_lost(self, link: ZygoteLink) -> None:
        self.lost = True


NAMES = [
    "hello",
    "layers",
    "alive",
    "inventory",
    "forked",
    "last",
    "failed",
    "step",
    "error",
    "exited",
    "status",
    "oom",
]
DATAGRAMS = (
    st.binary(max_size=100)
    | NEARLY
    | JSON.map(dumped)
    | st.dictionaries(st.sampled_from(NAMES), JSON | st.integers(0, 70_000), max_size=5).map(dumped)
)


@ROUND
@given(
    st.lists(
        st.tuples(DATAGRAMS.filter(lambda data: 0 < len(data) <= MAX_DATAGRAM_BYTES), st.integers(0, 2)), max_size=4
    )
)
def any_datagrams(datagrams: list[tuple[bytes, int]]) -> None:
    before = os.listdir("/proc/self/fd")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    owner = Owner()
    reactor: Any = Reactor()
    link = ZygoteLink(reactor, ours, owner)
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for data, descriptors in datagrams:
            socket.send_fds(theirs, [data], [null] * descriptors)
        link._read()
    finally:
        link.close()
        theirs.close()
        ours.close()
        os.close(null)
    assert all(type(slot) is int for slot in owner.slots)
    assert os.listdir("/proc/self/fd") == before  # whatever came, no descriptor is kept


NUMBERS = st.integers() | st.floats() | SCALARS | JSON
FIELDS = list(Limits.__dataclass_fields__)


@ROUND
@given(
    JSON
    | st.fixed_dictionaries(dict.fromkeys(FIELDS, st.integers(-2, 1 << 50) | st.integers(1, 1 << 40)))
    | st.fixed_dictionaries(dict.fromkeys(FIELDS, NUMBERS))
    | st.dictionaries(st.sampled_from([*FIELDS, "more"]), st.integers(1, 9))
)
def any_limits(document: object) -> None:
    document = json.loads(json.dumps(document))
    try:
        limits = Limits.parse(document)
    except ValueError as exc:
        check_sentence(str(exc).removeprefix("limits: ") + ".")
        return
    values = [getattr(limits, name) for name in FIELDS]
    assert all(type(value) is int and 0 < value < 1 << 48 for value in values)


def test_any_datagrams_of_a_zygote() -> None:
    seen: list[Any] = []
    globalLogPublisher.addObserver(seen.append)
    try:
        fuzz(any_datagrams)
    finally:
        globalLogPublisher.removeObserver(seen.append)


def test_any_limits() -> None:
    fuzz(any_limits)
