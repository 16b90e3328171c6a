"""Which kernels give way: one that has computed for long runs only when no other kernel wants the processor.

With a cgroup for each kernel its leaf is made idle (cpu.idle; Documentation/admin-guide/cgroup-v2.rst). Without, its
sessions' scheduling groups get the highest nice value (sched(7), "The autogroup feature"); where Linux has no such
groups, nothing gives way. Both can be taken back, unlike the nice value of a process.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.zygote import cgroup

#: Nice value of the scheduling groups of a kernel that gives way.
BACKGROUND_NICE = 19

_NICE = re.compile(rb"/autogroup-\d+ nice (-?\d+)")


def set_background(uid: int, subtree: cgroup.Subtree | None, *, background: bool, proc: str = "/proc") -> bool:
    """Let the kernel ``uid`` give way to others, or not any more; return False when it must be tried again.

    Sessions that its programs open afterwards are not included.
    """
    if subtree is not None:
        subtree.set_idle(uid, idle=background)
        return True
    nice = BACKGROUND_NICE if background else 0
    return all(_renice_group(f"{proc}/{entry}", uid, nice) for entry in os.listdir(proc) if entry.isdecimal())


def _renice_group(process: str, uid: int, nice: int) -> bool:
    """Set the nice value of the group of one process, if it is the kernel's; return False when Linux asks to wait."""
    try:
        directory = os.open(process, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return True
    try:
        if os.fstat(directory).st_uid != uid:
            return True
        fd = os.open("autogroup", os.O_RDWR, dir_fd=directory)
        try:
            found = _NICE.match(os.read(fd, 128))
            if found is not None and int(found[1]) != nice:
                os.write(fd, str(nice).encode())
        finally:
            os.close(fd)
    except BlockingIOError:
        # Linux takes ten changes a second from all processes without privileges together.
        return False
    except OSError:
        # It has ended, or there are no such groups.
        return True
    finally:
        os.close(directory)
    return True
