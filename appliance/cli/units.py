"""The units of the packaged appliance, as systemctl(1) tells of them and acts on them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import attrs

from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SYSTEMCTL = "/usr/bin/systemctl"
JOURNALCTL = "/usr/bin/journalctl"

#: Longest message of the journal that is repeated.
MAX_WORDS_CHARACTERS = 500

#: What a unit name begins with, by the name that cellctl uses; in the order in which roles are restarted.
ROLES = {
    "permalink": "cell-permalink.service",
    "egress": "cell-egress.service",
    "requestlog": "cell-requestlog.service",
    "pool": "cell-pool.service",
    "web": "cell-web@",
    "nginx": "cell-nginx.service",
    "haproxy": "cell-haproxy.service",
    "zygote": "cell-zygote@",
}

#: Seconds for a question to systemd, and for it to restart a unit (TimeoutStopSec= and TimeoutStartSec= hold, too).
ASK_SECONDS = 20.0
ACT_SECONDS = 400.0

_PROPERTIES = (
    "Id",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "MainPID",
    "StatusText",
    "MemoryCurrent",
    "CPUUsageNSec",
    "ActiveEnterTimestampMonotonic",
    "ExecMainStatus",
)


class SystemdUnavailable(ApplianceError):
    """Systemd does not answer, or does not run here; an appliance that is no package is run by cellctl serve."""


@attrs.frozen
class Unit:
    """A unit's state; numbers that systemd does not know are None."""

    name: str
    active: str
    sub: str
    result: str
    restarts: int
    pid: int
    status: str
    memory_bytes: int | None
    cpu_nanoseconds: int | None
    active_since: float
    exit_status: int

    @property
    def role(self) -> str:
        """The name that cellctl uses."""
        return next((role for role, name in ROLES.items() if self.name.startswith(name)), self.name)


def _systemctl(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - a fixed program
            [SYSTEMCTL, "--no-pager", "--no-ask-password", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except FileNotFoundError as exc:
        raise SystemdUnavailable from exc
    except subprocess.TimeoutExpired as exc:
        raise SystemdUnavailable(f"systemctl {' '.join(arguments)}: no answer in {seconds:.0f} s") from exc


def parse_units(text: str) -> list[Unit]:
    """Return the units in what ``systemctl show`` printed: blocks of NAME=VALUE, an empty line between them."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" not in fields:
            continue
        found.append(
            Unit(
                name=fields["Id"],
                active=fields.get("ActiveState", ""),
                sub=fields.get("SubState", ""),
                result=fields.get("Result", ""),
                restarts=_number(fields.get("NRestarts", "")) or 0,
                pid=_number(fields.get("MainPID", "")) or 0,
                status=fields.get("StatusText", ""),
                memory_bytes=_number(fields.get("MemoryCurrent", "")),
                cpu_nanoseconds=_number(fields.get("CPUUsageNSec", "")),
                active_since=(_number(fields.get("ActiveEnterTimestampMonotonic", "")) or 0) / 1e6,
                exit_status=_number(fields.get("ExecMainStatus", "")) or 0,
            )
        )
    return found


def _number(text: str) -> int | None:
    """Return a number of systemd's; None for "[not set]" and for the largest number, which means the same."""
    return int(text) if text.isdigit() and int(text) < 2**64 - 1 else None


def services() -> list[Unit]:
    """Return the services of the appliance that run, should run, or failed, by role. Raises `SystemdUnavailable`."""
    done = _systemctl(["show", f"--property={','.join(_PROPERTIES)}", "cell-*.service"], ASK_SECONDS)
    if done.returncode != 0:
        raise SystemdUnavailable(f"{SystemdUnavailable.sentence()} {done.stderr.strip()}")
    roles = list(ROLES)
    known = [unit for unit in parse_units(done.stdout) if unit.role in ROLES]
    return sorted(known, key=lambda unit: (roles.index(unit.role), unit.name))


def listening_address() -> str:
    """Return where the web roles listen: ADDRESS:PORT or a path. Raises `SystemdUnavailable`."""
    text = _systemctl(["show", "--value", "--property=Listen", "cell-web.socket"], ASK_SECONDS).stdout
    words = text.split()
    if not words:
        raise SystemdUnavailable("cell-web.socket is not there: the appliance is not installed as a package here")
    return words[0]


def sockets() -> list[Unit]:
    """Return the sockets of the appliance. Raises `SystemdUnavailable`."""
    done = _systemctl(["show", f"--property={','.join(_PROPERTIES)}", "cell-*.socket"], ASK_SECONDS)
    if done.returncode != 0:
        raise SystemdUnavailable(f"{SystemdUnavailable.sentence()} {done.stderr.strip()}")
    return parse_units(done.stdout)


def last_words(unit: str) -> str:
    """Return the last thing that a unit's processes said in the journal, if anything."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program
            [JOURNALCTL, "--no-pager", "--quiet", "--boot", "--output=json", "--lines=40", f"--unit={unit}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=ASK_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return parse_last_words(done.stdout)


def parse_last_words(text: str) -> str:
    """Return the last message of the journal's JSON lines that is not systemd's, a warning or worse if there is one."""
    said, grave = "", ""
    for line in text.splitlines():
        entry = json.loads(line)
        message = entry.get("MESSAGE")
        if entry.get("SYSLOG_IDENTIFIER") == "systemd" or not isinstance(message, str) or not message.strip():
            continue
        said = message.strip()
        if entry.get("PRIORITY", "6") <= "4":
            grave = said
    return (grave or said)[:MAX_WORDS_CHARACTERS]


def is_active(unit: str) -> bool:
    """Return whether a unit is active. Raises `SystemdUnavailable`."""
    return _systemctl(["is-active", "--quiet", unit], ASK_SECONDS).returncode == 0


def restart(unit: str, *, gently: bool = False) -> None:
    """Restart a unit, ``gently`` by having it reload itself, and wait until it is ready.

    Raises `SystemdUnavailable` when it does not come up.
    """
    done = _systemctl(["reload-or-restart" if gently else "restart", unit], ACT_SECONDS)
    if done.returncode != 0:
        raise SystemdUnavailable(f"{unit} did not start: {done.stderr.strip() or f'see cellctl logs {unit}'}")


def kill(unit: str) -> None:
    """Kill every process of a unit, which does not end when it is told to. Raises `SystemdUnavailable`."""
    _systemctl(["kill", "--signal=SIGKILL", unit], ACT_SECONDS)


@contextlib.contextmanager
def stopped(service: str) -> Iterator[None]:
    """Have a service and the socket that would start it again stopped meanwhile. Raises `SystemdUnavailable`."""
    door = service.replace(".service", ".socket")
    running = os.path.isdir("/run/systemd/system") and is_active(door)
    if running:
        _systemctl(["stop", door, service], ACT_SECONDS)
    try:
        yield
    finally:
        if running:
            restart(door)
            restart(service)


def names(roles: Iterable[str]) -> list[str]:
    """Return the running or failed units of ``roles``. Raises `SystemdUnavailable`."""
    wanted = set(roles)
    return [unit.name for unit in services() if unit.role in wanted and unit.active != "inactive"]
