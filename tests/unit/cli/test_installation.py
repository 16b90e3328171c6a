from __future__ import annotations

import json

import pytest

from appliance.cli import doctor, installation
from appliance.cli.installation import (
    Trouble,
    failed_sockets,
    failed_units,
    full_disk,
    missing_edge,
    ports_of,
    taken_ports,
)
from appliance.cli.units import MAX_WORDS_CHARACTERS, Unit, parse_last_words
from appliance.config import Config


def unit(name: str, active: str = "active", result: str = "success", exit_status: int = 0) -> Unit:
    return Unit(name, active, "", result, 0, 1, "", None, None, 0.0, exit_status)


@pytest.mark.parametrize(
    ("result", "status", "what", "advice"),
    [
        ("exit-code", 78, "cannot start with what it found: the disk", "systemctl restart cell-pool.service"),
        ("watchdog", 6, "it hung", "cellctl logs pool"),
        ("oom-kill", 9, "out of memory", "cellctl logs pool"),
        ("exit-code", 1, "exit status 1", "cellctl logs pool"),
    ],
)
def test_a_failed_unit_says_why(result: str, status: int, what: str, advice: str) -> None:
    services = [unit("cell-web@0.service"), unit("cell-pool.service", "failed", result, status)]
    (trouble,) = failed_units(services, lambda name: "the disk" if name == "cell-pool.service" else "")
    assert "cell-pool.service" in trouble.what
    assert what in trouble.what
    assert trouble.what.endswith(": the disk")
    assert advice in trouble.advice


def test_a_unit_that_is_started_again_and_again_is_named() -> None:
    tried = Unit("cell-haproxy.service", "activating", "auto-restart", "exit-code", 9, 0, "", None, None, 0.0, 1)
    (trouble,) = failed_units([tried], lambda _: "cannot bind")
    assert trouble.what == "cell-haproxy.service failed: exit-code, exit status 1: cannot bind"


def test_a_unit_that_a_socket_starts_again_is_named() -> None:
    starting = Unit("cell-permalink.service", "activating", "start", "success", 0, 9, "", None, None, 0.0, 0)
    (trouble,) = failed_units([starting], lambda _: "written by a newer release")
    assert trouble.what == "cell-permalink.service is not ready: written by a newer release"


def test_a_door_that_did_not_open_is_named() -> None:
    assert failed_sockets([unit("cell-web.socket")], lambda _: "") == []
    (trouble,) = failed_sockets([unit("cell-web.socket", "failed", "resources")], lambda _: "")
    assert trouble.what == "cell-web.socket failed: resources"


def test_the_last_words_of_a_unit() -> None:
    def line(message: object, priority: str = "6", who: str = "cell-pool") -> str:
        return json.dumps({"MESSAGE": message, "PRIORITY": priority, "SYSLOG_IDENTIFIER": who})

    assert parse_last_words("") == ""
    assert parse_last_words("\n".join([line("a"), line("b"), line("Stopped", who="systemd")])) == "b"
    assert parse_last_words("\n".join([line("grave", "3"), line("b"), line([1, 2])])) == "grave"
    assert len(parse_last_words(line("x" * 9999))) == MAX_WORDS_CHARACTERS


def test_a_stopped_proxy_is_missed_only_where_the_edge_is_on() -> None:
    services = [unit("cell-haproxy.service"), unit("cell-nginx.service", "inactive")]
    assert missing_edge(services, edge_is_on=False) == []
    (trouble,) = missing_edge(services, edge_is_on=True)
    assert trouble.what == "cell-nginx.service does not run"


def test_a_port_that_another_program_has_is_named() -> None:
    environment = {"CELL_HTTP_ADDRESS": "0.0.0.0:80,[::]:80", "CELL_TLS_ADDRESS": "0.0.0.0:443"}
    assert ports_of(environment) == {80}
    ports = ports_of({**environment, "CELL_TLS_CERTIFICATE": "/c.pem"})
    assert ports == {80, 443}
    assert taken_ports(ports, {80: "haproxy", 22: "sshd"}) == []
    (trouble,) = taken_ports(ports, {80: "apache2"})
    assert trouble.what == "port 80 is taken by apache2"


def test_a_disk_is_full_before_it_is() -> None:
    assert full_disk("/var", 10 << 30, 100 << 30) == []
    assert "MiB left" in full_disk("/var", 1 << 30, 100 << 30)[0].what
    assert full_disk("/var", 50 << 20, 200 << 20) != []


def test_troubles_are_shown_and_fail_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.confinement, "probe", lambda _: ())
    monkeypatch.setattr(doctor, "render_table", lambda _: "table")
    monkeypatch.setattr(installation, "examine", lambda _: [Trouble("the disk is full", "make room")])
    assert doctor.run(Config(), as_json=False) == 1
    assert "the disk is full\n  -> make room" in capsys.readouterr().out
    assert doctor.run(Config(), as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    monkeypatch.setattr(installation, "examine", lambda _: None)
    assert doctor.run(Config(), as_json=False) == 0
    assert capsys.readouterr().out == "table\n"
