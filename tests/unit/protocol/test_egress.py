"""Which requests of kernels are let through: rules, addresses, hostile heads, limits."""

from __future__ import annotations

import random
import re

import pytest

from appliance.protocol import egress
from appliance.protocol.egress import Admission, Refused, Request, address_refusal, host_name, parse_request, parse_rule


def matches(rule: str, host: str, port: int = 443) -> bool:
    return parse_rule(rule).matches(host_name(host), port)


@pytest.mark.parametrize(
    ("rule", "host", "port"),
    [
        ("pypi.org", "pypi.org", 443),
        ("pypi.org", "pypi.org", 80),
        ("PyPI.org.", "pypi.ORG.", 443),
        ("pypi.org:8080", "pypi.org", 8080),
        ("*.example.edu", "www.example.edu", 443),
        ("*.example.edu", "a.b.example.edu", 80),
        ("*.example.edu:8443", "a.example.edu", 8443),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example", 443),
    ],
)
def test_a_rule_matches(rule, host, port):
    assert matches(rule, host, port)


@pytest.mark.parametrize(
    ("rule", "host", "port"),
    [
        ("pypi.org", "www.pypi.org", 443),
        ("pypi.org", "pypi.org.evil.test", 443),
        ("pypi.org", "evilpypi.org", 443),
        ("pypi.org", "pypi.org", 8080),
        ("pypi.org", "pypi.org", 22),
        ("pypi.org:8080", "pypi.org", 443),
        ("*.example.edu", "example.edu", 443),
        ("*.example.edu", "evilexample.edu", 443),
        ("*.example.edu", "www.example.edu.evil.test", 443),
    ],
)
def test_a_rule_does_not_match(rule, host, port):
    assert not matches(rule, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.", ".", "..", "a..b", "-a.test", "a-.test", "a_b.test", "a b.test", "a/b", "https://pypi.org",
        "user@host",
        "*.*.test", "a.*.test", "*a.test", "münchen.example", "x" * 64 + ".test", ".".join(["abc"] * 80),
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "1.2.3.0x4", "host.1", "::1", "[::1]", "a.test:", "a.test:0",
        "a.test:65536", "a.test:443:80", "a.test:-1", "a.test:\N{FULLWIDTH DIGIT FOUR}", "a.test\n", "a.test\x00",
    ],
)  # fmt: skip
def test_what_is_no_rule(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_rule(text)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.167.1.1",
     "198.17.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:200::1"],
)  # fmt: skip
def test_addresses_of_the_internet(address):
    assert address_refusal(address, []) == ""


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("0.0.0.0", "this network"), ("0.1.2.3", "this network"), ("10.0.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"), ("127.0.0.1", "loopback"), ("127.255.0.1", "loopback"),
        ("169.254.169.254", "link-local"), ("172.16.0.1", "private"), ("172.31.255.255", "private"),
        ("192.0.0.1", "special"), ("192.0.2.1", "documentation"), ("192.88.99.1", "6to4"), ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarking"), ("198.19.255.255", "benchmarking"), ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"), ("240.0.0.1", "reserved"), ("255.255.255.255", "reserved"),
        ("::", "unspecified"), ("::1", "loopback"), ("::127.0.0.1", "reserved"), ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:1.1.1.1", "IPv4-mapped"), ("::ffff:169.254.169.254", "IPv4-mapped"), ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b:1::a00:1", "NAT64"), ("100::1", "reserved"), ("2001::1", "special"), ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"), ("3fff::1", "documentation"), ("fc00::1", "unique-local"),
        ("fd12::1", "unique-local"),
        ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"), ("2606:4700::1%1", "link-local"),
        ("fec0::1", "site-local"), ("ff02::1", "multicast"), ("4000::1", "reserved"), ("5f00::1", "reserved"),
        ("", "no address"), ("localhost", "no address"), ("127.1", "no address"), ("0177.0.0.1", "no address"),
    ],
)  # fmt: skip
def test_addresses_that_are_not(address, word):
    assert address_refusal(address, []) == word


def test_an_administrator_allows_ranges():
    allowed = [egress.parse_network(text) for text in ("127.0.0.1/32", "10.2.0.0/16", "fd00:1::/32")]
    assert address_refusal("127.0.0.1", allowed) == ""
    assert address_refusal("10.2.3.4", allowed) == ""
    assert address_refusal("fd00:1::7", allowed) == ""
    assert address_refusal("127.0.0.2", allowed) == "loopback"
    assert address_refusal("10.3.0.1", allowed) == "private"
    assert address_refusal("::ffff:127.0.0.1", allowed) == "IPv4-mapped"
    assert address_refusal("fd00:1::7%eth0", [egress.parse_network("fd00:1::/32")]) == "link-local"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "all", "10.0.0.0/8 "])
