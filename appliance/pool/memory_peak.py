"""The largest memory of a kernel: of its cgroup where it has one, else of its largest process, from proc(5)."""

from __future__ import annotations

import contextlib
import re

from appliance.pool.cpu_time import tree

#: A leaf of one kernel and nobody else, as `appliance.zygote.cgroup` names it.
_LEAF = re.compile(r"^0::(/[^\n]*/kernel-[0-9]+)$", re.MULTILINE)

_PEAK = re.compile(rb"^VmHWM:\s*([0-9]+) kB$", re.MULTILINE)


def peak_bytes(pid: int, proc: str = "/proc", cgroups: str = "/sys/fs/cgroup") -> int:
    """Return the largest memory that a kernel has had so far, 0 when nothing tells.

    ``memory.peak`` of its cgroup (Linux 5.19) counts what is its own; the resident memory of a process counts pages
    that it shares with its zygote as well, and processes that have ended are not among them.
    """
    with contextlib.suppress(OSError, ValueError):
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8") as file:
            leaf = _LEAF.search(file.read())
        if leaf is not None:
            with open(f"{cgroups}{leaf[1]}/memory.peak", encoding="ascii") as file:
                return int(file.read())
    return max((_resident_peak(one, proc) for one in tree(pid, proc)), default=0)


def _resident_peak(pid: int, proc: str) -> int:
    try:
        with open(f"{proc}/{pid}/status", "rb") as file:
            found = _PEAK.search(file.read())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
