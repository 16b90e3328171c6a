"""Every limit of the edge, each with a request that passes and one that does not."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import http.client
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from appliance.cli.admin import edge_tables

from .conftest import ROOT, free_port

if TYPE_CHECKING:
    from .conftest import Edge, StartEdge

COMPUTATIONS = {"CELL_COMPUTATIONS_PER_ADDRESS": "5", "CELL_COMPUTATIONS_IN_TOTAL": "12"}
#: Requests more than a limit that a burst may get.
SLACK = 4
PERMALINKS = {"CELL_PERMALINKS_PER_ADDRESS": "3", "CELL_PERMALINKS_IN_TOTAL": "7"}


def statuses(edge: Edge, path: str, count: int, source: str) -> list[int]:
    """POST ``count`` times and return what came back."""
    return [edge.ask("POST", path, body=b"code=1", source=source).status for _ in range(count)]


@pytest.mark.attack(27, "HAProxy: rates for an address and in total", "more requests than one address may make")
@pytest.mark.parametrize(
    ("path", "name", "allowed", "total"),
    [
        ("/kernel", "computations", 5, 12),
        ("/permalink", "permalinks", 3, 7),
        ("/api/permalinks", "permalinks", 3, 7),
        ("/api/%70ermalinks", "permalinks", 3, 7),
    ],
)
def test_rate_per_address_then_in_total(start_edge: StartEdge, path: str, name: str, allowed: int, total: int) -> None:
    edge = start_edge({**COMPUTATIONS, **PERMALINKS})
    assert statuses(edge, path, allowed + 2, "127.0.0.1") == [200] * allowed + [429] * 2
    assert statuses(edge, path, allowed, "127.0.0.2") == [200] * allowed
    rest = total - 2 * allowed
    assert statuses(edge, path, rest + 2, "127.0.0.3") == [200] * rest + [503] * 2
    assert edge.backend is not None
    assert len(edge.backend.requests) == total
    # whatever is not a computation is served as before
    assert edge.ask("GET", "/").status == 200
    assert edge.ask("GET", path, source="127.0.0.1").status == 200
    edge.admin(f"clear table {name}_in_total")
    edge.admin(f"clear table {name}_by_address")
    assert statuses(edge, path, 1, "127.0.0.1") == [200]


@pytest.mark.attack(27, "HAProxy: connections for an evaluation count as one", "leases over WebSockets, uncounted")
def test_connections_that_wait_for_a_click_are_counted_with_computations(start_edge: StartEdge) -> None:
    edge = start_edge(COMPUTATIONS)
    answers = [edge.ask("GET", f"/{name}?session_id=a").status for name in ("lease", "l%65ase", "lease")]
    assert answers == [200] * 3
    assert statuses(edge, "/kernel", 4, "127.0.0.1") == [200] * 2 + [429] * 2
    assert edge.ask("GET", "/lease?session_id=a").status == 429
    assert edge.ask("GET", "/lease?session_id=a", source="127.0.0.2").status == 200


def test_a_measurement_holds_the_limits_in_total_off_while_requests_are_under_way(
    start_edge: StartEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = start_edge({"CELL_COMPUTATIONS_IN_TOTAL": "3", "CELL_PERMALINKS_IN_TOTAL": "3"})
    monkeypatch.setattr(edge_tables, "ADMIN_SOCKET", str(edge.directory / "run" / "edge" / "admin.sock"))
    with contextlib.ExitStack() as under_way:
        for path in ("/service", "/permalink"):
            unfinished = under_way.enter_context(socket.create_connection(("127.0.0.1", edge.port), timeout=10))
            # more than HAProxy's buffer: passed on before it is whole
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            unfinished.sendall(head.encode() + bytes(50_000))
        for path in ("/service", "/permalink"):
            # the limits go by what was admitted before
            while edge.ask("POST", path).status == 200:
                pass
            assert edge.ask("POST", path).status == 503
            edge_tables.forget_totals()
            assert edge.ask("POST", path).status == 200


def burst(edge: Edge, count: int, source: str) -> tuple[collections.Counter[int], float]:
    """POST ``count`` times as fast as sixteen clients can; return how often each status came, and how long it took."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        asked = [clients.submit(statuses, edge, "/service", 1, source) for _ in range(count)]
        found = collections.Counter(status for one in asked for status in one.result())
    return found, time.monotonic() - began


