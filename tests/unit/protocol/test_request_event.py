from __future__ import annotations

import json

import pytest

from appliance.protocol import request_event
from appliance.protocol.request_event import Event, framed, page_of, parse, render, shortened, syslog

EVENT = Event(
    id="0" * 32,
    time=1_800_000_000.25,
    kind="evaluate",
    page="https://a.example/é",
    address="192.0.2.0/24",
    kernel="abcd",
    language="python",
    seconds=1.5,
    cpu_seconds=0.25,
    memory_bytes=150_000_000,
    outcome="NameError",
    code="print('x')\n",
)


def test_an_event_is_a_line_of_json_and_comes_back() -> None:
    line = render(EVENT)
    assert line.count(b"\n") == 1
    document = json.loads(line)
    assert document["time"] == "2027-01-15T08:00:00.250Z"
    assert "profile" not in document
    assert (document["cpu_seconds"], document["memory_bytes"]) == (0.25, 150_000_000)
    assert parse(line) == EVENT
    assert "seconds" not in json.loads(render(Event(id="0" * 32, time=0.0, kind="permalink")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "other"}, "kind is none"),
        ({"id": "x"}, "hexadecimal"),
        ({"time": "yesterday"}, "Invalid isoformat"),
        ({"time": "2027-01-15T08:00:00"}, "no zone"),
        ({"time": 5}, "time is missing"),
        ({"seconds": "1"}, "seconds is no number"),
        ({"seconds": -1}, "seconds is no number"),
        ({"seconds": True}, "seconds is no number"),
        ({"cpu_seconds": -1}, "cpu_seconds is no number of seconds"),
        ({"memory_bytes": "1 GB"}, "memory_bytes is no number of bytes"),
        ({"memory_bytes": 1e30}, "memory_bytes is no number of bytes"),
        ({"page": 5}, "page is not text"),
    ],
)
def test_what_is_no_event_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(json.dumps({**json.loads(render(EVENT)), **changes}).encode())


@pytest.mark.parametrize("line", [b"", b"[]", b"\xff", b"{}", b" " * (request_event.MAX_LINE_BYTES + 1)])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)


@pytest.mark.parametrize(
    ("address", "how", "kept"),
    [
        ("192.0.2.77", "short", "192.0.2.0/24"),
        ("192.0.2.77", "full", "192.0.2.77"),
        ("192.0.2.77", "none", ""),
        ("2001:db8:1:2::/64", "short", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "full", "2001:db8:1:2::/64"),
        ("", "full", ""),
        ("nonsense", "short", ""),
        ("nonsense", "full", ""),
    ],
)
def test_addresses_are_kept_as_the_administrator_wants(address: str, how: str, kept: str) -> None:
    assert shortened(address, how) == kept


@pytest.mark.parametrize(
    ("origin", "referer", "page"),
    [
        ("https://a.example", "https://a.example/course/1?token=secret#x", "https://a.example/course/1"),
        ("https://a.example", "", "https://a.example"),
        ("null", "", ""),
        ("null", "file:///home/me", ""),
        ("", "https://a.example/" + "x" * 1000, "https://a.example/" + "x" * 482),
    ],
)
def test_a_page_has_no_query(origin: str, referer: str, page: str) -> None:
    assert page_of(origin, referer) == page


def test_syslog_has_the_fields_as_structured_data() -> None:
    message = syslog(EVENT, "host 1")
    assert message.startswith(b"<134>1 2027-01-15T08:00:00.250Z host-1 cell-appliance - evaluate [request@32473 page=")
    assert message.endswith("\ufeffevaluate NameError python https://a.example/é".encode())
    assert b'cpu_seconds="0.2500" memory_bytes="150000000"' in message
    assert b"code=\"print('x') \"" in message
    assert framed(b"abc") == b"3 abc"


def test_nothing_in_a_value_can_end_it() -> None:
    hostile = Event(id="0" * 32, time=0.0, kind="service", page='"] [x@1 y="\\\n<0>1', outcome="\ud800\x00")
    message = syslog(hostile, "h")
    assert b'page="\\"\\] [x@1 y=\\"\\\\ <0>1"' in message
    assert b"\n" not in message
    message.decode("utf-8")
