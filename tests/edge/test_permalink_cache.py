"""Permalinks that nginx has kept: who is answered from them, and when the web role is asked."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from appliance.cli import edge_cache
from tests.integration.running import Appliance, run_cellctl

from .conftest import edges_of_a_test, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Edge, StartEdge

LINK = "/api/permalinks/abc123"
OLD = "/permalink?q=abc123"


@pytest.fixture
def edge() -> Iterator[Edge]:
    """Return an edge whose cache is empty."""
    with edges_of_a_test() as start:
        yield start()


def asked(edge: Edge) -> list[str]:
    """Return what reached the web role."""
    assert edge.backend is not None
    return [f"{request['method']} {request['path']}" for request in edge.backend.requests]


@pytest.mark.parametrize("path", [LINK, OLD])
def test_the_second_reader_is_answered_without_the_web_role(edge: Edge, path: str) -> None:
    first = edge.ask("GET", path, headers={"Cookie": "a=1", "Authorization": "token x"})
    second = edge.ask("GET", path)
    assert (second.status, second.body) == (first.status, first.body)
    assert edge.ask("HEAD", path).status == 200
    assert asked(edge) == [f"GET {path}"]
    # the answer is for everybody, so nothing of the first reader was in the question
    assert not first.json["headers"].keys() & {"cookie", "authorization"}
    assert first.json["source"] is None


def test_arguments_of_a_link_do_not_make_it_another_and_spellings_do(edge: Edge) -> None:
    for path in (LINK, f"{LINK}?x=1", f"{LINK}?x=2", "/api/permalinks/abc%3123", "/api/permalinks/./abc123"):
        assert edge.ask("GET", path).status == 200
    assert asked(edge) == [f"GET {LINK}", "GET /api/permalinks/abc%3123", "GET /api/permalinks/./abc123"]


def test_the_answer_for_one_host_is_not_given_at_another(edge: Edge) -> None:
    for host in ("a.example", "b.example", "a.example"):
        assert edge.ask("GET", OLD, headers={"Host": host}).json["headers"]["host"] == host
    assert len(asked(edge)) == 2


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "503 Service Unavailable", "403 Forbidden"])
def test_a_refusal_is_not_kept(edge: Edge, status: str) -> None:
    assert edge.backend is not None
    edge.backend.answers[LINK] = status, ""
    assert edge.ask("GET", LINK).status == int(status[:3])
    edge.backend.answers.clear()
    assert edge.ask("GET", LINK).status == 200
    assert len(asked(edge)) == 2


def test_an_answer_varies_by_origin_where_it_says_so(edge: Edge) -> None:
    assert edge.backend is not None
    edge.backend.answers[OLD] = "200 OK", "Vary: Origin\r\n"
    for origin in ("https://a.example", "https://b.example", "https://a.example"):
        assert edge.ask("GET", OLD, headers={"Origin": origin}).json["headers"]["origin"] == origin
    assert len(asked(edge)) == 2


@pytest.mark.parametrize(("method", "path"), [("PUT", LINK), ("POST", "/permalink"), ("OPTIONS", LINK)])
def test_whoever_does_not_read_is_answered_by_the_web_role(edge: Edge, method: str, path: str) -> None:
    edge.ask("GET", path)
    for _ in range(2):
        assert edge.ask(method, path, body=b"{}").json["source"] == "127.0.0.1"


def test_nobody_asks_for_more_at_the_door_for_nginx(edge: Edge) -> None:
    def status(method: str, path: str) -> int:
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(edge.directory / "run" / "reads" / "reads.sock"))
        connection.request(method, path)
        found = connection.getresponse().status
        connection.close()
        return found

    assert [status("GET", LINK), status("GET", "/permalink?q=a"), status("GET", "/permalinks-reachable")] == [200] * 3
    refused = [("GET", "/"), ("POST", "/permalink"), ("POST", "/kernel"), ("DELETE", LINK), ("GET", "/api/kernels")]
    assert [status(*request) for request in refused] == [403] * len(refused)


def test_links_are_read_while_no_web_role_answers(edge: Edge) -> None:
    assert edge.backend is not None
    first = edge.ask("GET", LINK)
    edge.backend.healthy = False
    wait_until("the web role held for sick", lambda: not edge.web_is_up())
    again = edge.ask("GET", LINK)
    assert (again.status, again.body) == (200, first.body)
    assert edge.ask("GET", "/api/permalinks/other").status == 503


def test_without_nginx_the_web_role_answers(start_edge: StartEdge) -> None:
    edge = start_edge()
    nginx = edge.processes[0]
    nginx.terminate()
    nginx.wait(15)
    wait_until("nginx held for sick", lambda: not edge.is_up("permalinks"))
    for _ in range(2):
        assert edge.ask("GET", LINK).json["source"] == "127.0.0.1"


def test_a_takedown_ends_what_is_kept() -> None:
    running = Appliance("[web]\nproxy_protocol = true\n[pool]\nready = 1\n")
    try:
        with edges_of_a_test() as start:
            edge = start(web_address=f"127.0.0.1:{running.port}")
            document: dict[str, Any] = {"code": "print('unwanted')"}
            link = edge.ask("POST", "/api/permalinks", body=json.dumps(document).encode()).json["id"]
            paths = (f"/api/permalinks/{link}", f"/permalink?q={link}")
            for _ in range(2):
                kept = [edge.ask("GET", path) for path in paths]
            assert [answer.status for answer in kept] == [200, 200]
            assert kept[0].headers["cache-control"] == "public, max-age=31536000, immutable"
            unchanged = edge.ask("GET", paths[0], headers={"If-None-Match": kept[0].headers["etag"]})
            assert unchanged.status == 304
            files = [path for path in (edge.directory / "cache").rglob("*") if path.is_file()]
            assert len(files) == 2
            done = run_cellctl(
                "permalinks", "takedown", "--config", str(running.directories.runtime / "effective.toml"), link
            )
            assert done.returncode == 0, done.stderr
            assert edge_cache.clear(edge.directory / "cache" / "permalinks") == 2
            time.sleep(0.1)
            assert [edge.ask("GET", path).status for path in paths] == [410, 410]
    finally:
        running.stop()
