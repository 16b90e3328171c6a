"""The short way of sending is the same on the wire as the ordinary one."""

from __future__ import annotations

import json

import pytest
from jupyter_client.session import Session

from appliance.kernel.wire import KernelSession

KEY = bytes(range(32))


class Socket:
    def __init__(self):
        self.sent = []

    def send_multipart(self, parts, *_, **__):
        self.sent.append([bytes(part) for part in parts])


@pytest.fixture
def session():
    session = KernelSession(username="visitor")
    session.adopt("a" * 32, KEY)
    return session


def received(parts):
    other = Session(key=KEY)
    idents, rest = other.feed_identities(parts)
    return idents, other.deserialize(rest)


PARENT = {"header": {"msg_id": "m", "msg_type": "execute_request", "session": "s"}, "content": {"code": "1"}}


@pytest.mark.parametrize(
    "content",
    [None, {}, {"text": 'ünïcode \u2028 " \\ \n'}, {"number": 1.5, "list": [1, None, True]}, {"bytes": b"\x00\xff"}],
)
def test_messages_are_what_the_ordinary_session_sends(session, content):
    socket = Socket()
    session.send(socket, "stream", content, parent=PARENT, ident=b"topic", metadata={"a": 1})
    ordinary = Session(username="visitor", session="a" * 32, key=KEY)
    ordinary.send(socket, "stream", content, parent=PARENT, ident=b"topic", metadata={"a": 1})
    (idents, short), (other_idents, long) = map(received, socket.sent)
    assert idents == other_idents == [b"topic"]
    for name in ("parent_header", "metadata", "content", "msg_type"):
        assert short[name] == long[name]
    assert set(short["header"]) == set(long["header"])
    assert {**short["header"], "msg_id": 0, "date": 0} == {**long["header"], "msg_id": 0, "date": 0}


def test_message_ids_differ(session):
    socket = Socket()
    for _ in range(3):
        session.send(socket, "status", {"execution_state": "busy"})
    assert len({received(parts)[1]["header"]["msg_id"] for parts in socket.sent}) == 3


def test_the_parent_is_that_of_each_message(session):
    socket = Socket()
    for parent in (PARENT, {"header": {"msg_id": "other"}}, None, PARENT):
        session.send(socket, "status", {}, parent=parent)
    parents = [json.loads(parts[-3]).get("msg_id") for parts in socket.sent]
    assert parents == ["m", "other", None, "m"]


def test_lone_surrogates_do_not_break_a_message(session):
    socket = Socket()
    session.send(socket, "stream", {"text": "a\udc80b\ud800c"})
    session.send(socket, session.msg("stream", {"text": "a\udc80b\ud800c"}))
    for parts in socket.sent:
        assert json.loads(parts[-1].decode())["text"] == "a\udc80b\ud800c"


def test_a_forked_process_sends_nothing(session):
    socket = Socket()
    session.pid = -1
    assert session.send(socket, "status", {}) is None
    assert socket.sent == []


def test_whole_messages_and_buffers_go_the_ordinary_way(session):
    socket = Socket()
    session.send(socket, session.msg("status", {"execution_state": "idle"}))
    session.send(socket, "comm_msg", {}, buffers=[b"raw"])
    assert received(socket.sent[0])[1]["content"] == {"execution_state": "idle"}
    assert received(socket.sent[1])[1]["buffers"] == [b"raw"]


def test_every_fork_has_its_own_session(session):
    session.adopt("b" * 32, b"k" * 32)
    socket = Socket()
    session.send(socket, "status", {})
    other = Session(key=b"k" * 32)
    assert other.deserialize(other.feed_identities(socket.sent[0])[1])["header"]["session"] == "b" * 32
