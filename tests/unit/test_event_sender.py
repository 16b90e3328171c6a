from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from appliance import event_sender
from appliance.config import Config, Users
from appliance.event_sender import EventSender
from appliance.protocol.request_event import Event, render


def event(number: int) -> Event:
    return Event(id=f"{number:032x}", time=1.8e9, kind="evaluate")


@pytest.fixture
def sender() -> EventSender:
    return EventSender(Config(users=Users(requestlog="1")), Clock())


def test_events_wait_until_they_are_kept_and_are_sent_again_after_a_break(sender: EventSender) -> None:
    sender.send(event(1))
    first = StringTransport()
    sender.linked(first)
    sender.send(event(2))
    assert first.value() == render(event(1)) + render(event(2))
    sender.kept(1)
    assert sender.waiting == 1
    sender.linked(None)
    sender.send(event(3))
    second = StringTransport()
    sender.linked(second)
    assert second.value() == render(event(2)) + render(event(3))
    sender.kept(2)
    assert sender.waiting == 0
    sender.kept(5)
    assert sender.waiting == 0


def test_beyond_the_limit_new_events_are_dropped_and_counted(
    sender: EventSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_sender, "MAX_WAITING_EVENTS", 3)
    for number in range(5):
        sender.send(event(number))
    assert (sender.waiting, sender.dropped) == (3, 2)
    transport = StringTransport()
    sender.linked(transport)
    assert transport.value() == b"".join(render(event(number)) for number in range(3))
    sender.kept(3)
    sender.send(event(9))
    assert (sender.waiting, sender.dropped) == (1, 2)


def test_bytes_are_limited_too(sender: EventSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_sender, "MAX_WAITING_BYTES", 150)
    for number in range(5):
        sender.send(event(number))
    assert sender.waiting == 1
    assert sender.dropped == 4
