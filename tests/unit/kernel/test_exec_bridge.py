from __future__ import annotations

import signal

import pytest

from appliance.kernel import exec_bridge
from appliance.kernel.exec_bridge import CHANNELS, Program
from appliance.pool import exit_status as pool_exit_status
from appliance.pool.records import SOCKETS
from appliance.protocol.death import DeathReason

DOCUMENT = {"argv": ["/usr/bin/R", "{connection_file}"], "environment": {"A": "b"}, "interrupt_mode": "signal"}


def test_a_program_is_read_from_the_specification():
    program = Program.parse(DOCUMENT)
    assert program == Program(("/usr/bin/R", "{connection_file}"), {"A": "b"}, "signal")


@pytest.mark.parametrize(
    "change", [{"argv": []}, {"argv": "R"}, {"environment": []}, {"interrupt_mode": "shout"}, {"interrupt_mode": None}]
)
def test_what_is_no_program_is_refused(change):
    with pytest.raises(ValueError, match="a program needs"):
        Program.parse({**DOCUMENT, **change})


def test_channels_come_in_the_order_of_the_pool():
    assert (*CHANNELS, "files") == SOCKETS


def test_a_connection_file_names_each_socket_where_the_relay_looks_for_it():
    document = exec_bridge.connection_document("/tmp/d", "key")
    assert (document["transport"], document["key"], document["signature_scheme"]) == ("ipc", "key", "hmac-sha256")
    for channel in CHANNELS:
        assert exec_bridge.socket_path("/tmp/d", channel) == f"{document['ip']}-{document[f'{channel}_port']}"


@pytest.mark.parametrize(
    ("wait_status", "status", "reason"),
    [
        (0, 0, (DeathReason.EXITED, "exit status 0")),
        (3 << 8, 3, (DeathReason.EXITED, "exit status 3")),
        (int(signal.SIGSEGV), 139, (DeathReason.CRASHED, "SIGSEGV")),
        (int(signal.SIGXCPU), 152, (DeathReason.CPU_LIMIT, "")),
    ],
)
def test_how_a_program_ended_reaches_the_pool(wait_status, status, reason):
    assert exec_bridge.exit_status(wait_status) == status
    assert pool_exit_status.explain(status << 8, oom=False, init=True) == reason
    assert exec_bridge.SIGNAL_STATUS == pool_exit_status.SIGNAL_STATUS


def test_the_exit_status_of_a_kernel_that_is_no_init_is_its_own():
    assert pool_exit_status.explain(139 << 8, oom=False) == (DeathReason.EXITED, "exit status 139")
