"""``cellctl support-bundle``: what somebody needs who is asked why an appliance does not work, and nothing of visitors.

The journal of the appliance's units holds neither code nor keys nor whole ids of kernels; values of the configuration
whose name sounds like a secret are left out. Every part that cannot be had says so instead.
"""

from __future__ import annotations

import contextlib
import io
import platform
import re
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import appliance
from appliance import config as configuration
from appliance.cli import check, doctor, status
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Mapping

    from appliance.config import Config

#: Bytes of one part; of a longer one the end is kept.
MAX_PART_BYTES = 8 << 20

#: Seconds for one command.
COMMAND_SECONDS = 60.0

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "units.txt": ("systemctl", "--no-pager", "--full", "status", "cell-*", "cell.target", "cell.slice"),
    "unit-files.txt": ("systemctl", "--no-pager", "cat", "cell-*"),
    "failed.txt": ("systemctl", "--no-pager", "--failed"),
    "journal.txt": ("journalctl", "--no-pager", "--output=short-iso-precise", "--lines=5000", "--unit=cell-*"),
    "processes.txt": ("systemd-cgls", "--no-pager", "--full", "--unit", "cell.slice"),
    "disk.txt": ("df", "--human-readable", "--print-type"),
    "memory.txt": ("cat", "/proc/meminfo", "/proc/pressure/memory", "/proc/pressure/cpu", "/proc/pressure/io"),
    "system.txt": ("cat", "/etc/os-release", "/proc/version", "/proc/loadavg", "/proc/self/mountinfo"),
    "packages.txt": ("sh", "-c", "dpkg-query -W 'cell-appliance*' haproxy nginx systemd || rpm -qa 'cell-appliance*'"),
    "listening.txt": ("ss", "-lntx"),
}

_SECRET = re.compile(r"(?im)^(\s*[\w.-]*(?:password|secret|token|credential|key|dsn)[\w.-]*\s*=).*$")
_IN_URL = re.compile(r"(://[^/\s:@]*):[^@\s/]+@")


def without_secrets(text: str) -> str:
    """Return a configuration without the values that may be secret."""
    return _IN_URL.sub(r"\1:(left out)@", _SECRET.sub(r"\1 (left out)", text))


def _command(arguments: tuple[str, ...]) -> str:
    done = subprocess.run(  # noqa: S603 - fixed programs
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=COMMAND_SECONDS
    )
    return done.stdout


def _printed(call: Callable[[], object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        call()
    return printed.getvalue()


def parts(config: Config) -> dict[str, Callable[[], str]]:
    """Return what makes each part."""
    found: dict[str, Callable[[], str]] = {
        "version.txt": lambda: f"cell-appliance {appliance.__version__}\n{sys.version}\n{platform.platform()}\n",
        "configuration.toml": lambda: without_secrets(configuration.render(config)),
        "edge.env": lambda: "".join(f"{name}={value}\n" for name, value in check.edge_environment().items()),
        "doctor.txt": lambda: _printed(lambda: doctor.run(config, as_json=False)),
        "status.json": lambda: _printed(lambda: status.run(config, as_json=True)),
    }
    for name, arguments in COMMANDS.items():
        found[name] = lambda arguments=arguments: _command(arguments)  # type: ignore[misc]
    return found


def run(config: Config, archive: pathlib.Path) -> int:
    """Write the parts to ``archive``, a compressed tar file that nobody else may read. Raises `ApplianceError`."""
    folder = f"cell-appliance-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        archive.touch(0o600, exist_ok=False)
        with tarfile.open(archive, "w:gz") as tar:
            for name, make in parts(config).items():
                try:
                    text = make()
                except (ApplianceError, OSError, subprocess.TimeoutExpired) as exc:
                    text = f"not available: {exc}\n"
                data = text.encode("utf-8", "replace")[-MAX_PART_BYTES:]
                information = tarfile.TarInfo(f"{folder}/{name}")
                information.size, information.mtime, information.mode = len(data), int(time.time()), 0o600
                tar.addfile(information, io.BytesIO(data))
    except FileExistsError as exc:
        raise ApplianceError(f"{archive} is there already") from exc
    except OSError as exc:
        raise ApplianceError(f"{archive} cannot be written: {exc.strerror or exc}") from exc
    print(f"{archive}: look through it before you send it")
    return 0
