"""Ends kernels whose processes together have more memory than one may: where no cgroup limits it.

A kernel's limit is that of its first process for data (RLIMIT_DATA), which it cannot raise: what it may have, and what
its zygote had mapped. Every look adds up the resident memory of all its processes, which counts pages that they share
as often as they do; only of a kernel that has too much by that the exact sum is asked for, the proportional set size,
which Linux takes longer to find (proc_pid_smaps(5)): at once when it has grown by what was left to it, else so seldom
that it costs little, however many processes a program has made. Between two looks a kernel may take what Linux gives it
in that time.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from dataclasses import dataclass, field

#: Seconds between looks. Linux hands out about a gigabyte a second to each processor.
LOOK_SECONDS = 0.5

#: Of the time, the share that may go into exact sums of one kernel which has not grown.
EXACT_SHARE = 0.02

_RESIDENT = re.compile(rb"^Rss(?:Anon|Shmem):\s*(\d+) kB$", re.MULTILINE)
_PROPORTIONAL = re.compile(rb"^Pss_(?:Anon|Shmem):\s*(\d+) kB$", re.MULTILINE)
#: Of the file's owner a process could make another.
_UID = re.compile(rb"^Uid:\t(\d+)", re.MULTILINE)
_PIDS = re.compile(rb"^NSpid:\s*([\d\t]+)$", re.MULTILINE)


@dataclass
class _Kernel:
    """What a look has found of a kernel: pids as this process sees them, bytes."""

    first: int = 0
    pids: list[int] = field(default_factory=list)
    resident: int = 0


@dataclass
class _Exact:
    """What was found exactly: bytes resident and proportional then, and when to ask again."""

    resident: int
    proportional: int
    again: float


class MemoryWatch:
    """Looks at every process of an account from ``first_slot`` on; a slot is the uid of one kernel."""

    def __init__(self, first_slot: int, proc: str = "/proc") -> None:
        self._first_slot = first_slot
        self._proc = proc
        self._ended: set[int] = set()
        self._known: dict[int, _Exact] = {}

    def end_excessive(self) -> list[int]:
        """Kill kernels that have too much; return their slots."""
        kernels = self._kernels()
        self._known = {slot: known for slot, known in self._known.items() if slot in kernels}
        return [
            slot for slot, kernel in kernels.items() if self._has_too_much(slot, kernel) and self._end(slot, kernel)
        ]

    def ended(self, slot: int) -> bool:
        """Return whether the kernel that was in a slot was killed for its memory, and forget it."""
        was = slot in self._ended
        self._ended.discard(slot)
        return was

    def _kernels(self) -> dict[int, _Kernel]:
        found: dict[int, _Kernel] = {}
        for entry in os.listdir(self._proc):
            if not entry.isdecimal():
                continue
            status = self._status(int(entry))
            uid = _uid(status)
            if uid < self._first_slot:
                continue
            kernel = found.setdefault(uid, _Kernel())
            kernel.pids.append(int(entry))
            kernel.resident += _bytes(_RESIDENT, status)
            pids = _PIDS.search(status)
            if pids is not None and pids[1].split()[1:] == [b"1"]:
                kernel.first = int(entry)
        return found

    def _status(self, pid: int) -> bytes:
        """Return what Linux tells of a process, nothing when it is gone."""
        try:
            with open(f"{self._proc}/{pid}/status", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def _has_too_much(self, slot: int, kernel: _Kernel) -> bool:
        if not kernel.first:
            return False
        try:
            _, limit = resource.prlimit(kernel.first, resource.RLIMIT_DATA)
        except OSError:
            return False
        if limit == resource.RLIM_INFINITY or kernel.resident <= limit:
            return False
        began, known = time.monotonic(), self._known.get(slot)
        if known is not None and began < known.again and kernel.resident - known.resident <= limit - known.proportional:
            return False
        proportional = sum(map(self._proportional, kernel.pids))
        took = time.monotonic() - began
        self._known[slot] = _Exact(kernel.resident, proportional, began + took / EXACT_SHARE)
        return proportional > limit

    def _proportional(self, pid: int) -> int:
        try:
            with open(f"{self._proc}/{pid}/smaps_rollup", "rb") as file:
                return _bytes(_PROPORTIONAL, file.read())
        except OSError:
            return 0

    def _end(self, slot: int, kernel: _Kernel) -> bool:
        """Kill the first process of a kernel, and with it all others."""
        try:
            pidfd = os.pidfd_open(kernel.first)
        except OSError:
            return False
        try:
            # the number may be another process's by now
            if _uid(self._status(kernel.first)) != slot:
                return False
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(pidfd)
        self._ended.add(slot)
        return True


def _uid(status: bytes) -> int:
    found = _UID.search(status)
    return int(found[1]) if found is not None else -1


def _bytes(pattern: re.Pattern[bytes], text: bytes) -> int:
    return sum(int(number) * 1024 for number in pattern.findall(text))
