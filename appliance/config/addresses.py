"""Addresses that roles listen on."""

from __future__ import annotations

import re

import attrs

from appliance.errors import ConfigError


@attrs.frozen
class TcpAddress:
    """An internet address: a literal IPv4 or IPv6 address, or ``localhost``, and a port."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@attrs.frozen
class UnixAddress:
    """A Unix socket."""

    path: str

    @property
    def url(self) -> str:
        """The socket, for a message."""
        return f"unix:{self.path}"


def listen_address(text: str, key: str = "web.listen") -> TcpAddress | UnixAddress:
    """Return the address written as ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.

    Raises `ConfigError`.
    """
    if text.startswith("unix:/"):
        return UnixAddress(text.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise ConfigError(f"{key}: expected ADDRESS:PORT, [IPV6]:PORT or unix:/PATH, found {text!r}")
    return TcpAddress(match[1] or match[2], int(match[3]))
