from __future__ import annotations

import json
import re

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from appliance.config import Config, Web
from appliance.errors import InvalidZip, PoolExhausted
from appliance.web.http import Response, json_response
from appliance.web.site import IDLE_SECONDS, MAX_DRAINED_BYTES, Route
from tests.unit.web.serving import Answer, Connection, ask

FORM = ("Content-Type: application/x-www-form-urlencoded",)
SMALL = Config(web=Web(max_body_bytes=100))


async def echo(call, **groups):
    values = {name: list(value) for name, value in call.arguments.values.items()}
    return json_response({"method": call.method, "path": call.path, "arguments": values, **groups})


async def fail(call):
    raise RuntimeError("secret")


async def full(call):
    raise PoolExhausted


async def soon(call):
    raise PoolExhausted(retry_after_seconds=2.4)


async def bad(call):
    raise InvalidZip


async def host(call):
    return json_response([call.host, call.websocket_url, call.url])


ROUTES = (
    Route(re.compile("/echo(?:/(?P<name>[a-z]+))?"), {"GET": echo, "POST": echo}),
    Route(re.compile("/fail"), {"GET": fail}),
    Route(re.compile("/full"), {"GET": full}),
    Route(re.compile("/soon"), {"GET": soon}),
    Route(re.compile("/bad"), {"GET": bad}),
    Route(re.compile("/host"), {"GET": host}),
    Route(re.compile("/file"), {"GET": echo}, any_origin=True),
)


@pytest.fixture
def events():
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def error(answer):
    document = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert set(document) == {"error", "message"}
    return answer.status, document["error"]


def test_a_route_gets_what_its_address_names():
    answer = ask(ROUTES, "POST", "/echo/%61bc?a=1", FORM, b"a=2&b=3")
    assert json.loads(answer.body) == {
        "method": "POST",
        "path": "/echo/abc",
        "arguments": {"a": ["1", "2"], "b": ["3"]},
        "name": "abc",
    }
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["server"] == "cell-appliance"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_requests_follow_each_other_on_a_connection():
    connection = Connection(ROUTES)
    assert [connection.ask("GET", f"/echo?n={n}").status for n in range(3)] == [200, 200, 200]
    connection.lose()


