"""Which hosts delegate a cgroup, and what a kernel's leaf gets; plain directories stand for a cgroup file system."""

from __future__ import annotations

import os
import pathlib

import pytest

from appliance.zygote import cgroup


@pytest.fixture
def subtree(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_write", lambda path, text: pathlib.Path(path).write_text(text))
    return cgroup.Subtree(str(tmp_path))


def test_a_leaf_gets_every_limit_before_the_process_joins(subtree, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(cgroup, "_write", lambda path, text: order.append((os.path.basename(path), text)))
    subtree.join(1007, memory_bytes=1 << 30, processes=64, cpu_percent=150)
    assert dict(order) == {
        "memory.max": "1073741824",
        "memory.oom.group": "1",
        "pids.max": "64",
        "cpu.weight": "50",
        "cpu.max": "150000 100000",
        "cgroup.procs": "0",
    }
    assert order[-1] == ("cgroup.procs", "0")
    assert (tmp_path / "kernel-1007").is_dir()


def test_swap_is_off_where_it_is_counted(subtree, tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(cgroup, "_write", lambda path, text: written.setdefault(os.path.basename(path), text))
    monkeypatch.setattr(cgroup.os.path, "exists", lambda path: path.endswith("memory.swap.max"))
    subtree.join(1007, memory_bytes=1, processes=1, cpu_percent=1)
    assert written["memory.swap.max"] == "0"


def test_a_kernel_has_less_of_the_disk_than_a_role_where_linux_shares_it_out(subtree, monkeypatch):
    written = {}
    monkeypatch.setattr(cgroup, "_write", lambda path, text: written.setdefault(os.path.basename(path), text))
    monkeypatch.setattr(cgroup.os.path, "exists", lambda path: path.endswith("io.weight"))
    subtree.join(1007, memory_bytes=1, processes=1, cpu_percent=1)
    assert written["io.weight"] == "default 50"


def test_a_leaf_is_never_shared(subtree):
    subtree.join(1007, memory_bytes=1, processes=1, cpu_percent=1)
    with pytest.raises(OSError, match="not empty"):
        subtree.join(1007, memory_bytes=1, processes=1, cpu_percent=1)


def test_a_kernel_gives_way_and_no_longer(subtree, tmp_path):
    leaf = tmp_path / "kernel-1007"
    leaf.mkdir()
    subtree.set_idle(1007, idle=True)
    assert (leaf / "cpu.idle").read_text() == "1"
    subtree.set_idle(1007, idle=False)
    assert (leaf / "cpu.idle").read_text() == "0"
    subtree.set_idle(1008, idle=True)


def test_a_kernel_that_gives_way_no_longer_has_the_weight_that_it_had(subtree, monkeypatch):
    order = []
    monkeypatch.setattr(cgroup, "_write", lambda path, text: order.append((os.path.basename(path), text)))
    subtree.set_idle(1007, idle=True)
    subtree.set_idle(1007, idle=False)
    assert order == [("cpu.idle", "1"), ("cpu.idle", "0"), ("cpu.weight", str(cgroup.CPU_WEIGHT))]


def test_an_empty_leaf_that_was_left_is_replaced(subtree, tmp_path):
    (tmp_path / "kernel-1007").mkdir()
    subtree.join(1007, memory_bytes=1, processes=1, cpu_percent=1)
    assert (tmp_path / "kernel-1007" / "cgroup.procs").read_text() == "0"


@pytest.mark.parametrize(("events", "hit"), [("low 0\noom 1\noom_kill 2\n", True), ("oom_kill 0\n", False)])
def test_removing_a_leaf_tells_whether_memory_ran_out(subtree, tmp_path, monkeypatch, events, hit):
    leaf = tmp_path / "kernel-1007"
    leaf.mkdir()
    (leaf / "memory.events").write_text(events)
    removed = []
    monkeypatch.setattr(cgroup.os, "rmdir", removed.append)
    assert subtree.remove(1007) is hit
    assert removed == [str(leaf)]


def test_a_leaf_that_cannot_be_removed_yet_ends_nothing(subtree, tmp_path):
    leaf = tmp_path / "kernel-1007"
    leaf.mkdir()
    (leaf / "memory.events").write_text("oom_kill 1\n")
    assert subtree.remove(1007) is True
    assert leaf.exists()


def test_the_subtrees_of_units_are_found(tmp_path):
    kernels = tmp_path / "cell.slice" / "cell-kernels.slice"
    for name, enabled in (("cell-zygote@a.service", "cpu memory pids\n"), ("cell-zygote@b.service", "memory\n")):
        (kernels / name).mkdir(parents=True)
        (kernels / name / "cgroup.subtree_control").write_text(enabled)
    (kernels / "cell-zygote@c.service").mkdir()
    assert cgroup.of_units(str(tmp_path)) == [f"{kernels}/cell-zygote@a.service"]


def test_what_is_gone_is_removed_and_killed_without_error(subtree):
    assert subtree.remove(1007) is False
    subtree.kill(1007)


def test_a_sweep_removes_empty_leaves_only(subtree, tmp_path):
    for name in ("kernel-1001", "kernel-1002/inside", "keeper"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "kernel-1003").mkdir()
    subtree.sweep(keep={1003})
    assert sorted(os.listdir(tmp_path)) == ["keeper", "kernel-1002", "kernel-1003"]
