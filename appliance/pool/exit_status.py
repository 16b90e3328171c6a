"""What a kernel's wait status says about why it ended."""

from __future__ import annotations

import os
import signal

from appliance.protocol.death import DeathReason

#: Added to the number of the signal that ended the program of a kernelspec, by its init, as shells do.
SIGNAL_STATUS = 128


def explain(status: int, *, oom: bool, init: bool = False) -> tuple[DeathReason, str]:
    """Return the reason and a detail for a wait status (wait(2)).

    ``oom``: its cgroup hit the memory limit. ``init``: it is that of an init, see `appliance.kernel.exec_bridge`.
    """
    if oom:
        return DeathReason.MEMORY_LIMIT, ""
    code = os.waitstatus_to_exitcode(status)
    if init and code > SIGNAL_STATUS:
        code = SIGNAL_STATUS - code
    if code >= 0:
        return DeathReason.EXITED, f"exit status {code}"
    if -code == signal.SIGXCPU:
        return DeathReason.CPU_LIMIT, ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return DeathReason.CRASHED, name
