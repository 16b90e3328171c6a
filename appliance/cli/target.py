"""Where visitors reach the appliance, as this machine itself does."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

import attrs

from appliance.cli import check, units
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How this machine reaches what listens on all of its addresses.
_LOOPBACK = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@attrs.frozen
class Target:
    """Where the appliance is reached. ``tls``: whether by HTTPS, whose certificate is of another name than this."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """The address as a browser shows it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """Return what connects: without a check of the name, since the other end is this machine."""
        if not self.tls:
            return None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def edge_target(environment: Mapping[str, str]) -> Target:
    """Return where HAProxy is reached from this machine. Raises `ApplianceError`."""
    tls = bool(environment.get("CELL_TLS_CERTIFICATE"))
    name = "CELL_TLS_ADDRESS" if tls else "CELL_HTTP_ADDRESS"
    first = environment.get(name, "").split(",")[0]
    match = re.fullmatch(r"(?:ipv4@|ipv6@)?(?P<host>.*):(?P<port>\d+)", first)
    if match is None:
        raise ApplianceError(f"{name} is no ADDRESS:PORT: {first!r}")
    host = match["host"].strip("[]")
    return Target(_LOOPBACK.get(host, host), int(match["port"]), tls)


def find_target() -> tuple[Target, bool]:
    """Return where visitors are served, and whether that is the edge. Raises `ApplianceError`."""
    if units.is_active("cell-edge.target"):
        return edge_target(check.edge_environment()), True
    address = units.listening_address()
    if address.startswith("/"):
        raise ApplianceError("the web roles listen for HAProxy, and cell-edge.target is not active: start it first")
    host, _, port = address.rpartition(":")
    return Target(host.strip("[]"), int(port)), False
