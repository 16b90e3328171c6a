"""Kernels, service, permalinks and page, as a client sees them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import zlib

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.python.failure import Failure

from appliance.config import parse
from appliance.errors import PermalinkRemoved, PermalinksFull, PermalinksUnavailable, PoolExhausted, QuotaExceeded
from appliance.protocol.permalink import SharedCell, candidate_ids, render_cell, zip_text
from appliance.web import service_routes
from appliance.web.access import Access
from appliance.web.kernel_routes import KernelRoutes
from appliance.web.page import Page
from appliance.web.permalink_routes import PermalinkRoutes
from appliance.web.pool_client import Place
from appliance.web.service_routes import ServiceRoutes
from appliance.web.site import CellSite, Router
from tests.unit.web.fakes import NOW, FakePermalinks, World
from tests.unit.web.serving import Answer, Connection, ask

FORM = ("Content-Type: application/x-www-form-urlencoded",)
JSON = ("Content-Type: application/json",)
ID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def routes(world):
    return KernelRoutes(world.config, world.kernels, Access(world.config), world.clock, lambda: NOW).routes()


@pytest.fixture
def permalinks():
    return FakePermalinks()


# kernels


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/kernel", (), b""),
        ("/kernel?CellSessionID=0123456789abcdef&timeout=0&accepted_tos=true", JSON, b"{}"),
        ("/kernel", JSON, b'{"accepted_tos": tru'),
        ("/kernel", FORM, b"accepted_tos=true&timeout=0&unknown=1"),
    ],
)
def test_a_kernel_is_leased_whatever_the_form_of_the_request(world, routes, path, headers, body):
    answer = ask(routes, "POST", path, headers, body)
    document = json.loads(answer.body)
    (kernel_id,) = world.pool.known
    assert document == {"ws_url": "ws://cells.example/", "id": kernel_id}
    assert answer.headers["jupyter-kernel-id"] == kernel_id
    assert answer.headers["cache-control"] == "no-store"
    assert world.pool.leases[0][0] == "visitor"


@pytest.mark.parametrize("place", ["query", "form"])
def test_the_timeout_may_be_in_query_or_form(world, routes, place):
    path, headers, body = ("/kernel?timeout=60", (), b"") if place == "query" else ("/kernel", FORM, b"timeout=60")
    assert ask(routes, "POST", path, headers, body).status == 200
    assert world.pool.leases[0][3] == 60


@pytest.mark.parametrize("timeout", ["x", "nan", "-1", ""])
def test_a_timeout_that_is_no_number_is_refused_before_a_kernel_is_taken(world, routes, timeout):
    answer = ask(routes, "POST", f"/kernel?timeout={timeout}")
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "bad_request")
    assert world.pool.leases == []


def test_a_host_that_is_none_is_refused_before_a_kernel_is_taken(world, routes):
    connection = Connection(routes)
    connection.send(b"POST /kernel HTTP/1.1\r\nHost: a b\r\nContent-Length: 0\r\n\r\n")
    assert b" 400 " in connection.received()
    assert world.pool.leases == []


def test_all_kernels_taken_is_503_with_retry_after(world, routes):
    world.pool.error = PoolExhausted()
    answer = ask(routes, "POST", "/kernel", ["Origin: null"])
    assert (answer.status, json.loads(answer.body)["error"]) == (503, "pool_exhausted")
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["access-control-allow-origin"] == "null"


@pytest.mark.parametrize("path", ["/kernel?profile=", "/kernel", "/kernel?profile=default"])
def test_who_asks_for_no_profile_gets_the_default(world, routes, path):
    assert ask(routes, "POST", path).status == 200
    assert world.pool.leases[0][2] == "default"


def test_an_exposed_profile_may_be_chosen_and_no_other(monkeypatch):
    config = parse("[profile.heavy]\nexposed = true\n[profile.exam]\n")
    world = World(monkeypatch, config)
    routes = KernelRoutes(config, world.kernels, Access(config), world.clock, lambda: NOW).routes()
    assert ask(routes, "POST", "/kernel?profile=heavy").status == 200
    assert world.pool.leases[0][2] == "heavy"
    for name in ("exam", "none", "../x", "x" * 1000):
        answer = ask(routes, "POST", f"/kernel?profile={name}")
        document = json.loads(answer.body)
        assert (answer.status, document["error"]) == (400, "unknown_profile")
        assert document["message"].endswith("Profiles: default, heavy.")
    services = ServiceRoutes(config, world.kernels, Access(config), lambda: NOW).routes()
    answer = ask(services, "POST", "/service", FORM, b"code=1&profile=exam")
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "unknown_profile")
    assert len(world.pool.leases) == 1


@pytest.mark.parametrize(
    ("query", "headers", "same"),
    [
        ("?CellSessionID=a", (), True),
        ("?CellSessionID=b", (), False),
        ("", ("Origin: https://course.example",), False),
        ("", (), False),
    ],
)
def test_a_page_is_told_by_its_id(world, routes, query, headers, same):
    ask(routes, "POST", "/kernel?CellSessionID=a", ("Origin: https://course.example",))
    ask(routes, "POST", f"/kernel{query}", headers)
    first, second = world.pool.visitors
    assert (first.page == second.page) is same
    assert first.address == second.address == "192.168.1.1"


def test_without_an_id_a_page_is_the_site_that_embeds_it(world, routes):
    for headers in (
        ("Origin: https://course.example",),
        ("Referer: https://course.example/lesson?1#a",),
        ("Origin: null", "Referer: https://course.example/other"),
        ("Origin: https://else.example", "Referer: https://course.example/"),
        ("Referer: nonsense",),
    ):
        ask(routes, "POST", "/kernel", headers)
    pages = [visitor.page for visitor in world.pool.visitors]
    assert pages[0] == pages[1] == pages[2] != ""
    assert pages[3] not in ("", pages[0])
    assert pages[4] == ""


def test_a_forwarded_address_is_not_believed(world, routes):
    ask(routes, "POST", "/kernel", ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9"))
    assert world.pool.visitors[0].address == "192.168.1.1"


def proxied(routes, config, family, source):
    """Make a request over a connection that a proxy announced with PROXY v2 (HAProxy's proxy-protocol.txt, 2.2)."""
    size = len(source)
    addresses = source + bytes(size) + struct.pack("!HH", 1234, 80)
    header = b"\r\n\r\n\x00\r\nQUIT\n" + bytes([0x21, family]) + struct.pack("!H", len(addresses)) + addresses
    factory = HAProxyWrappingFactory(CellSite(Router(config, routes), config.web.max_body_bytes, Clock()))
    protocol = factory.buildProtocol(None)
    transport = StringTransport(peerAddress=UNIXAddress(None))
    protocol.makeConnection(transport)
    protocol.dataReceived(header + b"POST /kernel HTTP/1.1\r\nHost: cells.example\r\nContent-Length: 0\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 200")
    protocol.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(
    ("family", "source", "group"),
    [
        (0x11, socket.inet_pton(socket.AF_INET, "203.0.113.9"), "203.0.113.9"),
        (0x21, socket.inet_pton(socket.AF_INET6, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
    ],
)
def test_behind_a_proxy_the_address_is_the_one_it_announced(world, routes, family, source, group):
    proxied(routes, world.config, family, source)
    assert world.pool.visitors[0].address == group


def test_a_quota_that_is_used_up_is_429_with_retry_after(world, routes):
    world.pool.error = QuotaExceeded("Enough for now.", retry_after_seconds=61.2)
    answer = ask(routes, "POST", "/kernel", ["Origin: null"])
    assert (answer.status, json.loads(answer.body)["error"]) == (429, "quota_exceeded")
    assert answer.headers["retry-after"] == "62"


def test_who_waits_is_told_the_place_and_comes_back_for_the_kernel(world, routes):
    world.pool.place = Place("ticket-1", 3, 1.3)
    answer = ask(routes, "POST", "/kernel?wait=1&timeout=inf")
    assert answer.status == 202
    assert json.loads(answer.body) == {"ticket": "ticket-1", "place": 3, "poll_seconds": 1.3}
    world.pool.place = Place("ticket-1", 0, 1.0)
    answer = ask(routes, "GET", "/kernel/ticket/ticket-1?timeout=inf", ("Origin: null",))
    assert (answer.status, json.loads(answer.body)["place"]) == (202, 0)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "null"
    world.pool.place = None
    answer = ask(routes, "GET", "/kernel/ticket/ticket-1?timeout=inf")
    (kernel_id,) = world.pool.known
    assert (answer.status, json.loads(answer.body)) == (200, {"ws_url": "ws://cells.example/", "id": kernel_id})


def test_the_timeout_of_a_kernel_that_was_waited_for_is_that_of_the_beginning(world, routes):
    for timeout, single in (("0", True), ("inf", False)):
        world.pool.place = Place("ticket-1", 3, 1.3)
        assert ask(routes, "POST", f"/kernel?wait=1&timeout={timeout}").status == 202
        world.pool.place = None
        answer = ask(routes, "GET", "/kernel/ticket/ticket-1")
        assert world.pool.known[json.loads(answer.body)["id"]].single is single


@pytest.mark.parametrize("query", ["", "?wait=0", "?wait="])
def test_who_does_not_ask_to_wait_gets_no_ticket(world, routes, query):
    world.pool.place = Place("ticket-1", 3, 1.3)
    assert ask(routes, "POST", f"/kernel{query}").status == 200
    assert world.pool.asked_to_queue == 0


def test_an_unknown_ticket_is_404_and_giving_one_back_never_fails(world, routes):
    answer = ask(routes, "GET", "/kernel/ticket/other")
    assert (answer.status, json.loads(answer.body)["error"]) == (404, "unknown_ticket")
    assert ask(routes, "DELETE", "/kernel/ticket/other").status == 200
    assert world.pool.left == ["other"]


def test_a_profile_that_is_not_exposed_does_not_queue(world, routes):
    assert ask(routes, "POST", "/kernel?wait=1&profile=exam").status == 400
    assert world.pool.asked_to_queue == 0


def test_a_kernel_for_a_client_that_did_not_wait_goes_back_at_once(world, routes):
    world.pool.waiting = Deferred()
    connection = Connection(routes)
    assert connection.ask("POST", "/kernel?timeout=inf") is None
    connection.lose()
    world.pool.waiting.callback(None)
    assert [reason for _, reason in world.pool.released] == ["client_gone"]


def test_a_kernel_is_ended_by_delete_or_by_a_post_that_says_so(world, routes):
    for method, path, headers, body in (
        ("DELETE", "", (), b""),
        ("POST", "", FORM, b"method=DELETE"),
        ("POST", "?method=delete", (), b""),
    ):
        kernel_id = json.loads(ask(routes, "POST", "/kernel").body)["id"]
        answer = ask(routes, method, f"/kernel/{kernel_id}{path}", headers, body)
        assert (answer.status, answer.body) == (200, b"")
        assert world.pool.released[-1] == (kernel_id, "stopped")


@pytest.mark.parametrize("kernel_id", [ID, "a-b-c-d-e", "x"])
def test_ending_a_kernel_that_is_not_there_is_no_error(routes, kernel_id):
    assert ask(routes, "DELETE", f"/kernel/{kernel_id}").status == 200


def test_other_methods_are_refused(routes):
    assert ask(routes, "GET", "/kernel").headers["allow"] == "OPTIONS, POST"
    assert ask(routes, "PUT", f"/kernel/{ID}").status == 405
    assert ask(routes, "POST", f"/kernel/{ID}").status == 405
    assert ask(routes, "POST", f"/kernel/{ID}?method=OPTIONS", ["Origin: null"]).status == 200
    assert ask(routes, "POST", "/kernel?method=OPTIONS").status == 200


def test_an_answer_for_a_frame_is_a_page_with_one_script(world, routes):
    answer = ask(routes, "POST", "/kernel", FORM, b"frame=on")
    script = re.fullmatch(rb"<script>(parent\.postMessage\((.*),\"\*\"\);)</script>", answer.body)
    assert json.loads(json.loads(script[2]))["id"] in world.pool.known
    digest = base64.b64encode(hashlib.sha256(script[1]).digest()).decode()
    assert answer.headers["content-security-policy"] == f"default-src 'none'; script-src 'sha256-{digest}'"
    assert answer.headers["content-type"].startswith("text/html")


# service


def serve(world, body, headers=FORM):
    connection = Connection(
        ServiceRoutes(world.config, world.kernels, Access(world.config), lambda: NOW).routes(),
        world.config,
        world.clock,
    )
    return connection, connection.ask("POST", "/service", headers, body)


def test_service_tells_output_and_reply(world):
    connection, answer = serve(
        world, b"code=print(1)%0A&code=1&accepted_tos=true&user_expressions=%7B%22a%22:%221%22%7D"
    )
    assert answer is None
    kernel = world.start()
    assert kernel.requests[-1][1]["code"] == "print(1)\n1"
    assert kernel.requests[-1][1]["user_expressions"] == {"a": "1"}
    kernel.print("1\n")
    kernel.answer(execution_count=1)
    document = json.loads(Answer(connection.received()).body)
    assert document == {"success": True, "stdout": "1\n", "execute_reply": {"status": "ok", "execution_count": 1}}
    assert world.pool.leases[0][0] == "service"


def test_service_answers_200_to_code_that_fails_and_to_code_that_takes_too_long(world):
    connection, _ = serve(world, b"code=1/0")
    world.start().answer(status="error", ename="ZeroDivisionError")
    answer = Answer(connection.received())
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "success": False,
        "execute_reply": {"status": "error", "ename": "ZeroDivisionError"},
    }
    connection, _ = serve(world, b"code=loop")
    world.start().print("x")
    world.clock.advance(world.config.web.service_seconds)
    answer = Answer(connection.received())
    assert (answer.status, json.loads(answer.body)) == (200, {"success": False, "stdout": "x"})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"x=1", 400, "missing_argument"),
        (b"code=1&user_expressions=%7B", 400, "bad_request"),
        (b"code=1&user_expressions=[1]", 400, "bad_request"),
        (b"code=1&user_expressions=%7B%22a%22:1%7D", 400, "bad_request"),
        (b"code=" + b"x" * (service_routes.MAX_CODE_CHARS + 1), 413, "too_large"),
    ],
)
def test_service_says_what_is_wrong(world, body, status, code):
    _, answer = serve(world, body)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, code)
    assert world.pool.leases == []


