"""Limits of cgroup v2, as the kernel (Linux) applies them to the kernels of the installed appliance."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import time

import psutil
import pytest

from tests.escape.scene import end_kernel, kernel_process
from tests.integration.running import cgroup_leaves, wait_for
from tests.integration.sage_client import SageClient

#: A kernel takes as long to end, or others to start.
SECONDS = 10


@pytest.fixture
def cell(appliance):
    client = SageClient(appliance.url)
    yield client
    end_kernel(appliance, client)


def leaf_of(appliance, client):
    """Return the cgroup of a client's kernel."""
    record = json.loads((appliance.config.kernels_path / client.kernel_id / "record.json").read_text())
    (leaf,) = [path for path in cgroup_leaves() if path.endswith(f"/kernel-{record['slot']}")]
    return pathlib.Path(leaf)


def test_the_hierarchy_is_pure():
    mounts = [line.split()[:3] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    assert [target for _, target, kind in mounts if kind.startswith("cgroup")] == ["/sys/fs/cgroup"]
    assert pathlib.Path("/proc/self/cgroup").read_text().count("\n") == 1


def test_a_kernel_has_a_leaf_with_every_limit(appliance, cell):
    leaf = leaf_of(appliance, cell)
    limits = appliance.config.profile["default"]
    assert leaf.parent.name == "cell-zygote@python.service"
    values = {
        name: (leaf / name).read_text().strip()
        for name in (
            "memory.max",
            "memory.swap.max",
            "memory.oom.group",
            "pids.max",
            "cpu.max",
            "cpu.weight",
            "io.weight",
        )
        if (leaf / name).exists()
    }
    assert values.pop("memory.swap.max", "0") == "0"
    assert values.pop("io.weight", "default 50") == "default 50"
    assert values == {
        "memory.max": str(limits.memory_bytes),
        "memory.oom.group": "1",
        "pids.max": str(limits.processes),
        "cpu.max": f"{limits.cpu_percent * 1000} 100000",
        "cpu.weight": "50",
    }
    pids = (leaf / "cgroup.procs").read_text().split()
    assert str(kernel_process(appliance, cell).pid) in pids
    assert int((leaf / "memory.current").read_text()) > 0


def test_a_kernel_sees_no_cgroup_but_its_own(cell):
    look = (
        "import os\nprint(open('/proc/self/cgroup').read().strip())\nprint(os.path.exists('/sys/fs/cgroup'))\n"
        "try: print(os.listdir('/run/cgroup'))\nexcept OSError as exc: print(type(exc).__name__)"
    )
    first, second, third = cell.run(look).stdout.splitlines()
    assert first == "0::/"
    assert second == "False"
    assert third in ("[]", "PermissionError")


MEMORY = {
    "in one process": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "in several processes": (
        "import os, time\nfor _ in range(4):\n    if not os.fork():\n"
        "        x = bytearray(600 << 20); time.sleep(60); os._exit(0)\ntime.sleep(60)"
    ),
    "mapped and shared": (
        "import mmap\nx = []\nwhile True: m = mmap.mmap(-1, 1 << 24); m.write(bytes(1 << 24)); x.append(m)"
    ),
    "in memory files": (
        "import os\nfds = []\nwhile True: fd = os.memfd_create('x'); fds.append(fd); os.write(fd, bytes(1 << 24))"
    ),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_a_kernel_that_reaches_its_memory_limit_is_told_so(appliance, cell, kind):
    leaf = leaf_of(appliance, cell)
    reply = cell.run(MEMORY[kind]).reply
    assert (reply["status"], reply["ename"]) == ("error", "KernelDied")
    assert "used more memory than this server allows" in reply["evalue"]
    wait_for("the leaf is gone", lambda: not leaf.exists(), SECONDS)
    assert appliance.evaluates()


def test_threads_beyond_the_limit_are_refused(appliance, cell):
    leaf = leaf_of(appliance, cell)
    answer = cell.run(
        "import threading, time\ncount = 0\ntry:\n"
        "    while count < 500: threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); count += 1\n"
        "except RuntimeError as exc: print(exc)\nprint(count)"
    )
    refusal, count = answer.stdout.splitlines()
    assert refusal == "can't start new thread"
    limit = appliance.config.profile["default"].processes
    assert int(count) < limit
    assert int((leaf / "pids.current").read_text()) <= limit


def test_three_spinning_threads_have_one_processor(appliance, cell):
    """Processes, since threads of one interpreter take turns anyway."""
    leaf = leaf_of(appliance, cell)
    cell.start("import os\nfor _ in range(3): os.fork()\nwhile True: pass")
    wait_for("it spins", lambda: len((leaf / "cgroup.procs").read_text().split()) == 8, SECONDS)

    def usage():
        return dict(line.split() for line in (leaf / "cpu.stat").read_text().splitlines())

    before, started = usage(), time.monotonic()
    time.sleep(5)
    after, seconds = usage(), time.monotonic() - started
    share = (int(after["usage_usec"]) - int(before["usage_usec"])) / 1e6 / seconds
    assert share < 1.2
    assert int(after["nr_throttled"]) > int(before["nr_throttled"])


def test_whatever_a_kernel_started_ends_with_it(appliance, cell):
    leaf = leaf_of(appliance, cell)
    answer = cell.run(
        "import os, signal, time\nfor _ in range(5):\n    if not os.fork():\n        os.setsid()\n"
        "        for n in range(1, 32):\n            try: signal.signal(n, signal.SIG_IGN)\n"
        "            except (OSError, ValueError): pass\n        time.sleep(3600)\nprint('left')"
    )
    assert answer.stdout == "left\n"
    pids = [int(pid) for pid in (leaf / "cgroup.procs").read_text().split()]
    assert len(pids) == 6
    end_kernel(appliance, cell)
    wait_for("the leaf is gone", lambda: not leaf.exists(), SECONDS)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_leaf_ends_by_cgroup_kill(appliance, cell):
    """What the zygote writes: the effect of the same file, in the leaf of a kernel."""
    leaf = leaf_of(appliance, cell)
    (leaf / "cgroup.kill").write_text("1")
    wait_for("the leaf is gone", lambda: not leaf.exists(), SECONDS)
    wait_for("others are served", appliance.evaluates, SECONDS)


def test_kernels_of_an_ended_zygote_leave_no_leaf(appliance, cell):
    """Orphans are the keeper's children; the next zygote sweeps what they left, and slots are used again."""
    leaf = leaf_of(appliance, cell)
    base = appliance.config.ids.base
    for process in appliance.family():
        if process.uids().real == base and "appliance.zygote" in process.cmdline():
            process.kill()
    assert leaf.exists()
    assert cell.run("print(6 * 7)").stdout == "42\n"
    end_kernel(appliance, cell)
    wait_for("others are served", appliance.evaluates, 60)
    # by the next zygote, when it has imported what it needs
    wait_for("the leaf is gone", lambda: not leaf.exists(), 60)


def test_doctor_and_health_agree(appliance):
    done = subprocess.run(["cellctl", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for name in ("cgroup v2", "SELinux", "Landlock", "seccomp"):
        assert re.search(rf"^{name} +on ", done.stdout, re.MULTILINE), done.stdout
    layers = json.loads(appliance.request("GET", "/healthz")[2])["pool"]["layers"]
    assert set(layers.values()) == {"on"}, layers
