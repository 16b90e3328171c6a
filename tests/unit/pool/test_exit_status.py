"""What a wait status says."""

from __future__ import annotations

import signal

import pytest

from appliance.pool.exit_status import explain
from appliance.protocol.death import DeathReason


@pytest.mark.parametrize(
    ("status", "oom", "expected"),
    [
        (0, False, (DeathReason.EXITED, "exit status 0")),
        (3 << 8, False, (DeathReason.EXITED, "exit status 3")),
        (signal.SIGSEGV, False, (DeathReason.CRASHED, "SIGSEGV")),
        (signal.SIGSEGV | 0x80, False, (DeathReason.CRASHED, "SIGSEGV")),
        (signal.SIGXCPU, False, (DeathReason.CPU_LIMIT, "")),
        (signal.SIGKILL, True, (DeathReason.MEMORY_LIMIT, "")),
        (63, False, (DeathReason.CRASHED, "signal 63")),
    ],
)
def test_explain(status, oom, expected):
    assert explain(status, oom=oom) == expected