def test_what_is_no_range(text):
    with pytest.raises(ValueError, match="no range"):
        egress.parse_network(text)


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "lines",
    [
        ["CONNECT Pypi.org.:443 HTTP/1.1", "Host: pypi.org:443"],
        ["CONNECT pypi.org:443 HTTP/1.0"],
        ["CONNECT pypi.org:443 HTTP/1.1", "Host: pypi.org", "Proxy-Authorization: Basic eDp5"],
    ],
)
def test_a_tunnel(lines):
    assert parse_request(head(*lines), 100) == Request("pypi.org", 443, tunnel=True)


def test_a_plain_request_is_written_anew():
    request = parse_request(
        head(
            "POST HTTP://Example.edu:8080?q=1 HTTP/1.1",
            "host: example.edu:8080",
            "Accept:  */*\t",
            "Connection: keep-alive, X-Secret",
            "X-Secret: 1",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eDp5",
            "Upgrade: h2c",
            "TE: trailers",
            "Content-Length: 12",
        ),
        12,
    )
    assert (request.host, request.port, request.tunnel, request.body_bytes) == ("example.edu", 8080, False, 12)
    assert request.head == head(
        "POST /?q=1 HTTP/1.1",
        "Host: example.edu:8080",
        "Accept: */*",
        "Content-Length: 12",
        "Connection: close",
    )


def test_a_plain_request_of_http_1_0_needs_no_host():
    request = parse_request(head("GET http://example.edu HTTP/1.0"), 0)
    assert request.head == head("GET / HTTP/1.1", "Host: example.edu", "Connection: close")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (head("GET / HTTP/1.1", "Host: a.test"), 400),
        (head("GET a.test HTTP/1.1", "Host: a.test"), 400),
        (head("GET https://a.test/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET ftp://a.test/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http:///x HTTP/1.1", "Host: "), 400),
        (head("GET http://user@a.test/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://allowed.test@evil.test/ HTTP/1.1", "Host: allowed.test"), 400),
        (head("GET http://evil.test\\@allowed.test/ HTTP/1.1", "Host: allowed.test"), 400),
        (head("GET http://a.test:x/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test:0/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test:99999/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/#x HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/ HTTP/1.1"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: b.test"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test:81"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "Host: b.test"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "Host: a.test"), 400),
        (head("GET http://a.test/ HTTP/2.0", "Host: a.test"), 400),
        (head("GET http://a.test/ HTTP/1.1 ", "Host: a.test"), 400),
        (head("GET  http://a.test/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/ x HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/\x7f HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/\xe9 HTTP/1.1", "Host: a.test"), 400),
        (head("G\x00T http://a.test/ HTTP/1.1", "Host: a.test"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", " folded: x"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host : a.test"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "no colon"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", ": empty"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "X: a\nY: b"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "X: a\rY: b"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", "X: a\x00b"), 400),
        (head("GET http://a.test/ HTTP/1.1\nHost: a.test"), 400),
        (head("GET http://a.test/ HTTP/1.1", "Host: a.test", *["X: y"] * egress.MAX_HEADERS), 431),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked"), 411),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: 1", "transfer-encoding: x"), 411),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: 1", "Content-Length: 2"), 400),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: +1"), 400),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: -1"), 400),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: 1, 1"), 400),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: " + "9" * 30), 400),
        (head("POST http://a.test/ HTTP/1.1", "Host: a.test", "Content-Length: 101"), 413),
        (head("CONNECT a.test HTTP/1.1"), 400),
        (head("CONNECT a.test: HTTP/1.1"), 400),
        (head("CONNECT http://a.test:443 HTTP/1.1"), 400),
        (head("CONNECT a.test:443/ HTTP/1.1"), 400),
        (head("CONNECT a.test:443@b.test:443 HTTP/1.1"), 400),
        (head("CONNECT a.test:443 HTTP/1.1", "Host: b.test:443"), 400),
        (head("CONNECT 127.0.0.1:443 HTTP/1.1"), 403),
        (head("CONNECT [::1]:443 HTTP/1.1"), 403),
        (head("CONNECT 0x7f000001:443 HTTP/1.1"), 403),
        (head("CONNECT a_b.test:443 HTTP/1.1"), 403),
        (head("CONNECT *.test:443 HTTP/1.1"), 403),
        (head("GET http://a%2etest/ HTTP/1.1", "Host: a%2etest"), 403),
        (head("GET http://\x01/ HTTP/1.1", "Host: a.test"), 400),
    ],
)
def test_a_hostile_head(data, status):
    with pytest.raises(Refused) as caught:
        parse_request(data, 100)
    assert caught.value.status == status


