from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from appliance import config as configuration
from appliance.cli.admin import edge_tables, server, state
from appliance.errors import ConfigError, PoolUnavailable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

TABLE = """\
# table: computations_by_address, type: ipv6, size:102400, used:3
0x7f0a: key=::ffff:10.0.0.1 use=0 exp=119 shard=0 gpc0=5 gpc0_rate(60000)=5
0x7f0b: key=2001:db8:: use=0 exp=119 gpc0=600 gpc0_rate(60000)=600
0x7f0c: key=::ffff:10.0.0.2 use=0 exp=119 gpc0=0 gpc0_rate(60000)=nonsense
"""


def test_a_table_of_haproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert edge_tables.parse(TABLE, "gpc0_rate(60000)") == [("2001:db8::", 600), ("10.0.0.1", 5)]
    assert edge_tables.parse("", "conn_cur") == []
    monkeypatch.setattr(edge_tables, "ask", lambda _: TABLE)
    first = edge_tables.limits({"CELL_COMPUTATIONS_PER_ADDRESS": "600"})[0]
    assert (first.limit, first.at_limit) == (600, 1)
    assert first.nearest[0] == ("2001:db8::", 600)


def test_refusals_of_the_pool() -> None:
    text = 'cell_pool_refusals_total{code="pool_exhausted"} 3\ncell_pool_leases_total 5\n'
    assert state.refusals(text) == {"pool_exhausted": 3}


@pytest.mark.parametrize("text", ["0.0.0.0:80", "10.0.0.1:80", "[::]:80", "example.org:80", "127.0.0.1.example.org:80"])
def test_it_does_not_listen_for_others(text: str) -> None:
    with pytest.raises(ConfigError, match="can be reached by others"):
        server.address(text)


def test_the_policy_names_what_the_page_has() -> None:
    page = server.PAGE.read_text()
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; connect-src 'self'; .*",
        server.policy(page),
    )
    # what a kernel said is never markup
    assert "innerHTML" not in page


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[tuple[server.Server, str]]:
    """Return the server on a Unix socket, with a secret as it has on a loopback address."""
    monkeypatch.setattr(state, "look", lambda _: {"pool": None})
    path = str(tmp_path / "admin.sock")
    with server.Server(configuration.Config(), configuration.UnixAddress(path)) as one:
        one.secret = "secret"
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one, path
        one.shutdown()
        thread.join()


def ask(path: str, method: str, target: str, secret: str = "", body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("localhost")
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(5)
        door.connect(path)
        connection.sock = door
        connection.request(method, target, body, {"Authorization": f"Bearer {secret}"} if secret else {})
        with connection.getresponse() as answer:
            text = answer.read().decode()
    return answer.status, json.loads(text) if answer.getheader("Content-Type") == "application/json" else text


def test_who_has_no_secret_sees_nothing(running: tuple[server.Server, str], tmp_path: pathlib.Path) -> None:
    _, path = running
    assert oct((tmp_path / "admin.sock").stat().st_mode & 0o777) == "0o600"
    status, page = ask(path, "GET", "/")
    assert (status, "<table" in page) == (200, True)
    assert ask(path, "GET", "/state")[0] == 403
    assert ask(path, "GET", "/state", "other")[0] == 403
    assert ask(path, "POST", "/drain", "other", '{"on": true}')[0] == 403
    assert ask(path, "GET", "/state", "secret") == (200, {"pool": None})
    assert ask(path, "GET", "/other", "secret")[0] == 404
    assert ask(path, "POST", "/state", "secret", "{}")[0] == 404


def test_draining(running: tuple[server.Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = running
    asked = []
    monkeypatch.setattr(server.pool_question, "ask", lambda _config, command, **more: asked.append((command, more)))
    assert ask(path, "POST", "/drain", "secret", '{"on": true}') == (200, {"on": True})
    assert asked == [(server.Drain, {"on": True})]
    for wrong in ("", "{}", "[]", '{"on": 1}', "x" * 2000):
        assert ask(path, "POST", "/drain", "secret", wrong)[0] == 400
    assert len(asked) == 1

    def gone(*_: object, **__: object) -> None:
        raise PoolUnavailable("no pool")

    monkeypatch.setattr(server.pool_question, "ask", gone)
    assert ask(path, "POST", "/drain", "secret", '{"on": false}') == (503, {"message": "no pool"})