@pytest.mark.attack(27, "HAProxy: rates for an address and in total", "two hundred requests in a second")
def test_a_burst_from_one_address_leaves_the_others_theirs(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_COMPUTATIONS_PER_ADDRESS": "50", "CELL_COMPUTATIONS_IN_TOTAL": "120"})
    found, seconds = burst(edge, 200, "127.0.0.1")
    # several threads of HAProxy may look at a counter before one of them raises it
    assert set(found) == {200, 429}
    assert 50 <= found[200] <= 50 + SLACK
    assert seconds < 10  # a second on a quiet machine
    assert statuses(edge, "/service", 1, "127.0.0.2") == [200]
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        found, _ = burst(edge, 50, source)
    assert found[503] > 0
    assert edge.backend is not None
    assert 120 <= len(edge.backend.requests) <= 120 + SLACK
    assert edge.ask("GET", "/", source="127.0.0.1").status == 200


def test_addresses_are_believed_from_balancers_alone(start_edge: StartEdge) -> None:
    port = free_port()
    edge = start_edge({**COMPUTATIONS, "CELL_BALANCED_ADDRESS": f"127.0.0.1:{port}", "CELL_BALANCERS": "127.0.0.7"})
    head = b"POST /service HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    def ask(source: str, visitor: str) -> bytes:
        answer = b""
        address = ("127.0.0.1", port)
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(address, timeout=10, source_address=(source, 0)) as connection,
        ):
            connection.sendall(f"PROXY TCP4 {visitor} 127.0.0.1 1234 80\r\n".encode() + head)
            while part := connection.recv(4096):
                answer += part
        return answer

    for visitor in ("192.0.2.1", "192.0.2.2"):
        answers = [ask("127.0.0.7", visitor).split(b" ", 2)[1] for _ in range(6)]
        assert answers == [b"200"] * 5 + [b"429"]
    assert ask("127.0.0.8", "192.0.2.3") == b""
    assert edge.backend is not None
    assert {request["source"] for request in edge.backend.requests} == {"192.0.2.1", "192.0.2.2"}


def test_cells_that_are_put_are_counted_as_well(start_edge: StartEdge) -> None:
    edge = start_edge({**COMPUTATIONS, **PERMALINKS})
    found = [edge.ask("PUT", f"/api/permalinks/{number}", body=b"{}").status for number in range(5)]
    assert found == [200] * 3 + [429] * 2


def test_computations_and_permalinks_are_counted_apart(start_edge: StartEdge) -> None:
    edge = start_edge({**COMPUTATIONS, **PERMALINKS})
    assert statuses(edge, "/kernel", 3, "127.0.0.1") == [200] * 3
    assert statuses(edge, "/service", 3, "127.0.0.1") == [200, 200, 429]
    assert statuses(edge, "/permalink", 3, "127.0.0.1") == [200] * 3


@pytest.mark.attack(27, "HAProxy: IPv4 by address, IPv6 by /64", "rotate through addresses of one network")
def test_addresses_stay_apart_where_both_families_come_in(start_edge: StartEdge) -> None:
    port = free_port()
    edge = start_edge({**COMPUTATIONS, "CELL_HTTP_ADDRESS": f"127.0.0.1:{port},[::1]:{port}"}, port=port)
    assert statuses(edge, "/kernel", 6, "127.0.0.1") == [200] * 5 + [429]
    assert statuses(edge, "/kernel", 1, "127.0.0.2") == [200]
    connection = http.client.HTTPConnection("::1", port, timeout=20)
    connection.request("POST", "/kernel", body=b"code=1")
    answer = connection.getresponse()
    seen = json.loads(answer.read())
    connection.close()
    assert (answer.status, seen["source"]) == (200, "::1")
    assert edge.backend is not None
    assert [request["source"] for request in edge.backend.requests] == ["127.0.0.1"] * 5 + ["127.0.0.2", "::1"]


def test_ipv4_never_arrives_as_ipv6() -> None:
    """A visitor's address written as IPv6 has the same /64 as every other one."""
    lines = (ROOT / "haproxy" / "haproxy.cfg").read_text().splitlines()
    # a Unix socket has no addresses
    binds = [line.split() for line in lines if line.strip().startswith("bind ") and "unix@" not in line]
    assert len(binds) == 3
    assert all("v6only" in words and "v4v6" not in words for words in binds)


@pytest.mark.attack(27, "HAProxy: decoded paths", "another spelling of the same path")
@pytest.mark.parametrize("path", ["/%6bernel", "/kernel?x=1", "//kernel", "/kernel/", "/serv%69ce", "/kern%65l/"])
def test_another_spelling_is_no_way_around(start_edge: StartEdge, path: str) -> None:
    edge = start_edge(COMPUTATIONS)
    assert statuses(edge, path, 6, "127.0.0.1") == [200] * 5 + [429]


@pytest.mark.attack(27, "HAProxy: the address of the connection", "claim another address in a header")
def test_what_the_client_claims_about_itself_is_no_way_around(start_edge: StartEdge) -> None:
    edge = start_edge(COMPUTATIONS)
    got = [
        edge.ask(
            "POST",
            f"/kernel?CellSessionID={number}",
            headers={
                "X-Forwarded-For": f"10.0.0.{number}",
                "Cookie": f"a={number}",
                "Forwarded": f"for=10.0.0.{number}",
            },
        ).status
        for number in range(6)
    ]
    assert got == [200] * 5 + [429]


