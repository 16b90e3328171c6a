"""Processor time of a kernel and of all the processes that it started, from proc(5)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Processes of one kernel that are looked at.
MAX_PROCESSES = 4096

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int, proc: str = "/proc") -> Iterator[int]:
    """Yield a process and its living descendants, up to `MAX_PROCESSES`.

    Children are read from the file ``children`` of each thread (proc_pid_task_tid_children(5)); on a host without it
    the process is alone.
    """
    seen = {pid}
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        for child in _children(one, proc):
            if child not in seen and len(seen) < MAX_PROCESSES:
                seen.add(child)
                waiting.append(child)


def tree_seconds(pid: int, proc: str = "/proc") -> float:
    """Return the processor time of a process and its living descendants, and of those that were waited for.

    Raises `OSError` or `ValueError` when the process is gone.
    """
    total = _own_seconds(pid, proc)
    for one in tree(pid, proc):
        if one != pid:
            with contextlib.suppress(OSError, ValueError):
                total += _own_seconds(one, proc)
    return total


def _own_seconds(pid: int, proc: str) -> float:
    with open(f"{proc}/{pid}/stat", "rb") as file:
        # the name of a program may hold blanks and brackets: what counts comes after the last bracket
        fields = file.read().rpartition(b")")[2].split()
    # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5); the first after the name is 3
    if len(fields) < 15:
        raise ValueError(f"{proc}/{pid}/stat is short")
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _children(pid: int, proc: str) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"{proc}/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"{proc}/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except (OSError, ValueError):
            continue
    return found