# permalinks


def test_a_permalink_is_made_from_code_that_is_kept_to_the_last_character(permalinks):
    routes = PermalinkRoutes(permalinks, 1000).routes()
    body = b"code=%20%20x%0D%0A%0A&language=python&interacts=%5B1%5D&n=3"
    document = json.loads(ask(routes, "POST", "/permalink", FORM, body).body)
    assert document == {
        "query": "abcdef",
        "zip": zip_text("  x\n\n"),
        "interacts": zip_text("[1]"),
        "n": 3,
    }
    assert permalinks.cells["abcdef"] == SharedCell(code="  x\n\n", language="python", interacts="[1]")
    answer = ask(routes, "GET", "/permalink?q=abcdef", ["Origin: null"])
    assert json.loads(answer.body) == ["  x\n\n", "python", "[1]"]
    assert answer.headers["access-control-allow-origin"] == "null"
    assert "max-age" in answer.headers["cache-control"]


def test_a_permalink_for_a_frame_cannot_leave_its_script(permalinks):
    routes = PermalinkRoutes(permalinks, 1000).routes()
    answer = ask(routes, "POST", "/permalink", FORM, b"code=x&frame=1&n=1")
    assert answer.body.count(b"<") == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/permalink", 400, "missing_argument"),
        ("POST", "/permalink?code=1&n=x", 400, "bad_request"),
        ("POST", f"/permalink?code=1&n={'1' * 40}", 400, "bad_request"),
        ("GET", "/permalink", 400, "missing_argument"),
        ("GET", "/permalink?q=none", 404, "unknown_permalink"),
    ],
)
def test_permalinks_say_what_is_wrong(permalinks, method, path, status, code):
    answer = ask(PermalinkRoutes(permalinks, 1000).routes(), method, path)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, code)