def test_head_has_the_headers_and_no_body():
    answer = Connection(ROUTES)
    answer.send(b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.received().partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert re.search(rb"Content-Length: [1-9]", head)
    assert body == b""


def test_unknown_addresses_and_methods_are_json_errors():
    assert error(ask(ROUTES, "GET", "/nothing")) == (404, "not_found")
    answer = ask(ROUTES, "PUT", "/echo")
    assert error(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert error(ask(ROUTES, "GET", "/%ff")) == (400, "bad_request")


def test_an_error_of_the_appliance_has_its_status_and_code(events):
    assert error(ask(ROUTES, "GET", "/bad?z=private")) == (400, "invalid_zip")
    (event,) = [event for event in events if event.get("code") == "invalid_zip"]
    assert (event["method"], event["path"], event["status"]) == ("GET", "/bad", 400)
    assert "private" not in str(event)


def test_a_full_server_says_when_to_come_again():
    assert ask(ROUTES, "GET", "/full").headers["retry-after"] == "5"
    assert ask(ROUTES, "GET", "/soon").headers["retry-after"] == "3"


def test_an_unknown_failure_is_bland_outside_and_whole_in_the_log(events):
    answer = ask(ROUTES, "GET", "/fail")
    assert error(answer) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert any("secret" in str(event.get("log_failure")) for event in events)


@pytest.mark.parametrize("origin", ["https://page.example", "null"])
def test_pages_of_any_origin_may_read_the_answer(origin):
    for path in ("/echo", "/nothing", "/full"):
        headers = ask(ROUTES, "GET", path, [f"Origin: {origin}"]).headers
        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-credentials"] == "true"
        assert headers["vary"] == "Origin"
        assert "Jupyter-Kernel-ID" in headers["access-control-expose-headers"]


def test_without_an_origin_there_is_no_cors():
    headers = ask(ROUTES, "GET", "/echo").headers
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"


def test_files_are_for_everybody():
    headers = ask(ROUTES, "GET", "/file", ["Origin: null"]).headers
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers


def test_a_preflight_is_answered():
    answer = ask(ROUTES, "OPTIONS", "/echo", ["Origin: null", "Access-Control-Request-Method: POST"])
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "null"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]


def test_options_without_an_origin_is_200_for_load_balancers():
    answer = ask(ROUTES, "OPTIONS", "/echo")
    assert answer.status == 200
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_body_of_the_largest_size_is_taken():
    assert ask(ROUTES, "POST", "/echo", FORM, b"a=" + b"x" * 98, SMALL).status == 200
    assert error(ask(ROUTES, "POST", "/echo", FORM, b"a=" + b"x" * 99, SMALL)) == (413, "too_large")


def test_a_chunked_body_is_bounded_too():
    connection = Connection(ROUTES, SMALL)
    connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: null\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        connection.send(b"40\r\n" + b"x" * 64 + b"\r\n")
    held = len(connection.channel.requests[0].content.getvalue())
    connection.send(b"0\r\n\r\n")
    raw = connection.received()
    assert held == 0
    assert b" 413 " in raw
    assert b"Access-Control-Allow-Origin: null" in raw


def test_a_body_without_end_is_cut_off():
    connection = Connection(ROUTES, SMALL)
    connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
    piece = b"x" * 1_000_000
    for _ in range(MAX_DRAINED_BYTES // len(piece) + 3):
        connection.send(piece)
    raw = connection.received()
    assert raw.count(b"413") == 1
    assert connection.transport.disconnecting


HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def drip(connection, data, seconds):
    """Send single bytes until the server has enough of it; return how long that took."""
    began = connection.clock.seconds()
    for byte in data:
        connection.send(bytes([byte]))
        connection.clock.advance(seconds)
        if connection.transport.disconnecting:
            break
    return connection.clock.seconds() - began


@pytest.mark.parametrize("data", [b"GET /" + b"x" * 100, HEAD])
def test_a_head_has_a_limit_in_time_however_slowly_it_comes(data):
    assert drip(Connection(ROUTES), data, IDLE_SECONDS - 1) == 2 * (IDLE_SECONDS - 1)
    connection = Connection(ROUTES)
    connection.clock.advance(IDLE_SECONDS - 1)
    drip(connection, data, IDLE_SECONDS / 2 / len(data))
    assert not connection.transport.disconnecting


def test_each_head_of_a_connection_has_its_own_time():
    connection = Connection(ROUTES)
    for _ in range(3):
        assert connection.ask("GET", "/echo").status == 200
        connection.clock.advance(IDLE_SECONDS - 1)
        drip(connection, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", (IDLE_SECONDS - 1) / 32)
        assert b" 200 " in connection.received()
    connection.clock.advance(IDLE_SECONDS)
    assert connection.transport.disconnecting


def test_a_body_may_pause_and_its_length_may_not_drip():
    connection = Connection(ROUTES)
    connection.send(HEAD[:-1])
    connection.clock.advance(IDLE_SECONDS - 1)
    connection.send(HEAD[-1:])
    for _ in range(3):
        connection.clock.advance(IDLE_SECONDS - 1)
        connection.send(b"1\r\nx\r\n")
    assert drip(connection, b"0" * 100, IDLE_SECONDS - 1) == 2 * (IDLE_SECONDS - 1)


def test_host_is_believed_when_it_is_one():
    assert json.loads(ask(ROUTES, "GET", "/host").body) == [
        "cells.example",
        "ws://cells.example/",
        "http://cells.example",
    ]


@pytest.mark.parametrize("name", ['a"b', "a b", "a/b", "", "x" * 256, "a;b", "[::1", "a:123456"])
def test_a_malformed_host_is_refused(name):
    connection = Connection(ROUTES)
    connection.send(f"GET /host HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    assert b" 400 " in connection.received()


def test_the_scheme_is_believed_from_the_proxy_alone():
    headers = ["X-Forwarded-Proto: https"]
    behind = Config(web=attrs.evolve(Web(), proxy_protocol=True))
    assert json.loads(ask(ROUTES, "GET", "/host", headers).body)[1] == "ws://cells.example/"
    assert json.loads(ask(ROUTES, "GET", "/host", headers, config=behind).body)[1] == "wss://cells.example/"


def test_nothing_is_sent_to_a_client_that_went_away(events):
    waiting = Deferred()

    async def slow(call):
        await waiting
        assert call.gone
        return Response(200)

    connection = Connection([Route(re.compile("/slow"), {"GET": slow})])
    assert connection.ask("GET", "/slow") is None
    connection.lose()
    waiting.callback(None)
    assert connection.received() == b""
    assert not [event for event in events if event.get("log_failure")]


def test_a_header_that_is_not_utf_8_is_a_bad_request(events):
    for header in (b"Origin: \xff", b"Content-Type: text/html; charset=\xff", b"X-Any: \xc3\x28"):
        connection = Connection(ROUTES)
        connection.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        answer = connection.received()
        assert answer.startswith(b"HTTP/1.1 400 "), header
        assert b"bad_request" in answer
        connection.lose()
    assert not [event for event in events if event.get("log_failure")]


def test_the_log_of_a_refusal_names_no_kernel(events):
    kernel_id = "0f3c1a52-9d0e-4b7a-8f16-3c5d7e9fab01"
    assert ask(ROUTES, "GET", f"/kernel/{kernel_id}/channels").status == 404
    (event,) = [event for event in events if event.get("code") == "not_found"]
    assert kernel_id not in event["path"]
    assert re.fullmatch("/kernel/[0-9a-f]{8}/channels", event["path"])


def test_a_site_that_finishes_waits_for_answers_under_way_and_keeps_no_connection():
    waiting = Deferred()

    async def slow(call):
        await waiting
        return json_response("done")

    routes = (Route(re.compile("/slow"), {"GET": slow}), *ROUTES)
    first, second = Connection(routes), Connection(routes)
    router = first.router
    assert first.ask("GET", "/slow") is None
    finished = []
    router.finish().addCallback(finished.append)
    assert finished == []
    second.channel.site = first.channel.site
    answer = second.ask("GET", "/echo")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert finished == []
    waiting.callback(None)
    assert finished == [None]
    again = []
    router.finish().addCallback(again.append)
    assert again == [None]


def test_finishing_can_be_given_up():
    connection = Connection(ROUTES)
    connection.router._under_way = 1
    failures = []
    giving_up = connection.router.finish()
    giving_up.addErrback(failures.append)
    giving_up.cancel()
    assert len(failures) == 1
    connection.router._under_way = 0
    connection.router._tell_idle()


def test_a_body_that_drips_is_given_up():
    connection = Connection(ROUTES, body_seconds=60)
    connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
    for _ in range(12):
        connection.send(b"x")
        assert connection.received() == b""
        connection.clock.advance(5)
    connection.clock.advance(1)
    connection.send(b"x")
    answer = Answer(connection.received())
    assert (answer.status, json.loads(answer.body)["error"]) == (408, "request_timeout")
    assert connection.transport.disconnecting
    connection.send(b"x" * 9_987)
    assert connection.received() == b""


def test_a_body_that_comes_in_time_is_taken_after_that():
    connection = Connection(ROUTES, body_seconds=60)
    connection.send(b"POST /soon HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
    connection.clock.advance(29)
    connection.send(b"x")
    connection.clock.advance(3600)
    assert b" 408 " not in connection.received()
