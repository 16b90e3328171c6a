"""Processor time of a kernel and of all the processes that it started, from proc(5)."""

from __future__ import annotations

import os

#: Processes of one kernel that are looked at.
MAX_PROCESSES = 4096

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_seconds(pid: int, proc: str = "/proc") -> float:
    """Return the processor time of a process and its living descendants, and of those that were waited for.

    Raises `OSError` or `ValueError` when the process is gone. Children are read from the file ``children`` of each
    thread (proc_pid_task_tid_children(5)); a host without it counts the process alone.
    """
    total = _own_seconds(pid, proc)
    seen = {pid}
    waiting = [pid]
    while waiting and len(seen) < MAX_PROCESSES:
        for child in _children(waiting.pop(), proc):
            if child in seen or len(seen) >= MAX_PROCESSES:
                continue
            seen.add(child)
            try:
                total += _own_seconds(child, proc)
            except (OSError, ValueError):
                continue
            waiting.append(child)
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
