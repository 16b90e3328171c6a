"""The short way of sending is the same on the wire as the ordinary one."""

from __future__ import annotations

import json

import pytest
from jupyter_client.session import Session

from appliance.kernel import widget_modules
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
        session.send(socket, "comm_msg", {}, buffers=[b"x"])
    assert len({received(parts)[1]["header"]["msg_id"] for parts in socket.sent}) == 6


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


def test_whole_messages_are_what_the_ordinary_session_sends(session):
    socket = Socket()
    message = session.msg("execute_result", {"data": {"text/plain": "2"}}, parent=PARENT, metadata={"a": 1})
    session.send(socket, message, ident=b"topic")
    Session(key=KEY).send(socket, message, ident=b"topic")
    assert received(socket.sent[0]) == received(socket.sent[1])


def test_the_parent_may_come_as_a_message_and_as_its_header_by_turns(session):
    socket = Socket()
    session.send(socket, "status", {}, parent=PARENT)
    session.send(socket, session.msg("execute_result", {}, parent=PARENT["header"]))
    session.send(socket, "status", {}, parent=PARENT)
    assert [json.loads(parts[-3])["msg_id"] for parts in socket.sent] == ["m", "m", "m"]


def test_buffers_go_the_ordinary_way(session):
    socket = Socket()
    session.send(socket, "comm_msg", {}, buffers=[b"raw"])
    assert received(socket.sent[0])[1]["buffers"] == [b"raw"]


def request(version="5.3", key=KEY, **content):
    client = Session(key=key)
    message = client.msg("execute_request", content)
    message["header"]["version"] = version
    return client.serialize(message)[1:]


def test_messages_are_read_as_the_ordinary_session_reads_them_but_for_dates(session):
    parts = [*request(code="1"), b"raw"]
    ordinary, short = Session(key=KEY).deserialize(parts), session.deserialize(parts)
    assert short["header"]["date"] == ordinary["header"].pop("date").isoformat().replace("+00:00", "Z")
    del short["header"]["date"]
    assert short == ordinary


def test_an_old_message_is_adapted(session):
    client = Session(key=KEY)
    message = client.msg("object_info_request", {"oname": "a", "detail_level": 0})
    message["header"]["version"] = "4.1"
    assert session.deserialize(client.serialize(message)[1:])["msg_type"] == "inspect_request"


@pytest.mark.parametrize("parts", [request(key=b"other"), [b"", *request()[1:]], request()[:4]])
def test_a_message_that_is_not_signed_or_not_whole_is_refused(session, parts):
    with pytest.raises((ValueError, TypeError)):
        session.deserialize(parts)


def test_a_message_that_comes_again_is_refused(session):
    parts = request(code="1")
    session.deserialize(parts)
    with pytest.raises(ValueError, match="Duplicate"):
        session.deserialize(parts)


def test_every_fork_has_its_own_session(session):
    session.adopt("b" * 32, b"k" * 32)
    socket = Socket()
    session.send(socket, "status", {})
    other = Session(key=b"k" * 32)
    assert other.deserialize(other.feed_identities(socket.sent[0])[1])["header"]["session"] == "b" * 32


def test_buffers_travel_as_text_for_a_client_whose_connection_is_text(session):
    socket = Socket()
    session.send(socket, "comm_msg", {"comm_id": "a"}, parent=PARENT, buffers=[b"\x00\xff", memoryview(b"ab")])
    session.buffers_as_text = True
    session.send(socket, "comm_msg", {"comm_id": "a"}, parent=PARENT, metadata={"k": 1}, buffers=[b"\x00\xff"])
    (_, binary), (_, text) = map(received, socket.sent)
    assert [bytes(buffer) for buffer in binary["buffers"]] == [b"\x00\xff", b"ab"]
    assert text["buffers"] == []
    assert text["metadata"] == {"k": 1, "buffers": ["AP8="]}


def test_a_large_front_end_of_a_widget_goes_once_to_a_page_and_whole_to_other_clients(session):
    content = {"comm_id": "a", "data": {"state": {"_esm": "x" * widget_modules.LEAST_CHARACTERS}}}
    socket = Socket()
    for is_page in (False, True):
        session.buffers_as_text = is_page
        for _ in range(2):
            session.send(socket, "comm_open", content, parent=PARENT)
    states = [received(parts)[1]["content"]["data"]["state"] for parts in socket.sent]
    assert ["_esm" in state for state in states] == [True, True, True, False]
    assert [widget_modules.KEY in state for state in states] == [False, False, True, True]


@pytest.mark.parametrize(("texts", "expected"), [(["AP8=", ""], [b"\x00\xff", b""]), ("none", []), (None, [])])
def test_buffers_in_the_metadata_are_taken_as_such(session, texts, expected):
    socket = Socket()
    Session(key=KEY).send(socket, "comm_msg", {}, metadata={"buffers": texts})
    _, parts = session.feed_identities(socket.sent[0])
    assert [bytes(buffer) for buffer in session.deserialize(parts)["buffers"]] == expected


@pytest.mark.parametrize("texts", [["not base64"], [5], [None]])
def test_what_is_no_buffer_is_no_message(session, texts):
    socket = Socket()
    Session(key=KEY).send(socket, "comm_msg", {}, metadata={"buffers": texts})
    _, parts = session.feed_identities(socket.sent[0])
    with pytest.raises((ValueError, TypeError)):
        session.deserialize(parts)


def test_displayed_objects_are_prepared_and_nothing_else(session):
    session.prepare_display = lambda data: {**data, "more": 1}
    socket = Socket()
    session.send(socket, "display_data", {"data": {"text/plain": "a"}, "metadata": {}})
    session.send(socket, session.msg("display_data", {"data": {"text/plain": "b"}, "metadata": {}}))
    session.send(socket, "stream", {"text": "data"})
    contents = [json.loads(parts[-1]) for parts in socket.sent]
    assert [content.get("data") for content in contents] == [
        {"text/plain": "a", "more": 1},
        {"text/plain": "b", "more": 1},
        None,
    ]