def test_a_cell_has_an_address_that_never_changes(permalinks):
    routes = PermalinkRoutes(permalinks, 1000).routes()
    body = json.dumps({"code": "1+1 # π", "language": "python"}).encode()
    made = ask(routes, "POST", "/api/permalinks", JSON, body)
    assert (made.status, made.headers["location"]) == (201, "/api/permalinks/abcdef")
    assert json.loads(made.body) == {"id": "abcdef"}
    assert made.headers["cache-control"] == "no-store"
    found = ask(routes, "GET", "/api/permalinks/abcdef", ["Origin: https://a.example"])
    assert json.loads(found.body) == {"code": "1+1 # π", "language": "python", "interacts": "[]"}
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert found.headers["access-control-allow-origin"] == "*"
    assert "vary" not in found.headers
    again = ask(routes, "GET", "/api/permalinks/abcdef", [f"If-None-Match: {found.headers['etag']}"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", found.headers["etag"])
    assert ask(routes, "GET", "/api/permalinks/abcdef", ['If-None-Match: "x"']).status == 200


def test_a_cell_may_be_put_where_it_belongs_and_nowhere_else(permalinks):
    routes = PermalinkRoutes(permalinks, 1000).routes()
    cell = SharedCell(code="1+1", language="python")
    own = next(candidate_ids(cell))
    assert ask(routes, "PUT", f"/api/permalinks/{own}", JSON, render_cell(cell)).status == 201
    permalinks.cells.clear()
    answer = ask(routes, "PUT", "/api/permalinks/other", JSON, render_cell(cell))
    assert (answer.status, json.loads(answer.body)["error"]) == (409, "other_permalink")
    assert own in json.loads(answer.body)["message"]
    assert permalinks.cells == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/permalinks", b"", 400),
        ("POST", "/api/permalinks", b'{"code": 1}', 400),
        ("POST", "/api/permalinks", json.dumps({"code": "x" * 1001}).encode(), 413),
        ("GET", "/api/permalinks", b"", 405),
        ("GET", "/api/permalinks/none", b"", 404),
        ("GET", "/api/permalinks/a/b", b"", 404),
        ("GET", "/api/permalinks/%ff", b"", 400),
        ("DELETE", "/api/permalinks/a", b"", 405),
    ],
)
def test_the_interface_says_what_is_wrong(permalinks, method, path, body, status):
    answer = ask(PermalinkRoutes(permalinks, 1000).routes(), method, path, JSON, body)
    assert answer.status == status
    assert json.loads(answer.body)["message"]


