"""What tests do with an appliance that is installed in a booted machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from .nspawn import Machine

#: Sends one request from inside the machine and prints the answer as JSON.
ASK = """
import json, sys, urllib.request
method, url, body, headers = json.load(sys.stdin)
request = urllib.request.Request(url, method=method, data=body and body.encode(), headers=headers)
try:
    answer = urllib.request.urlopen(request, timeout=40)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, dict(answer.headers.items()), answer.read().decode("utf-8", "replace")]))
"""

#: Asks HAProxy's admin socket.
SHOW_TABLE = """
import socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect("/run/cell-appliance/edge/admin.sock")
control.sendall(sys.argv[1].encode() + b"\\n")
print(control.makefile().read())
"""


def ask(
    machine: Machine,
    method: str,
    path: str,
    body: str | None = None,
    *,
    at: str = "http://127.0.0.1:8888",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], str]:
    """Send one request inside the machine."""
    printed = machine.must(["python3", "-c", ASK], stdin=json.dumps([method, at + path, body, headers or {}]))
    status, received, text = json.loads(printed)
    return status, {name.lower(): value for name, value in received.items()}, text


def evaluate(machine: Machine, code: str, *, at: str = "http://127.0.0.1:8888") -> dict[str, Any]:
    """Evaluate ``code`` through POST /service."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, text = ask(machine, "POST", "/service", f"code={quote_plus(code)}", at=at, headers=form)
    assert status == 200, text
    answer: dict[str, Any] = json.loads(text)
    assert answer["success"], answer
    return answer


def show(machine: Machine, unit: str, what: str) -> str:
    """Return a property of a unit."""
    return machine.must(["systemctl", "show", "--value", f"--property={what}", unit])


def files(machine: Machine) -> set[str]:
    """Return every path of the machine's disk that a package could leave behind."""
    listed = machine.must(
        "find / -xdev \\( -path /packages -o -path /var/cache -o -path /var/log -o -path /var/lib/dpkg -o -path /tmp "
        "-o -path /var/lib/systemd -o -path /run -o -path /root \\) -prune -o -print"
    )
    return set(listed.splitlines())


def turn_edge_on(machine: Machine) -> None:
    """Do the three steps of administration.md, "The edge"."""
    machine.must(
        "install -D -m 644 /usr/share/cell-appliance/edge/cell-web.socket.conf "
        "/etc/systemd/system/cell-web.socket.d/edge.conf"
    )
    machine.must("sed -i 's/^proxy_protocol = false/proxy_protocol = true/' /etc/cell-appliance/appliance.toml")
    machine.must("systemctl stop cell-web.socket 'cell-web@*.service'")
    machine.must("systemctl daemon-reload")
    machine.must("systemctl start cell.target", seconds=60)
    machine.must("systemctl enable --now cell-edge.target", seconds=60)
