"""The way out of a kernel whose profile has an allow-list: a port of its own loopback leads to the proxy's socket (T9).

Programs know proxies by host and port; the proxy is a Unix socket outside. A thread copies bytes between the two and
understands none of them. What is installed over it goes into the visitor's home and ends with the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import sysconfig
import threading

from appliance.zygote import sandbox

#: The customary port of HTTP proxies; this loopback is the kernel's alone.
PORT = 3128

#: Named in `appliance.config.Config.egress_socket`.
PROXY = f"{sandbox.EGRESS}/proxy"

#: Bytes taken from one side before they are given to the other.
CHUNK_BYTES = 65_536

#: Connections that wait to be copied; the proxy itself limits how many there are.
BACKLOG = 64

#: Where pip installs: not into the environment, which is read-only, nor with a second copy of what it holds, as
#: ``--target`` would.
PREFIX = f"{sandbox.HOME}/.local"


def start() -> None:
    """Open the way in this process and tell it to everything that runs below. Raises `OSError`."""
    threading.Thread(target=serve, args=(listen(),), name="egress", daemon=True).start()
    packages = installed_packages(PREFIX)
    # It must exist now: the import system remembers what it found missing.
    os.makedirs(packages, exist_ok=True)
    sys.path.insert(1, packages)
    os.environ.update(variables(packages, os.environ.get("PATH", os.defpath)))


def variables(packages: str, path: str) -> dict[str, str]:
    """Return the environment variables by which programs find the proxy, pip its place, and Python what pip put there.

    ``packages``: the directory for modules; ``path``: the present PATH.
    """
    return {
        **proxy_variables(),
        "PATH": f"{PREFIX}/bin:{path}",
        "PIP_PREFIX": PREFIX,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_WARN_SCRIPT_LOCATION": "1",
        "PYTHONPATH": packages,
    }


def proxy_variables() -> dict[str, str]:
    """Return the environment variables by which programs find the proxy."""
    proxy = f"http://127.0.0.1:{PORT}"
    local = "localhost,127.0.0.1,::1"
    return {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), local),
    }


def installed_packages(prefix: str) -> str:
    """Return the directory of modules below ``prefix``, where ``pip install --prefix`` puts them."""
    base = {"base": prefix, "platbase": prefix, "installed_base": prefix, "installed_platbase": prefix}
    return sysconfig.get_path("purelib", sysconfig.get_preferred_scheme("prefix"), base)


def listen() -> socket.socket:
    """Return the listening socket that programs take for the proxy. Raises `OSError`."""
    return socket.create_server(("127.0.0.1", PORT), backlog=BACKLOG)


def serve(listener: socket.socket) -> None:
    """Join every connection of ``listener`` with the proxy, for ever; to be run in a thread or a process of its own."""
    asyncio.run(_serve(listener))


async def _serve(listener: socket.socket) -> None:
    server = await asyncio.start_server(_carry, sock=listener, limit=CHUNK_BYTES)
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Join one connection with the proxy until both sides have ended."""
    try:
        proxy_reader, proxy_writer = await asyncio.open_unix_connection(PROXY, limit=CHUNK_BYTES)
    except OSError:
        writer.close()
        return
    # An answer may still be on its way when the proxy no longer takes what is sent.
    await asyncio.gather(_copy(reader, proxy_writer), _copy(proxy_reader, writer))
    for side in (proxy_writer, writer):
        side.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