def test_what_the_store_refuses_keeps_its_status(permalinks):
    routes = PermalinkRoutes(permalinks, 1000).routes()
    for error, status in ((PermalinkRemoved(), 410), (PermalinksFull(), 507), (QuotaExceeded(), 429)):
        permalinks.error = error
        assert ask(routes, "GET", "/api/permalinks/a").status == status
        assert ask(routes, "POST", "/permalink?code=1").status == status


def test_permalinks_that_are_away_come_back(permalinks):
    permalinks.error = PermalinksUnavailable()
    answer = ask(PermalinkRoutes(permalinks, 1000).routes(), "GET", "/permalink?q=x")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


# page


def show(permalinks, query):
    return ask(Page(permalinks, 1000, lambda name: f"0-{name}").routes(), "GET", f"/?{query}")


def cell(answer):
    text = answer.body.decode()
    code = re.search(r'<script type="application/json" class="cell-code">(.*?)</script>', text)[1]
    tag = re.search(r"<code-cell ([^>]*)>", text)[1]
    return json.loads(code), re.search('language="([^"]*)"', tag)[1], "autoeval" in tag


def test_a_server_with_several_environments_has_a_menu_of_them(permalinks):
    assert b"languages=" not in show(permalinks, "").body
    several = ask(Page(permalinks, 1000, str, several_languages=True).routes(), "GET", "/")
    assert b'<code-cell language="python" languages="*"' in several.body


