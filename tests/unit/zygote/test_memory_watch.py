"""Kernels that have too much memory where no cgroup limits it: real processes, made-up numbers."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from appliance.zygote.memory_watch import MemoryWatch

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

LIMIT = 64 << 20


class Machine:
    """A directory like /proc."""

    def __init__(self, proc: pathlib.Path) -> None:
        self.proc = proc

    def add(self, pid: int, uid: int, *, first: bool, resident_mib: int, proportional_mib: int) -> None:
        (self.proc / str(pid)).mkdir()
        self.set(pid, uid, first=first, resident_mib=resident_mib, proportional_mib=proportional_mib)

    def set(self, pid: int, uid: int, *, first: bool, resident_mib: int, proportional_mib: int) -> None:
        folder = self.proc / str(pid)
        half = resident_mib * 512
        (folder / "status").write_text(
            f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pid}\t{1 if first else 2}\n"
            f"RssAnon:\t{half} kB\nRssFile:\t999999 kB\nRssShmem:\t{half} kB\n"
        )
        share = proportional_mib * 512
        (folder / "smaps_rollup").write_text(f"Pss:  99999999 kB\nPss_Anon:  {share} kB\nPss_Shmem:  {share} kB\n")


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    (tmp_path / "uptime").write_text("1")
    return Machine(tmp_path)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (LIMIT, LIMIT))
    yield process
    process.kill()
    process.wait()


def test_processes_of_a_kernel_are_added_up(machine: Machine, child: subprocess.Popen[bytes]) -> None:
    machine.add(child.pid, 1000, first=True, resident_mib=40, proportional_mib=40)
    watch = MemoryWatch(1000, str(machine.proc))
    assert watch.end_excessive() == []
    machine.add(child.pid + 1, 1000, first=False, resident_mib=40, proportional_mib=40)
    assert watch.end_excessive() == [1000]
    assert child.wait(10) == -signal.SIGKILL
    assert watch.ended(1000)
    assert not watch.ended(1000)


def test_pages_that_processes_share_count_once(machine: Machine, child: subprocess.Popen[bytes]) -> None:
    machine.add(child.pid, 1000, first=True, resident_mib=60, proportional_mib=30)
    machine.add(child.pid + 1, 1000, first=False, resident_mib=60, proportional_mib=30)
    assert MemoryWatch(1000, str(machine.proc)).end_excessive() == []
    assert child.poll() is None


def test_neither_others_nor_kernels_without_a_limit_are_ended(machine: Machine) -> None:
    unlimited = subprocess.Popen(["sleep", "60"])
    try:
        machine.add(unlimited.pid, 1001, first=True, resident_mib=9000, proportional_mib=9000)
        machine.add(os.getpid(), 999, first=True, resident_mib=9000, proportional_mib=9000)
        assert MemoryWatch(1000, str(machine.proc)).end_excessive() == []
        assert unlimited.poll() is None
    finally:
        unlimited.kill()
        unlimited.wait()


def test_a_number_that_is_another_process_by_now_is_left_alone(
    machine: Machine, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add(child.pid, 1000, first=True, resident_mib=90, proportional_mib=90)
    opened = os.pidfd_open

    def late(pid: int) -> int:
        status = machine.proc / str(pid) / "status"
        status.write_text(status.read_text().replace("Uid:\t1000", "Uid:\t1002"))
        return opened(pid)

    monkeypatch.setattr(os, "pidfd_open", late)
    watch = MemoryWatch(1000, str(machine.proc))
    assert watch.end_excessive() == []
    assert child.poll() is None
    assert not watch.ended(1000)


def test_the_exact_sum_is_asked_for_again_when_a_kernel_has_grown_by_what_was_left(
    machine: Machine, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add(child.pid, 1000, first=True, resident_mib=100, proportional_mib=50)
    # the first takes a second: no more for fifty
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr("appliance.zygote.memory_watch.time.monotonic", lambda: next(times))
    watch = MemoryWatch(1000, str(machine.proc))
    assert watch.end_excessive() == []
    machine.set(child.pid, 1000, first=True, resident_mib=110, proportional_mib=90)
    assert watch.end_excessive() == []
    machine.set(child.pid, 1000, first=True, resident_mib=120, proportional_mib=90)
    assert watch.end_excessive() == [1000]
