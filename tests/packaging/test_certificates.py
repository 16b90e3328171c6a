"""A certificate from an ACME authority, as docs/install.md says, and its renewal: Pebble asks, certbot answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from .inside import ask, show, turn_edge_on
from .load import Cell
from .machine import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nspawn import Machine

pytestmark = pytest.mark.timeout(900)

EDGE = "http://127.0.0.1:80"
NAME = "cells.example.org"

PEBBLE = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/root/authority.pem",
    "privateKey": "/root/authority.key",
    "httpPort": 80,
    "tlsPort": 443,
    "ocspResponderURL": "",
    "externalAccountBindingRequired": False,
}

#: What certbot is told beyond the document: this authority, and to ask nobody.
HERE = (
    "--server https://localhost:14000/dir --no-verify-ssl "
    "--agree-tos --register-unsafely-without-email --non-interactive"
)

#: Prints the serial number of the certificate that HAProxy shows, after a request over TLS.
SHOWN = f"""
import http.client, re, ssl, subprocess
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", 443, context=context, timeout=10)
connection.request("GET", "/healthz", headers={{"Host": "{NAME}"}})
assert connection.getresponse().status == 200
pem = ssl.get_server_certificate(("127.0.0.1", 443))
show = ["openssl", "x509", "-noout", "-serial", "-ext", "subjectAltName"]
said = subprocess.run(show, input=pem, text=True, capture_output=True, check=True).stdout
assert "DNS:{NAME}" in said, said
print(re.search("serial=(\\\\w+)", said)[1])
"""


def documented() -> str:
    """Return the command of docs/install.md that asks for a certificate."""
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```\n(certbot .*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert f"-d {NAME}" in command
    return str(command).strip()


@pytest.fixture(scope="module")
def authority(equipped: Machine) -> Machine:
    """Return a machine with the whole appliance and an authority that asks it over port 80."""
    equipped.must("dpkg -i /packages/cell-appliance_*.deb", seconds=180)
    turn_edge_on(equipped)
    equipped.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{EDGE}/healthz')\"")
    equipped.must(f"echo 127.0.0.1 localhost {NAME} >>/etc/hosts")
    equipped.must(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 "
        "-keyout /root/authority.key -out /root/authority.pem 2>/dev/null"
    )
    equipped.must("cat >/root/pebble.json", stdin=json.dumps({"pebble": PEBBLE}))
    equipped.must("systemd-run --quiet --unit=pebble -E PEBBLE_VA_NOSLEEP=1 pebble -config /root/pebble.json")
    equipped.wait("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 14000), 2)\"")
    return equipped


@pytest.fixture
def opened(authority: Machine) -> Iterator[Cell]:
    """Return a cell of a page that stays open."""
    cell = Cell(authority, EDGE)
    yield cell
    cell.close()


def test_the_documented_command_brings_a_certificate_and_its_renewal_cuts_nothing(
    authority: Machine, opened: Cell
) -> None:
    before = show(authority, "cell-haproxy.service", "MainPID")
    cell = opened
    assert cell.evaluate("secret = 42") == ""
    authority.must(f"{documented()} {HERE}", seconds=120)
    first = authority.must(["python3", "-c", SHOWN])
    said = authority.run("cellctl tls").output
    assert f"certificate.pem: {NAME}" in said
    assert "HAProxy shows it" in said
    # everything but the authority's questions is sent to HTTPS now
    assert authority.must(f'python3 -c "{REDIRECTED}"') == "308"
    authority.must("certbot renew --force-renewal --no-verify-ssl --no-random-sleep-on-renew", seconds=120)
    second = authority.must(["python3", "-c", SHOWN])
    assert second != first
    assert show(authority, "cell-haproxy.service", "MainPID") == before
    assert cell.evaluate("print(secret)") == "42\n"
    assert cell.reconnected == 0


def test_the_door_of_the_authority_leads_nowhere_at_other_times(authority: Machine) -> None:
    assert ask(authority, "GET", "/.well-known/acme-challenge/x", at=EDGE)[0] == 503


REDIRECTED = (
    "import http.client; c = http.client.HTTPConnection('127.0.0.1', 80, timeout=10); "
    f"c.request('GET', '/', headers={{'Host': '{NAME}'}}); print(c.getresponse().status)"
)
