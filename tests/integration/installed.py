"""The installed appliance of this machine, for tests that run on the machine itself (tests/vm)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess

import psutil

from appliance import config as configuration
from tests.integration.running import Server, wait_for

CONFIGURATION = "/etc/cell-appliance/appliance.toml"
SLICE = pathlib.Path("/sys/fs/cgroup/cell.slice")
PORT = 8888


class Installed(Server):
    """What `tests.integration.running.Appliance` is, of an appliance that systemd started."""

    def __init__(self) -> None:
        self.port = PORT
        self.url = f"http://127.0.0.1:{PORT}"
        self.config = configuration.load(CONFIGURATION)
        wait_for("the installed appliance evaluates", self.evaluates, 60)

    def family(self) -> list[psutil.Process]:
        """Return every process of the appliance."""
        found = []
        # not pathlib's glob, which fails when a leaf goes meanwhile
        for directory, _, _ in os.walk(SLICE):
            with contextlib.suppress(OSError):
                for pid in pathlib.Path(directory, "cgroup.procs").read_text(encoding="ascii").split():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        found.append(psutil.Process(int(pid)))
        return found

    def find(self, role: str) -> int | None:
        """Return the process id of ``web``, ``pool``, ``permalink`` or ``zygote-NAME`` (its launcher), if it runs."""
        unit = f"cell-{role.replace('zygote-', 'zygote@').replace('web', 'web@0')}.service"
        command = ["systemctl", "show", "--value", "--property=MainPID", unit]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) or None

    def pid_of(self, role: str) -> int:
        """Return the process id of a role, waiting for a restart that is under way."""
        pid: int = wait_for(f"{role} runs", lambda: self.find(role), 60)
        return pid

    @property
    def output(self) -> list[str]:
        """What the roles have logged since the boot."""
        command = ["journalctl", "--boot", "--unit=cell-*", "--output=cat", "--no-pager", "--quiet"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def text(self) -> str:
        """Return everything logged so far."""
        return "\n".join(self.output)