def test_a_refusal_says_so_in_json_to_pages_of_other_sites(start_edge: StartEdge) -> None:
    edge = start_edge({**COMPUTATIONS, "CELL_COMPUTATIONS_IN_TOTAL": "5"})
    statuses(edge, "/kernel", 5, "127.0.0.1")
    for source, status, code in (("127.0.0.1", 429, "too_many_requests"), ("127.0.0.2", 503, "busy")):
        refused = edge.ask("POST", "/kernel", source=source, headers={"Origin": "https://example.org"})
        assert refused.status == status
        assert refused.json["error"] == code
        assert refused.json["message"].endswith(".")
        assert refused.headers["content-type"] == "application/json"
        assert refused.headers["access-control-allow-origin"] == "*"
        assert int(refused.headers["retry-after"]) > 0


@pytest.mark.attack(25, "HAProxy: size of bodies", "a large body at the edge")
def test_body_size(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_MAX_BODY_BYTES": "100000"})
    assert edge.ask("POST", "/service", body=b"x" * 100000).json["body_bytes"] == 100000
    refused = edge.ask("POST", "/service", body=b"x" * 100001)
    assert (refused.status, refused.json["error"]) == (413, "too_large")


def test_files_that_visitors_bring_have_a_limit_of_their_own(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_MAX_BODY_BYTES": "1000", "CELL_MAX_UPLOAD_BYTES": "100000"})
    path = "/kernel/00000000-0000-4000-8000-000000000000/files/a%20b"
    for method in ("PUT", "POST"):
        assert edge.ask(method, path, body=b"x" * 100000).json["body_bytes"] == 100000
        refused = edge.ask(method, path, body=b"x" * 100001, headers={"Origin": "https://example.org"})
        assert (refused.status, refused.json["error"]) == (413, "file_too_large")
        assert refused.headers["access-control-allow-origin"] == "*"
    for other in ("/kernel/x/channels/files", "/files/kernel/files", "/service/files/files"):
        assert edge.ask("POST", other, body=b"x" * 1001).status == 413, other


@pytest.mark.attack(25, "web role: time for a file", "slowloris: drip a file")
def test_who_drips_a_file_hears_that_the_web_role_has_given_up(start_edge: StartEdge) -> None:
    edge = start_edge()
    head = (
        "PUT /kernel/00000000-0000-4000-8000-000000000000/files/a HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 1000000\r\nGive-Up-After: 50000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as client:
        # more than HAProxy holds before it asks the web role
        client.sendall(head.encode() + b"x" * 49_990)
        client.settimeout(0.1)
        answer = b""
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                client.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer += client.recv(4096)
            if b"}" in answer:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"file_too_slow" in answer


@pytest.mark.attack(25, "HAProxy: time for a request", "slowloris: stop half way")
@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /service HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nco"]
)
def test_a_client_that_stops_half_way_is_cut(start_edge: StartEdge, sent: bytes) -> None:
    edge = start_edge({"CELL_REQUEST_TIMEOUT": "1s"})
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as client:
        began = time.monotonic()
        client.sendall(sent)
        answer = b""
        while part := client.recv(4096):
            answer += part
        assert 0.5 < time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert (b'"request_timeout"' in answer) == sent.startswith(b"POST")  # the header alone: HAProxy's fixed text
    assert edge.backend is not None
    assert edge.backend.requests == []


@pytest.mark.attack(25, "HAProxy: time for a request", "slowloris: drip")
def test_a_client_that_drips_is_cut(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_REQUEST_TIMEOUT": "1s"})
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as client:
        client.settimeout(0.1)
        began, answer = time.monotonic(), b""
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        while not answer and time.monotonic() - began < 5:
            try:
                client.sendall(b"a")
                answer = client.recv(4096)
            except TimeoutError:
                continue
        assert 0.5 < time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.attack(25, "HAProxy: connections for an address", "many connections from one address")
def test_connections_per_address(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_CONNECTIONS_PER_ADDRESS": "4"})
    held = [socket.create_connection(("127.0.0.1", edge.port), source_address=("127.0.0.9", 0)) for _ in range(4)]
    try:
        deadline = time.monotonic() + 5
        while "use=4" not in edge.admin("show table connections") and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises((ConnectionError, TimeoutError)):
            edge.ask("GET", "/", source="127.0.0.9")
        assert edge.ask("GET", "/", source="127.0.0.8").status == 200
    finally:
        for connection in held:
            connection.close()


@pytest.mark.attack(25, "HAProxy: size of headers", "a huge header at the edge")
def test_a_huge_header_is_refused(start_edge: StartEdge) -> None:
    edge = start_edge()
    assert edge.ask("GET", "/", headers={"X-Long": "x" * 8000}).status == 200
    refused = edge.ask("GET", "/", headers={"X-Long": "x" * 60000})
    assert refused.status == 400
