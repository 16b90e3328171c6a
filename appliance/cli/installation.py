"""What ``cellctl doctor`` looks at beside confinement where the appliance is installed as a package.

Each check answers nothing when all is well, else what is wrong and what to do. They read; they change nothing.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
from typing import TYPE_CHECKING

import attrs
import psutil

from appliance.cli import check, tls, units
from appliance.errors import ApplianceError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from appliance.cli.units import Unit
    from appliance.config import Config

#: Share of the disk, and bytes, that should be free where permalinks are kept.
MIN_FREE_SHARE = 0.05
MIN_FREE_BYTES = 100 << 20

#: What a unit's result means to whoever has to mend it; anything else is in the journal.
_RESULTS = {
    "watchdog": "it hung and was ended",
    "oom-kill": "it ran out of memory",
    "timeout": "it did not start or stop in time",
    "signal": "it crashed",
    "resources": "systemd could not prepare it",
    "service-start-limit-hit": "it failed too often",
}


@attrs.frozen
class Trouble:
    """Something that is wrong, and what to do."""

    what: str
    advice: str


def failed_units(services: Sequence[Unit], last_words: Callable[[str], str]) -> list[Trouble]:
    """Return the units that failed or are started again and again, with what they said last."""
    found = []
    for unit in services:
        # a socket starts a unit that failed again at the next connection, so that it is seen starting
        if unit.active not in ("failed", "activating"):
            continue
        said = last_words(unit.name)
        because = f": {said}" if said else ""
        if unit.active == "activating" and unit.sub != "auto-restart":
            found.append(Trouble(f"{unit.name} is not ready{because}", f"cellctl logs {unit.role}"))
            continue
        if unit.exit_status == 78:
            advice = f"mend that, then: systemctl restart {unit.name}"
            found.append(Trouble(f"{unit.name} cannot start with what it found{because}", advice))
        else:
            why = _RESULTS.get(unit.result, f"{unit.result}, exit status {unit.exit_status}")
            found.append(Trouble(f"{unit.name} failed: {why}{because}", f"cellctl logs {unit.role}"))
    return found


def failed_sockets(sockets: Sequence[Unit], last_words: Callable[[str], str]) -> list[Trouble]:
    """Return the doors that systemd could not open; the usual reason is an address that another program has."""
    return [
        Trouble(
            f"{unit.name} failed: {last_words(unit.name) or unit.result}",
            f"free the address (ss -lntxp tells who has it), then: systemctl start {unit.name} cell.target",
        )
        for unit in sockets
        if unit.active == "failed"
    ]


def missing_edge(services: Sequence[Unit], *, edge_is_on: bool) -> list[Trouble]:
    """Return the proxies that do not run although the edge is on."""
    running = {unit.role for unit in services if unit.active == "active"}
    if not edge_is_on:
        return []
    return [
        Trouble(f"cell-{name}.service does not run", f"systemctl start cell-{name}.service; cellctl logs {name}")
        for name in ("nginx", "haproxy")
        if name not in running
    ]


def ports_of(environment: Mapping[str, str]) -> set[int]:
    """Return the TCP ports that HAProxy is to listen on."""
    addresses = [environment.get("CELL_HTTP_ADDRESS", "")]
    if environment.get("CELL_TLS_CERTIFICATE"):
        addresses.append(environment.get("CELL_TLS_ADDRESS", ""))
    return {int(port) for address in addresses for port in re.findall(r":(\d+)(?=,|$)", address)}


def taken_ports(ports: set[int], listeners: Mapping[int, str]) -> list[Trouble]:
    """Return the ports of the edge that another program has."""
    return [
        Trouble(f"port {port} is taken by {listeners[port]}", "stop it, or change CELL_HTTP_ADDRESS in edge.env")
        for port in sorted(ports)
        if listeners.get(port, "haproxy") != "haproxy"
    ]


def listening() -> dict[int, str]:
    """Return which program listens on each TCP port of this host."""
    found = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr:
            try:
                found[connection.laddr.port] = psutil.Process(connection.pid).name()
            except psutil.Error:
                continue
    return found


def full_disk(path: str, free: int, total: int) -> list[Trouble]:
    """Return that there is little room where permalinks are kept."""
    if free >= MIN_FREE_BYTES and free >= MIN_FREE_SHARE * total:
        return []
    return [Trouble(f"{path} has {free >> 20} MiB left", "new permalinks will be refused when it is full: make room")]


def _disk(config: Config) -> list[Trouble]:
    directory = str(config.database_path.parent)
    if not os.path.isdir(directory):
        return []
    usage = shutil.disk_usage(directory)
    return full_disk(directory, usage.free, usage.total)


def _edge(services: Sequence[Unit]) -> list[Trouble]:
    edge_is_on = units.is_active("cell-edge.target")
    found = missing_edge(services, edge_is_on=edge_is_on)
    try:
        environment = check.edge_environment()
        certificate = tls.findings(environment, datetime.datetime.now(datetime.UTC))
        found += [Trouble(sentence, "cellctl tls; cellctl tls install CERTIFICATE KEY") for sentence in certificate]
        if not certificate:
            check.check_edge()
    except ConfigError as exc:
        found.append(Trouble(exc.message, "then: systemctl reload-or-restart cell-haproxy.service"))
        return found
    if edge_is_on:
        found += taken_ports(ports_of(environment), listening())
    return found


def examine(config: Config) -> list[Trouble] | None:
    """Return what is wrong with the installed appliance; None where there is none."""
    try:
        if not os.path.isdir("/run/systemd/system") or not (services := units.services()):
            return None
        checks: list[Callable[[], list[Trouble]]] = [
            lambda: failed_units(services, units.last_words),
            lambda: failed_sockets(units.sockets(), units.last_words),
            lambda: _edge(services),
            lambda: _disk(config),
        ]
        return [trouble for one in checks for trouble in one()]
    except ApplianceError as exc:
        return [Trouble(exc.message, "is systemd well?")]