def test_what_is_parsed_of_noise_is_a_name_and_one_request():
    """Whatever is let through by the parser, the head that is sent on is one head for the host that was judged."""
    noise = random.Random(1)
    pieces = [
        b"GET ", b"CONNECT ", b"http://", b"a.test", b"b.test", b":443", b":80", b"/", b"?", b"#", b"@", b"[::1]",
        b" HTTP/1.1",
        b"\r\n", b"\n", b"\r", b"Host: ", b"X: ", b"Connection: ", b"Content-Length: ", b"5", b" ", b"\t", b"\x00",
        b"\xff",
        b",", b"..", b"%2e", b"\\",
    ]  # fmt: skip
    parsed = 0
    for _ in range(20_000):
        start = noise.choice(
            [b"", b"GET http://a.test", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n", b"CONNECT a.test:443"]
        )
        data = start + b"".join(noise.choices(pieces, k=noise.randrange(8)))
        data = data.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
        try:
            request = parse_request(data, 100)
        except Refused:
            continue
        parsed += 1
        assert host_name(request.host) == request.host
        if not request.tunnel:
            assert request.head.count(b"\r\n\r\n") == 1
            assert request.head.endswith(b"\r\n\r\n")
            assert request.head.replace(b"\r\n", b"").count(b"\n") == 0
            assert len(re.findall(rb"(?im)^host:", request.head)) == 1
            assert b"\x00" not in request.head
    assert parsed > 500


def test_a_request_must_be_on_the_list():
    rules = [parse_rule("pypi.org"), parse_rule("*.example.edu:8080")]
    egress.check(Request("pypi.org", 443, tunnel=True), rules)
    egress.check(Request("a.example.edu", 8080, tunnel=False), rules)
    for request in (Request("pypi.org", 8080, tunnel=True), Request("a.example.edu", 443, tunnel=True)):
        with pytest.raises(Refused, match="is not on the allow-list of this cell") as caught:
            egress.check(request, rules)
        assert (caught.value.status, caught.value.host, caught.value.port) == (403, request.host, request.port)
    with pytest.raises(Refused):
        egress.check(Request("pypi.org", 443, tunnel=True), [])


def test_an_answer_says_why_in_line_and_body():
    data = egress.answer(Refused(403, "no.test:443 is not on the allow-list of this cell")).decode()
    first, _, body = data.partition("\r\n\r\n")
    assert first.startswith("HTTP/1.1 403 Forbidden (no.test:443 is not on the allow-list of this cell)\r\n")
    assert body == "cell-appliance: no.test:443 is not on the allow-list of this cell.\n"
    assert f"Content-Length: {len(body)}\r\n" in first


def test_what_a_client_wrote_is_shown_cut_and_visible():
    assert egress.shown("a\x1b[31m\r\né b" + "x" * 500) == "a?[31m????b" + "x" * (egress.MAX_SHOWN_CHARACTERS - 11)


def test_connections_of_a_kernel_and_of_all_are_counted():
    admission = Admission(per_kernel=2, per_minute=100, total=3)
    assert [admission.enter(1000, 0.0) for _ in range(3)] == ["", "", "more than 2 connections of this cell at once"]
    assert admission.enter(1001, 0.0) == ""
    assert admission.enter(1001, 0.0) == "all connections of this server are in use"
    assert admission.open == 3
    admission.leave(1000)
    assert admission.enter(1001, 0.0) == ""


def test_requests_of_a_kernel_are_counted_by_the_minute():
    admission = Admission(per_kernel=2, per_minute=3, total=9)
    for _ in range(3):
        assert admission.enter(1000, 5.0) == ""
        admission.leave(1000)
    denials = [(admission.enter(1000, 64.9), admission.first_denial(1000)) for _ in range(2)]
    assert denials == [("more than 3 requests of this cell in a minute", True), (denials[0][0], False)]
    assert admission.enter(1001, 64.9) == ""
    assert admission.enter(1000, 65.0) == ""


def test_denied_connections_may_stay_for_their_answer_but_not_all():
    admission = Admission(per_kernel=2, per_minute=0, total=9)
    assert admission.enter(1000, 0.0)
    assert [admission.linger(1000) for _ in range(3)] == [True, True, False]
    admission.go(1000)
    assert admission.linger(1000)
    assert admission.open == 0


def test_kernels_that_are_gone_are_forgotten():
    admission = Admission(per_kernel=2, per_minute=5, total=9)
    admission.enter(1000, 0.0)
    admission.enter(1001, 0.0)
    admission.leave(1001)
    admission.enter(1002, 61.0)
    assert set(admission._uses) == {1000, 1002}
