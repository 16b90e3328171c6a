"""The largest memory of a kernel, read from directories that look like /proc and /sys/fs/cgroup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from appliance.pool.memory_peak import peak_bytes

if TYPE_CHECKING:
    import pathlib

LEAF = "/cell.slice/cell-kernels.slice/cell-zygote@python.service/kernel-1000"


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    for pid, kilobytes, children in ((1, 100, "2"), (2, 300, "")):
        task = tmp_path / "proc" / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (task / "children").write_text(children)
        (tmp_path / "proc" / str(pid) / "status").write_text(f"Name:\tx\nVmHWM:\t  {kilobytes} kB\nThreads:\t1\n")
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(f"0::{LEAF}\n")
    (tmp_path / "cgroup" / LEAF[1:]).mkdir(parents=True)
    return tmp_path


def peak(place: pathlib.Path) -> int:
    return peak_bytes(1, str(place / "proc"), str(place / "cgroup"))


def test_the_cgroup_of_a_kernel_tells(place: pathlib.Path) -> None:
    (place / "cgroup" / LEAF[1:] / "memory.peak").write_text("12345\n")
    assert peak(place) == 12_345


def test_without_one_the_largest_process_tells(place: pathlib.Path) -> None:
    assert peak(place) == 300 * 1024  # Linux is older
    (place / "cgroup" / LEAF[1:] / "memory.peak").write_text("12345\n")
    for shared in ("0::/user.slice\n", "12:pids:/x/kernel-1000\n", "0::/x/kernel-1000/other\n"):
        (place / "proc" / "1" / "cgroup").write_text(shared)
        assert peak(place) == 300 * 1024


def test_a_process_that_is_gone_tells_nothing(place: pathlib.Path) -> None:
    assert peak_bytes(77, str(place / "proc"), str(place / "cgroup")) == 0