def test_a_page_explains_errors_if_the_administrator_wants_that(permalinks):
    assert b"explain" not in show(permalinks, "").body
    explaining = ask(Page(permalinks, 1000, str, explains_errors=True).routes(), "GET", "/")
    assert b'<code-cell language="python"  explain ' in explaining.body


def test_the_empty_page_evaluates_nothing(permalinks):
    assert cell(show(permalinks, "")) == ("", "python", False)


def test_code_comes_from_c_before_z_before_q(permalinks):
    permalinks.cells["q"] = SharedCell(code="from q", language="sage")
    zipped = zip_text("from z")
    assert cell(show(permalinks, f"q=q&z={zipped}&c=from+c")) == ("from c", "python", True)
    assert cell(show(permalinks, f"q=q&z={zipped}")) == ("from z", "python", True)
    assert cell(show(permalinks, "q=q&lang=python")) == ("from q", "sage", True)


def test_a_link_is_shown_elsewhere_by_title_and_description(permalinks):
    permalinks.cells["a b"] = SharedCell(code='\n# <b>"Sine"\nplot(sin)', language="sage")
    text = show(permalinks, "q=a+b").body.decode()
    assert "<title>&lt;b&gt;&quot;Sine&quot;</title>" in text
    assert 'content="Code cell (sage): # &lt;b&gt;&quot;Sine&quot; ⏎ plot(sin)"' in text
    assert '<meta property="og:url" content="http://cells.example/?q=a+b">' in text
    assert 'href="/api/permalinks/a%20b"' in text
    assert "<title>Cell</title>" in show(permalinks, "").body.decode()
    assert "alternate" not in show(permalinks, "c=1").body.decode()


