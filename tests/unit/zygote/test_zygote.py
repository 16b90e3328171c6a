"""What a zygote does when something fails, without namespaces and kernels."""

from __future__ import annotations

import errno
import json
import os
import socket

import pytest

from appliance.zygote import zygote as module
from appliance.zygote.zygote import FIRST_SLOT, FORK_DESCRIPTORS, Descriptors, Specification, Zygote

LAYERS = {"cgroup": "none here", "overlay": "none here", "landlock": "none here", "selinux": "none here"}
LIMITS = {
    "memory_bytes": 1 << 30,
    "processes": 64,
    "cpu_percent": 100,
    "scratch_bytes": 1 << 20,
    "scratch_inodes": 100,
    "open_files": 100,
}


@pytest.fixture
def zygote(tmp_path):
    """Return a zygote, the end of its lineage that the keeper reads, and the pool's end of its connection."""
    seccomp, seccomp_write = os.pipe()
    os.close(seccomp_write)
    ready, ready_write = os.pipe()
    lineage, lineage_write = os.pipe()
    os.set_blocking(lineage, False)
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    specification = Specification("python", [], [], None, LAYERS, "", [], 100, 65536)
    made = Zygote(specification, Descriptors(directory, ready_write, seccomp, lineage_write))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made._pool = ours
    with theirs:
        theirs.settimeout(5)
        yield made, lineage, theirs
        made.disconnect()
    for fd in (ready, ready_write, lineage, lineage_write, directory, made._pid_namespace):
        os.close(fd)


def test_a_fork_that_fails_leaves_no_namespace_behind(zygote, monkeypatch):
    made, _, pool = zygote
    calls = []

    def fork():
        raise BlockingIOError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(module.linux, "unshare", lambda flags: calls.append("unshare"))
    monkeypatch.setattr(module.linux, "setns", lambda fd, kind: calls.append("setns"))
    monkeypatch.setattr(module.os, "fork", fork)
    made._fork({"fork": FIRST_SLOT, "profile": LIMITS}, [0] * FORK_DESCRIPTORS)
    assert calls == ["unshare", "setns"]
    assert json.loads(pool.recv(1000))["failed"] == FIRST_SLOT


class Enough(Exception):
    """Ends a loop that only a pool would end."""


def test_a_pool_that_does_not_read_the_inventory_is_given_up(zygote, monkeypatch):
    made, lineage, _ = zygote
    monkeypatch.setattr(module, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(module, "running_kernels", lambda: [(os.getpid(), FIRST_SLOT)] * 2000)
    made.disconnect()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as pool:
        pool.bind(f"/proc/self/fd/{made._descriptors.socket_directory}/zygote.sock")
        pool.listen()
        with pytest.raises(TimeoutError):
            made.connect()
    # alive, whether the pool reads or not
    assert os.read(lineage, 100) == os.getpid().to_bytes(4, "little")


def test_memory_is_looked_at_while_there_is_no_pool(zygote, monkeypatch):
    made, _, _ = zygote
    looks = []

    def enough(seconds):
        raise Enough

    monkeypatch.setattr(made._memory, "end_excessive", lambda: looks.append("look") or [])
    monkeypatch.setattr(made, "_reap", lambda: None)
    monkeypatch.setattr(module.time, "sleep", enough)
    with pytest.raises(Enough):
        made.connect()
    assert looks == ["look"]
