"""A QEMU guest, entirely emulated, that is driven over ssh.

Disks are never written: a start is from clean copies. The guest's network is QEMU's own, closed in both directions but
for ports of 127.0.0.1, ssh among them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.packaging.machine import Result, Shell, need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: An emulated boot takes half a minute alone on the host, several times that beside other work.
BOOT_SECONDS = 420.0
STOP_SECONDS = 20.0
#: Two kernels that take all they may, and everything else.
MEMORY_MEBIBYTES = 4096
#: security=selinux: Debian's kernel has AppArmor on by default, and only one of the two can be. Events of the audit
#: subsystem are what the tests look for: none may be lost.
KERNEL_ARGUMENTS = (
    "console=ttyS0 root=/dev/vda rw quiet mitigations=off panic=-1 random.trust_cpu=1 net.ifnames=0 "
    "security=selinux audit=1 audit_backlog_limit=65536 printk.devkmsg=on"
)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Guest(Shell):
    """A booted guest."""

    def __init__(
        self, image: Path, process: subprocess.Popen[bytes], port: int, log: Path, *, user: str = "root"
    ) -> None:
        self._process = process
        self._log = log
        # one connection for all commands: a handshake is slow where cryptography is emulated
        control = log.with_name("ssh")
        self._ssh = ["ssh", "-F", "none", "-i", str(image / "key"), "-p", str(port), "-o", "ControlMaster=auto"]
        self._ssh += ["-o", f"ControlPath={control}", "-o", "ControlPersist=yes", "-o", "ConnectTimeout=30"]
        self._ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        self._ssh += [f"{user}@127.0.0.1"]

    def run(self, command: str | Sequence[str], *, seconds: float = 60.0, stdin: str | None = None) -> Result:
        """Run a shell command, or an argument vector, as root in the guest."""
        text = command if isinstance(command, str) else shlex.join(command)
        done = subprocess.run(
            [*self._ssh, text],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def forward(self, port: int) -> int:
        """Return a port of this host's 127.0.0.1 that leads to ``port`` of the guest's."""
        own = free_port()
        command = [*self._ssh[:-1], "-O", "forward", "-L", f"127.0.0.1:{own}:127.0.0.1:{port}", self._ssh[-1]]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return own

    def boot(self) -> None:
        """Wait until a login succeeds and the boot has come to its end."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the guest did not boot:\n{self._log.read_text(errors='replace')[-6000:]}")
            # QEMU takes the connection at once; only an answer tells that the guest's sshd is there
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self.run("true", seconds=30).status == 0:
                    break
            time.sleep(0.5)
        self.run("systemctl is-system-running --wait", seconds=BOOT_SECONDS)

    def log_out(self) -> None:
        """Close the connection of all commands."""
        subprocess.run([*self._ssh[:-1], "-O", "exit", self._ssh[-1]], capture_output=True, check=False)


@contextlib.contextmanager
def emulated(
    disks: Sequence[Path], start: Sequence[str], log: Path, forwards: Mapping[int, int]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a machine with ``disks``, none of which is written, and give its process.

    ``start``: QEMU's arguments that say from what it boots. ``forwards``: ports of this host to those of the machine;
    its network is closed in both directions but for them.
    """
    command = [need("qemu-system-x86_64", "qemu-system-x86"), "-machine", "q35", "-accel", "tcg,thread=multi"]
    command += ["-cpu", "max", "-smp", "2", "-m", str(MEMORY_MEBIBYTES), "-nodefaults", "-no-user-config"]
    command += ["-display", "none", "-no-reboot", *start]
    for number, disk in enumerate(disks):
        command += ["-drive", f"file={disk},format=raw,if=none,id=disk{number},snapshot=on,cache=unsafe"]
        command += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    ports = "".join(f",hostfwd=tcp:127.0.0.1:{own}-:{theirs}" for own, theirs in forwards.items())
    command += ["-netdev", f"user,id=net,restrict=on{ports}", "-device", "virtio-net-pci,netdev=net,romfile="]
    command += ["-device", "virtio-rng-pci", "-serial", f"file:{log}"]
    with log.with_name("qemu.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # the throw-away copy of what the machine writes
            env={**os.environ, "TMPDIR": "/var/tmp"},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


@contextlib.contextmanager
def booted(image: Path, log: Path, *, enforcing: bool = True) -> Iterator[Guest]:
    """Boot the image that image.sh made and give the guest."""
    port = free_port()
    arguments = f"{KERNEL_ARGUMENTS} enforcing={int(enforcing)}"
    start = ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append", arguments]
    with emulated([image / "disk.img"], start, log, {port: 22}) as process:
        guest = Guest(image, process, port, log)
        try:
            guest.boot()
            yield guest
        finally:
            guest.log_out()
