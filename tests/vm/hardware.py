"""An emulated machine that UEFI firmware starts from disks, with an administrator at its ssh."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .guest import Guest, emulated, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.packaging.machine import Result

FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
ADMINISTRATOR = "admin"
LOGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Hardware:
    """Raw disks, the system's first, and the private key of the administrator."""

    disks: Sequence[Path]
    key: Path


class Administered(Guest):
    """A machine whose administrator becomes root by sudo."""

    def __init__(self, hardware: Hardware, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        super().__init__(hardware.key.parent, process, port, log, user=ADMINISTRATOR)

    def run(self, command: str | Sequence[str], *, seconds: float = 60.0, stdin: str | None = None) -> Result:
        """Run a shell command, or an argument vector, as root in the machine."""
        text = command if isinstance(command, str) else shlex.join(command)
        return super().run(["sudo", "-n", "sh", "-c", text], seconds=seconds, stdin=stdin)

    def login(self, user: str) -> int:
        """Try to log in as another user with the administrator's key; return the exit status."""
        # the first option of a name counts: no use of the administrator's connection
        command = ["ssh", "-o", "ControlPath=none", "-o", "BatchMode=yes", *self._ssh[1:-1]]
        command += [f"{user}@127.0.0.1", "true"]
        return subprocess.run(command, capture_output=True, timeout=LOGIN_SECONDS, check=False).returncode


@contextlib.contextmanager
def started(hardware: Hardware, log: Path, forwards: Mapping[int, int]) -> Iterator[Administered]:
    """Start the machine and give it; ``forwards``: ports of this host to those of the machine."""
    port = free_port()
    firmware = ["-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}"]
    with emulated(hardware.disks, firmware, log, {port: 22, **forwards}) as process:
        machine = Administered(hardware, process, port, log)
        try:
            machine.boot()
            yield machine
        finally:
            machine.log_out()
