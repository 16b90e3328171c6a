"""When messages go out, and when an interrupt may come in."""

from __future__ import annotations

import signal

import pytest
import zmq

from appliance.kernel.publisher import Publisher


class Socket:
    def __init__(self, during=None):
        self.sent = []
        self._during = during
        self._parts = []

    def send(self, part, flags):
        if self._during is not None:
            self._during()
        self._parts.append(part)
        if not flags & zmq.SNDMORE:
            self.sent.append(self._parts)
            self._parts = []


def test_nothing_goes_out_before_a_socket_is_attached():
    publisher = Publisher()
    publisher.send_multipart([b"early"])
    socket = Socket()
    publisher.attach(socket)
    publisher.send_multipart([b"late"])
    assert socket.sent == [[b"late"]]


def test_a_forked_process_sends_nothing():
    publisher, socket = Publisher(), Socket()
    publisher.attach(socket)
    publisher._pid = -1
    publisher.send_multipart([b"from a fork"])
    assert not publisher.attached
    assert socket.sent == []


def test_an_interrupt_reaches_visitors_code_only():
    publisher = Publisher()
    publisher.on_interrupt(signal.SIGINT, None)
    publisher.interruptible = True
    with pytest.raises(KeyboardInterrupt):
        publisher.on_interrupt(signal.SIGINT, None)


def test_an_interrupt_in_the_middle_of_a_message_comes_after_it():
    publisher = Publisher()
    socket = Socket(during=lambda: publisher.on_interrupt(signal.SIGINT, None))
    publisher.attach(socket)
    publisher.interruptible = True
    with pytest.raises(KeyboardInterrupt):
        publisher.send_multipart([b"the", b"whole"])
    assert socket.sent == [[b"the", b"whole"]]
    socket._during = None
    publisher.send_multipart([b"next"])
    assert socket.sent == [[b"the", b"whole"], [b"next"]]


def test_a_message_of_a_signal_handler_amid_another_comes_after_it():
    publisher, spoken = Publisher(), []

    def handler():
        if len(spoken) < 2:
            spoken.append(True)
            publisher.send_multipart([b"from", b"handler"])

    socket = Socket(during=handler)
    publisher.attach(socket)
    publisher.send_multipart([b"the", b"whole"])
    assert socket.sent == [[b"the", b"whole"], [b"from", b"handler"], [b"from", b"handler"]]


def test_what_is_forgotten_goes_out_all_the_same():
    publisher, socket = Publisher(), Socket()
    publisher.attach(socket)
    publisher.forgetful.send_multipart([b"a"], copy=True, track=False)
    assert socket.sent == [[b"a"]]
    assert publisher.memory.packed() == (b"", False)
    publisher.send_multipart([b"b"])
    assert publisher.memory.packed()[0]
