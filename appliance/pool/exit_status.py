"""What a kernel's wait status says about why it ended."""

from __future__ import annotations

import os
import signal

from appliance.protocol.death import DeathReason


def explain(status: int, *, oom: bool) -> tuple[DeathReason, str]:
    """Return the reason and a detail for a wait status (wait(2)); ``oom``: its cgroup hit the memory limit."""
    if oom:
        return DeathReason.MEMORY_LIMIT, ""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return DeathReason.EXITED, f"exit status {code}"
    if -code == signal.SIGXCPU:
        return DeathReason.CPU_LIMIT, ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return DeathReason.CRASHED, name
