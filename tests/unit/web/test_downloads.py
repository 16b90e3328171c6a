"""Files on their way from a kernel to a browser, with a kernel at the other end that may say anything."""

from __future__ import annotations

import json
import re

import pytest
from twisted.internet.task import Clock

from appliance.config import Config, Web
from appliance.signature import Signer
from appliance.web import downloads as module
from appliance.web.downloads import (
    CLIENT_STALL_SECONDS,
    MAX_AT_ONCE,
    Downloads,
    FileNotGiven,
    FileTooLargeToFetch,
)
from appliance.web.http import Response
from appliance.web.kept_files import FileGone
from appliance.web.kernel_files import MAX_ANSWER_BYTES, STALL_SECONDS
from appliance.web.pool_client import KernelAddress
from appliance.web.site import Route
from tests.unit.web.running import start
from tests.unit.web.serving import Answer, Connection, Transport

ADDRESS = KernelAddress("00000000-0000-4000-8000-000000000000", b"key", "/nowhere", "python")
SECONDS = 100.0


class KernelTransport(Transport):
    """The web role's end of a connection to a kernel, which is lost at once when it is aborted."""

    def __init__(self, conversation):
        super().__init__()
        self.conversation = conversation

    def abortConnection(self):  # noqa: N802 - Twisted
        if self.connected:
            self.connected = False
            super().abortConnection()
            self.conversation.connectionLost()


class Kernel:
    """A kernel's door for files, and a browser that asks for one."""

    def __init__(self, monkeypatch, **limits):
        self.clock = Clock()
        self.conversations = []
        limits = {"max_download_bytes": 1000, "transfer_seconds": SECONDS, **limits}
        self.downloads = Downloads(Config(web=Web(**limits)), self.clock)

        async def speak(address, conversation, reactor):
            conversation.makeConnection(KernelTransport(conversation))
            self.conversations.append(conversation)
            return await conversation.answered

        monkeypatch.setattr(module, "speak", speak)

        async def get(call):
            file = await self.downloads.open(ADDRESS, "d/a")
            return Response(200, b"", "text/plain", (), file.part(2, file.size - 2))

        self.browser = Connection((Route(re.compile("/"), {"GET": get}),), clock=self.clock)

    @property
    def transport(self):
        return self.conversations[-1].transport

    def open(self):
        return start(self.downloads.open(ADDRESS, "d/a"))

    def ask(self, method="GET"):
        self.browser.send(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def say(self, data):
        self.conversations[-1].dataReceived(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def heard(self):
        data = self.transport.value()
        self.transport.clear()
        return data


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


def ok(size, changed=10**18):
    return {"status": "ok", "size": size, "changed": changed}


def test_a_part_goes_from_the_kernel_to_the_browser(kernel):
    kernel.ask()
    signature, _, text = kernel.heard().partition(b" ")
    assert json.loads(text) == {"fetch": "d/a"}
    assert signature == Signer(b"key").sign((text.rstrip(b"\n"),))
    for byte in json.dumps(ok(12)).encode() + b"\n":
        kernel.say(bytes([byte]))
    assert kernel.heard() == b"2 10\n"
    kernel.say(b"01234")
    kernel.say(b"56789")
    answer = Answer(kernel.browser.received())
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"0123456789", "10")
    assert kernel.transport.aborted
    assert kernel.downloads._under_way == {}
    # the connection of the browser goes on
    kernel.ask()
    kernel.say(ok(2))
    assert Answer(kernel.browser.received()).body == b""


def test_more_than_was_asked_for_is_not_passed_on(kernel):
    kernel.ask()
    kernel.say(ok(5))
    kernel.say(b"abcHTTP/1.1 200 OK\r\n\r\n")
    assert kernel.browser.received().endswith(b"\r\n\r\nabc")
    assert kernel.transport.aborted


def test_less_than_was_asked_for_ends_the_connection(kernel):
    kernel.ask()
    kernel.say(ok(1000))
    kernel.say(b"abc")
    assert not kernel.browser.transport.disconnecting
    kernel.transport.abortConnection()
    assert kernel.browser.transport.disconnecting
    assert kernel.downloads._under_way == {}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"status": "error", "code": "no_file"}, FileGone),
        ({"status": "error", "code": "bad_name"}, FileGone),
        ({"status": "error", "code": "failed"}, FileNotGiven),
        ({"status": "error", "code": ["no_file"]}, FileNotGiven),
        ({"status": ["ok"]}, FileNotGiven),
        (ok(-1), FileNotGiven),
        (ok(True), FileNotGiven),
        (ok("5"), FileNotGiven),
        (ok(5.0), FileNotGiven),
        (ok(5, None), FileNotGiven),
        (ok(5, -1), FileNotGiven),
        (ok(5, 10**30), FileNotGiven),
        (ok(1001), FileTooLargeToFetch),
        (ok(10**18), FileTooLargeToFetch),
        (ok(10**400), FileNotGiven),
        ([], FileNotGiven),
        (b"[" * 4000 + b"\n", FileNotGiven),
        (b"\xff\n", FileNotGiven),
        (b"x" * (MAX_ANSWER_BYTES + 1), FileNotGiven),
    ],
)
def test_whatever_a_kernel_says_of_a_file(kernel, said, error):
    results = kernel.open()
    kernel.say(said)
    (raised,) = results
    assert type(raised) is error
    assert kernel.transport.aborted
    assert kernel.downloads._under_way == {}


