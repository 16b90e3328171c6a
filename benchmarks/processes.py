"""What processes cost: processor time and private memory, read from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds a server has to stop after SIGTERM before it is killed.
STOP_SECONDS = 15.0

#: Tells clock_gettime(2) that the rest of a clock id is a process, and that its scheduler time is meant
#: (CPUCLOCK_SCHED in linux/posix-timers.h, what clock_getcpuclockid(3) returns).
_SCHEDULER_CLOCK = 2


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its ended threads, in seconds, to the nanosecond.

    ``/proc/PID/stat`` counts in hundredths of a second, a third of what a fork costs. Raises `ProcessLookupError`.
    """
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULER_CLOCK)
    except OSError as exc:
        raise ProcessLookupError(f"process {pid} is gone") from exc


def private_bytes(pid: int) -> int:
    """Return the memory that nobody shares with a process (USS). Raises `psutil.Error`."""
    return int(psutil.Process(pid).memory_full_info().uss)


def anonymous_bytes(pid: int) -> int:
    """Return the resident memory of a process that no file backs, shared with forks or not. Raises `psutil.Error`."""
    memory = psutil.Process(pid).memory_info()
    return int(memory.rss - memory.shared)


def family(pid: int) -> list[psutil.Process]:
    """Return the processes below ``pid``, which may be gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def arguments(process: psutil.Process) -> list[str]:
    """Return the command line of a process; that of one that is gone is empty."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that we started, and whatever it leaves behind."""
    descendants = family(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    end(descendants)
    if process.poll() is None:
        process.kill()
        process.wait()


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, those that are gone excepted (psutil recognizes a pid that belongs to another by now)."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def may_look_into_others() -> bool:
    """Return whether the memory of other accounts' processes can be read."""
    return os.geteuid() == 0
