"""What a page is told of files, between the bytes of a kernel that knows nothing of pages."""

from __future__ import annotations

import json
import random

import pytest

from appliance.kernel import zmtp
from appliance.kernel.file_news import CELL_USERNAME, MAX_STATUS_BYTES, FileNews, Followed
from appliance.kernel.jupyter_message import DELIMITER, Requests
from appliance.kernel.session_files import MIME
from appliance.signature import Signer

KEY = b"key"


class Files:
    def __init__(self, *shown):
        self.shown = list(shown)

    def changed(self):
        return self.shown.pop(0) if self.shown else None


def said(msg_type, content, username=CELL_USERNAME, of="execute_request", number=1):
    parent = {"msg_id": f"m{number}", "msg_type": of, "username": username}
    parts = [json.dumps(part).encode() for part in ({"msg_type": msg_type}, parent, {}, content)]
    return zmtp.message([b"topic", DELIMITER, b"signature", *parts])


def idle(**named):
    return said("status", {"execution_state": "idle"}, **named)


def messages(data):
    decoder = zmtp.Decoder(1 << 30)
    decoder.feed(zmtp.opening("PUB") + data)
    found = []
    while (parts := decoder.next_message()) is not None:
        found.append(parts)
    assert decoder.rest == b""
    return found


def followed(*shown):
    return Followed(FileNews(Requests(KEY), Files(*shown).changed))


STREAM = said("stream", {"name": "stdout", "text": '"idle" it said'})
LARGE = said("display_data", {"data": "x" * (MAX_STATUS_BYTES + 1)})


def test_the_files_come_before_the_idle_of_their_evaluation():
    sent = STREAM + idle()
    (stream, news, status) = messages(followed({"text/plain": "Files: a"}).take(sent))
    assert zmtp.message(stream) + zmtp.message(status) == sent
    assert news[1] == DELIMITER
    assert news[2] == Signer(KEY).sign(news[3:])
    header, parent, _, content = map(json.loads, news[3:])
    assert header["msg_type"] == "display_data"
    assert parent == {"msg_id": "m1", "msg_type": "execute_request", "username": CELL_USERNAME}
    assert content["data"] == {"text/plain": "Files: a"}


@pytest.mark.parametrize(
    "message",
    [
        STREAM,
        LARGE,
        idle(username="username"),
        idle(of="kernel_info_request"),
        said("status", {"execution_state": "busy"}),
        said("display_data", {"text": "idle", "execution_state": "idle"}),
        zmtp.message([b"idle"]),
        zmtp.message([b"t", DELIMITER, b"s", b'{"msg_type": "status"}', b"[[", b"", b'{"execution_state": "idle"}']),
        zmtp.message([b"t", DELIMITER, b"s", b'{"msg_type": "status"}', b"5", b"", b'{"execution_state": "idle"}']),
        zmtp.frame(b"\x05READY", 4),
    ],
)
def test_nothing_is_said_at_another_time(message):
    assert followed({"text/plain": "x"}).take(message) == message


def test_an_evaluation_that_left_nothing_says_nothing():
    assert followed().take(idle()) == idle()


def test_two_connections_hear_the_same_once():
    news = FileNews(Requests(KEY), Files({"text/plain": "x"}, {"text/plain": "y"}).changed)
    one, other = Followed(news), Followed(news)
    first = one.take(idle())
    assert other.take(idle()) == first
    assert len(messages(first)) == 2
    assert b'"y"' in one.take(idle(number=2))


@pytest.mark.parametrize("seed", range(20))
def test_however_the_bytes_are_cut_they_come_out_the_same(seed):
    chance = random.Random(seed)
    empty = zmtp.message([b"", b""])
    sent = b"".join(chance.choices([STREAM, LARGE, idle(), empty, zmtp.message([b"x" * 300, b""])], k=8))
    follow = followed()
    out = b""
    at = 0
    while at < len(sent):
        size = chance.choice((1, 2, 9, 100, 5000, 70_000))
        out += follow.take(sent[at : at + size])
        at += size
    assert out == sent


def test_a_kernel_stays_for_files_that_did_not_come_along():
    shown = {MIME: {"files": [{"name": "a", "data": ""}, {"name": "b"}], "more": 0}}
    (news, stay, _) = messages(followed(shown).take(idle()))
    assert [json.loads(parts[3])["msg_type"] for parts in (news, stay)] == ["display_data", "kernel_timeout"]
    assert stay[2] == Signer(KEY).sign(stay[3:])
    assert json.loads(stay[4]) == json.loads(news[4])
    shown = {MIME: {"files": [{"name": "a", "data": ""}], "more": 7}}
    assert len(messages(followed(shown).take(idle()))) == 2