def test_z_needs_no_padding(permalinks):
    assert cell(show(permalinks, "lang=r&z=" + zip_text("1+1").rstrip("=")))[:2] == ("1+1", "r")


def test_autoeval_can_be_turned_off_and_is_never_reflected(permalinks):
    assert cell(show(permalinks, "c=1&autoeval=false"))[2] is False
    answer = show(permalinks, "c=1&autoeval=alert(document.domain)")
    assert b"alert" not in answer.body


@pytest.mark.parametrize(
    "code", ["</script><script>alert(1)</script>", "<!--<script>", "&lt;", "é\u2028\u2029", "$code"]
)
def test_code_stays_inside_its_element(permalinks, code):
    permalinks.cells["q"] = SharedCell(code=code, language='"><b>', interacts=json.dumps([code]))
    answer = show(permalinks, "q=q")
    assert cell(answer)[0] == code
    assert b"<b>" not in answer.body
    assert answer.body.count(b"</script>") == 3


def test_the_page_runs_no_inline_script(permalinks):
    answer = show(permalinks, "c=1")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "ws://cells.example" in policy["connect-src"]
    inline = [tag for tag in re.findall(rb"<script([^>]*)>", answer.body) if b"src=" not in tag]
    assert all(b'type="application/json"' in tag for tag in inline)
    assert not re.search(rb"\son[a-z]+=", answer.body)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("z=%25%25", 400, "invalid_zip"),
        ("z=" + base64.urlsafe_b64encode(zlib.compress(b"\xff")).decode(), 400, "invalid_zip"),
        ("z=" + zip_text("x" * 1001), 400, "invalid_zip"),
        ("z=" + zip_text("0" * 10_000_000), 400, "invalid_zip"),
        ("c=1&interacts=x", 400, "invalid_zip"),
        ("c=1&lang=%22%3E", 400, "bad_request"),
        ("q=none", 404, "unknown_permalink"),
    ],
)
def test_the_page_says_what_is_wrong(permalinks, query, status, code):
    answer = show(permalinks, query)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, code)
