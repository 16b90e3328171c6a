"""A network beside that of a booted machine, with a wire between: who is there comes to the machine from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from .machine import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nspawn import Machine

#: Addresses of both ends of the wire; nothing else is on it.
OUTSIDE = "10.98.76.1"
MACHINE = "10.98.76.2"


@contextlib.contextmanager
def wired(machine: Machine) -> Iterator[list[str]]:
    """Lay the wire; give what runs a command outside. The machine is at `MACHINE` from there."""
    ip = need("ip", "iproute2")
    name = f"cells-{os.getpid()}"

    def run(*arguments: str) -> None:
        subprocess.run([ip, *arguments], check=True, capture_output=True)

    run("netns", "add", name)
    try:
        run("-n", name, "link", "set", "lo", "up")
        run("-n", name, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", str(machine.pid_1))
        run("-n", name, "address", "add", f"{OUTSIDE}/30", "dev", "wire0")
        run("-n", name, "link", "set", "wire0", "up")
        machine.must(f"ip address add {MACHINE}/30 dev wire1 && ip link set wire1 up")
        yield [ip, "netns", "exec", name]
    finally:
        run("netns", "delete", name)
