"""A Debian root booted with real systemd by systemd-nspawn, on a host whose own pid 1 may be anything.

Each start is from a clean copy (``--volatile=overlay``). The machine has a network of its own with a loopback only.
Commands run inside through nsenter, since neither machined nor a login is at hand.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from .machine import Result, Shell, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BOOT_SECONDS = 90.0
STOP_SECONDS = 30.0
#: systemd's own signal for "power off" to a manager that is pid 1 of a container (systemd(1), SIGRTMIN+4).
POWER_OFF = signal.SIGRTMIN + 4


class Machine(Shell):
    """A booted root."""

    def __init__(self, supervisor: subprocess.Popen[bytes], log: Path) -> None:
        self._supervisor = supervisor
        self._log = log

    @property
    def pid_1(self) -> int:
        """The machine's pid 1 as the host counts, 0 before there is one."""
        path = Path(f"/proc/{self._supervisor.pid}/task/{self._supervisor.pid}/children")
        words = path.read_text().split() if path.exists() else []
        return int(words[0]) if words else 0

    #: Variables of commands in the machine: nothing of ours.
    environment: ClassVar[dict[str, str]] = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }

    @property
    def prefix(self) -> list[str]:
        """What runs a command in the machine."""
        return ["nsenter", "-t", str(self.pid_1), "-m", "-u", "-i", "-n", "-p", "-C", "--"]

    def run(self, command: str | Sequence[str], *, seconds: float = 60.0, stdin: str | None = None) -> Result:
        """Run a shell command, or an argument vector, as root in the machine."""
        arguments = ["sh", "-c", command] if isinstance(command, str) else list(command)
        done = subprocess.run(
            [*self.prefix, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
            env=self.environment,
        )
        return Result(done.returncode, done.stdout)

    def boot(self) -> None:
        """Wait for pid 1 and the end of the boot."""
        deadline = time.monotonic() + BOOT_SECONDS
        while not (self.pid_1 and os.path.exists(f"/proc/{self.pid_1}/root/run/systemd/private")):
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the machine did not boot:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.05)
        state = self.run("systemctl is-system-running --wait", seconds=BOOT_SECONDS).output.strip()
        if state != "running":
            pytest.fail(f"the machine is {state}:\n{self.run('systemctl --failed --no-pager').output}")

    def power_off(self) -> None:
        """Power off, and see that nspawn ends."""
        if self._supervisor.poll() is None and self.pid_1:
            os.kill(self.pid_1, POWER_OFF)
        try:
            self._supervisor.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait(STOP_SECONDS)


@contextlib.contextmanager
def booted(root: Path, log: Path, *, binds: dict[Path, str]) -> Iterator[Machine]:
    """Boot ``root`` and give the machine; ``binds`` are host directories shown read-only inside."""
    command = [need("systemd-nspawn", "systemd-container"), "--quiet", f"--directory={root}", "--machine=cells"]
    # no machined, no scope of a host systemd, no console, a loopback only
    command += ["--boot", "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no", "--private-network"]
    command += ["--volatile=overlay", "--timezone=off", "--resolv-conf=off"]
    # kernels of the appliance need user namespaces and mounts in them
    command += ["--private-users=no", "--capability=all", "--system-call-filter=@mount @keyring bpf"]
    command += [f"--bind-ro={source}:{target}" for source, target in binds.items()]
    # A user namespace may mount a /proc of its own only while nothing covers parts of the one that is there.
    environment = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes"}
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    machine = Machine(supervisor, log)
    try:
        machine.boot()
        yield machine
    finally:
        machine.power_off()
        leave_no_cgroups()


def leave_no_cgroups() -> None:
    """Remove the empty cgroups that nspawn --keep-unit leaves in the trees of a host without systemd."""
    for top in ("systemd", "unified"):
        for name in ("payload", "supervisor"):
            tree = Path("/sys/fs/cgroup") / top / name
            for directory in sorted((tree, *tree.glob("**/*/")), key=lambda path: len(path.parts), reverse=True):
                with contextlib.suppress(OSError):
                    directory.rmdir()