def test_the_reason_names_the_sizes(monkeypatch):
    kernel = Kernel(monkeypatch, max_download_bytes=1 << 20)
    results = kernel.open()
    kernel.say(ok(3 << 20))
    assert "up to 1 MiB" in results[0].message
    assert "this one has 3 MiB" in results[0].message
    kernel = Kernel(monkeypatch, max_download_bytes=0)
    results = kernel.open()
    kernel.say(ok(1))
    assert "web.max_download_bytes" in results[0].message


def test_bytes_that_nobody_asked_for_end_it(kernel):
    results = kernel.open()
    kernel.say(json.dumps(ok(5)).encode() + b"\nmore")
    assert isinstance(results[0], FileNotGiven)
    assert kernel.transport.aborted
    kernel.ask()
    kernel.say(json.dumps(ok(7)).encode() + b"\nabcde")
    assert b"503 Service" in kernel.browser.received()


def test_a_kernel_that_says_nothing_is_given_up(kernel):
    results = kernel.open()
    kernel.clock.advance(STALL_SECONDS - 1)
    assert results == []
    kernel.clock.advance(1)
    assert isinstance(results[0], FileNotGiven)


def test_a_kernel_that_stops_half_way_is_given_up(kernel):
    kernel.ask()
    kernel.say(ok(1000))
    for _ in range(3):
        kernel.clock.advance(STALL_SECONDS - 1)
        kernel.say(b"x")
    assert not kernel.browser.transport.disconnecting
    kernel.clock.advance(STALL_SECONDS)
    assert kernel.browser.transport.disconnecting


def test_a_file_that_drips_is_given_up_in_the_end(kernel):
    kernel.ask()
    kernel.say(ok(1000))
    for _ in range(int(SECONDS) - 1):
        kernel.clock.advance(1)
        kernel.say(b"x")
    assert not kernel.browser.transport.disconnecting
    kernel.clock.advance(2)
    assert kernel.browser.transport.disconnecting
    assert kernel.transport.aborted


def test_a_browser_that_does_not_read_stops_the_kernel_and_is_ended(kernel):
    kernel.ask()
    kernel.say(ok(1000))
    kernel.browser.channel.pauseProducing()
    assert kernel.transport.producerState == "paused"
    kernel.clock.advance(STALL_SECONDS + 1)
    assert not kernel.browser.transport.disconnecting
    kernel.browser.channel.resumeProducing()
    assert kernel.transport.producerState == "producing"
    kernel.browser.channel.pauseProducing()
    kernel.clock.advance(CLIENT_STALL_SECONDS + 1)
    assert kernel.browser.transport.disconnecting


def test_a_browser_that_goes_away_lets_go_of_the_kernel(kernel):
    kernel.ask()
    kernel.say(ok(1000))
    kernel.browser.lose()
    assert kernel.transport.aborted
    assert kernel.downloads._under_way == {}
    kernel.ask()


def test_head_asks_for_no_bytes(kernel):
    kernel.ask("HEAD")
    kernel.heard()
    kernel.say(ok(1000))
    assert kernel.heard() == b""
    assert kernel.transport.aborted
    assert b"Content-Length: 998" in kernel.browser.received()


def test_a_kernel_gives_a_few_files_at_once(kernel):
    for _ in range(MAX_AT_ONCE):
        kernel.open()
    assert isinstance(kernel.open()[0], FileNotGiven)
    kernel.transport.abortConnection()
    assert kernel.open() == []
    kernel.clock.advance(SECONDS)
    assert kernel.downloads._under_way == {}
