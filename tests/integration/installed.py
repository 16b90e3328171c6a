"""The installed appliance of this machine, for tests that run on the machine itself (tests/vm)."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import psutil

from appliance import config as configuration
from tests.integration.running import INSTALLED, Appliance, Server, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_SECONDS = 30
ROLES = ("cell-zygote@python.service", "cell-pool.service", "cell-permalink.service", "cell-web@*.service")

CONFIGURATION = "/etc/cell-appliance/appliance.toml"
SLICE = pathlib.Path("/sys/fs/cgroup/cell.slice")
PORT = 8888


class Installed(Server):
    """What `tests.integration.running.Appliance` is, of an appliance that systemd started."""

    def __init__(self) -> None:
        self.port = PORT
        self.url = f"http://127.0.0.1:{PORT}"
        self.config = configuration.load(CONFIGURATION)
        wait_for("the installed appliance evaluates", self.evaluates, READY_SECONDS)

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
        pid: int = wait_for(f"{role} runs", lambda: self.find(role), 10)
        return pid

    @property
    def output(self) -> list[str]:
        """What the roles have logged since the boot."""
        command = ["journalctl", "--boot", "--unit=cell-*", "--output=cat", "--no-pager", "--quiet"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def text(self) -> str:
        """Return everything logged so far."""
        return "\n".join(self.output)


@contextlib.contextmanager
def served(toml: str) -> Iterator[Appliance | Installed]:
    """Give an appliance with this configuration: one of its own or, in a guest, the installed one, restarted."""
    if INSTALLED:
        with _configured(toml) as installed:
            yield installed
        return
    appliance = Appliance(toml)
    try:
        yield appliance
    finally:
        appliance.stop()


@contextlib.contextmanager
def _configured(toml: str) -> Iterator[Installed]:
    """Restart the roles with other values in the configuration of the package, which is put back afterwards."""
    file = pathlib.Path(CONFIGURATION)
    kept = file.read_text(encoding="utf-8")
    changed = tomllib.loads(kept)
    _merge(changed, tomllib.loads(toml))
    try:
        # in place: a new file would have another label
        file.write_text(_as_toml(changed), encoding="utf-8")
        _restart()
        yield Installed()
    finally:
        file.write_text(kept, encoding="utf-8")
        _restart()
        Installed()


def _restart() -> None:
    subprocess.run(["systemctl", "restart", *ROLES], check=True, capture_output=True)


def _merge(table: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict):
            _merge(table.setdefault(key, {}), value)
        else:
            table[key] = value


def _as_toml(table: dict[str, Any], name: str = "") -> str:
    """Return a table as TOML; JSON writes texts, numbers, truths and lists of these in the same way."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    inner = [_as_toml(value, f"{name}.{key}".lstrip(".")) for key, value in table.items() if isinstance(value, dict)]
    return "\n".join((*([f"[{name}]"] if name else []), *lines, *inner, ""))
