"""One cgroup (v2) for each kernel, below a subtree that systemd delegated.

The launcher finds the subtree while it can still see /sys/fs/cgroup and gives it to the first id of the range; the
keeper binds it into the staged root; the zygote then makes and joins leaves. Where the host does not delegate the
controllers, `find` says why and kernels fall back to rlimits. Source: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import glob
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MOUNT_POINT = "/run/cgroup"
CONTROLLERS = ("memory", "pids", "cpu")
#: Used where the host has it: what a kernel writes stays in memory, and only what it reads comes from a disk.
IO = "io"
#: cpu.max period in microseconds, the kernel's default.
CPU_PERIOD = 100_000
#: cpu.weight of a kernel; 100 is what every role has, so that roles are served first under load.
CPU_WEIGHT = 50
#: io.weight of a kernel; 100 is what every role has.
IO_WEIGHT = 50


class NotDelegated(Exception):
    """The reason why there is no cgroup for each kernel on this host."""


def find() -> str:
    """Return the path of this process's own cgroup if memory, pids and cpu are delegated to it.

    Raises `NotDelegated` with the reason.
    """
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        lines = file.read().splitlines()
    if any(line.split(":")[1] in CONTROLLERS for line in lines):
        raise NotDelegated("this host runs cgroup v1 (or hybrid); the limits need pure cgroup v2")
    path = "/sys/fs/cgroup" + next(line.split("::", 1)[1] for line in lines if line.startswith("0::")).rstrip("/")
    try:
        with open(f"{path}/cgroup.controllers", encoding="utf-8") as file:
            available = file.read().split()
    except OSError as exc:
        raise NotDelegated(f"{path} cannot be read: {exc.strerror}") from exc
    missing = [name for name in CONTROLLERS if name not in available]
    if missing:
        raise NotDelegated(f"{path} offers no {', '.join(missing)} controller: start from a unit with Delegate=yes")
    if path == "/sys/fs/cgroup" or not os.access(path, os.W_OK):
        raise NotDelegated(f"{path} is not delegated: start from a unit with Delegate=yes")
    return path


def of_units(root: str = "/sys/fs/cgroup") -> list[str]:
    """Return the subtrees in which the launchers that systemd started have made leaves of kernels possible."""
    found = []
    for path in sorted(glob.glob(f"{root}/cell.slice/cell-kernels.slice/cell-zygote@*.service")):
        try:
            with open(f"{path}/cgroup.subtree_control", encoding="utf-8") as file:
                enabled = file.read().split()
        except OSError:
            continue
        if set(CONTROLLERS) <= set(enabled):
            found.append(path)
    return found


def prepare(path: str, owner: int) -> None:
    """Make ``path`` a subtree of leaves: move its processes into a leaf, enable controllers, give it to ``owner``."""
    leaf = f"{path}/keeper"
    os.makedirs(leaf, exist_ok=True)
    with open(f"{path}/cgroup.procs", encoding="ascii") as file:
        pids = file.read().split()
    for pid in pids:
        _write(f"{leaf}/cgroup.procs", pid)
    with open(f"{path}/cgroup.controllers", encoding="ascii") as file:
        wanted = [*CONTROLLERS, *({IO} & set(file.read().split()))]
    _write(f"{path}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
    for name in (path, leaf):
        os.chown(name, owner, owner)
        for control in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(f"{name}/{control}", owner, owner)


@dataclass(frozen=True)
class Subtree:
    """The delegated subtree as the zygote sees it."""

    path: str = MOUNT_POINT

    def join(self, uid: int, *, memory_bytes: int, processes: int, cpu_percent: int) -> None:
        """Make the leaf of the kernel ``uid``, set its limits and move this process into it.

        A leaf that an ended kernel left, because no zygote was its parent, is replaced; one with processes in it is an
        error. Raises `OSError`.
        """
        leaf = self._leaf(uid)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(leaf)
        os.mkdir(leaf, 0o755)
        _write(f"{leaf}/memory.max", str(memory_bytes))
        if os.path.exists(f"{leaf}/memory.swap.max"):
            _write(f"{leaf}/memory.swap.max", "0")
        _write(f"{leaf}/memory.oom.group", "1")
        _write(f"{leaf}/pids.max", str(processes))
        _write(f"{leaf}/cpu.weight", str(CPU_WEIGHT))
        _write(f"{leaf}/cpu.max", f"{cpu_percent * CPU_PERIOD // 100} {CPU_PERIOD}")
        if os.path.exists(f"{leaf}/io.weight"):
            _write(f"{leaf}/io.weight", f"default {IO_WEIGHT}")
        _write(f"{leaf}/cgroup.procs", "0")

    def kill(self, uid: int) -> None:
        """End every process of the kernel ``uid``."""
        try:
            _write(f"{self._leaf(uid)}/cgroup.kill", "1")
        except FileNotFoundError:
            return

    def set_idle(self, uid: int, *, idle: bool) -> None:
        """Let the kernel ``uid`` run only when no other wants the processor, or as all others do."""
        try:
            _write(f"{self._leaf(uid)}/cpu.idle", str(int(idle)))
            if not idle:
                # Linux gives what is idle no longer the default of 100, and takes no weight of what is idle.
                _write(f"{self._leaf(uid)}/cpu.weight", str(CPU_WEIGHT))
        except (FileNotFoundError, PermissionError):
            # It has ended, or Linux is older than 5.15.
            return

    def remove(self, uid: int) -> bool:
        """Remove the leaf of the kernel ``uid``, which has ended; return whether it hit its memory limit.

        What cannot be removed yet is left to `join` and `sweep`.
        """
        leaf = self._leaf(uid)
        try:
            with open(f"{leaf}/memory.events", encoding="ascii") as file:
                events = dict(line.split() for line in file)
        except FileNotFoundError:
            return False
        with contextlib.suppress(OSError):
            os.rmdir(leaf)
        return int(events.get("oom_kill", "0")) > 0

    def sweep(self, keep: Collection[int] = ()) -> None:
        """Remove the leaves of kernels that ended while no zygote was their parent; others are busy and stay.

        ``keep``: kernels that may be about to join their leaf.
        """
        kept = {f"kernel-{uid}" for uid in keep}
        for name in os.listdir(self.path):
            if name.startswith("kernel-") and name not in kept:
                with contextlib.suppress(OSError):
                    os.rmdir(f"{self.path}/{name}")

    def _leaf(self, uid: int) -> str:
        return f"{self.path}/kernel-{uid}"


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
