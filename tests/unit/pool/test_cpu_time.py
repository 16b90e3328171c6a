"""Processor time of a tree of processes, read from a directory that looks like /proc."""

from __future__ import annotations

import os

import pytest

from appliance.pool.cpu_time import MAX_PROCESSES, tree_seconds

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path):
    def add(pid, ticks=(0, 0, 0, 0), threads=None, name="python"):
        times = " ".join(map(str, ticks))
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0\n")
        for thread, children in (threads or {pid: []}).items():
            task = tmp_path / str(pid) / "task" / str(thread)
            task.mkdir(parents=True)
            (task / "children").write_text(" ".join(map(str, children)))

    add.root = str(tmp_path)
    return add


def test_a_process_counts_with_those_that_it_waited_for(proc):
    proc(1, (100, 20, 3, 4), name="a) S (b")
    assert tree_seconds(1, proc.root) == pytest.approx(127 / TICKS)


def test_children_of_every_thread_and_their_children_count(proc):
    proc(1, (1, 0, 0, 0), {1: [2], 10: [3]})
    proc(2, (10, 0, 0, 0), {2: [4]})
    proc(3, (100, 0, 0, 0))
    proc(4, (1000, 0, 0, 0))
    assert tree_seconds(1, proc.root) == pytest.approx(1111 / TICKS)


def test_a_child_that_ended_meanwhile_is_left_out(proc):
    proc(1, (1, 0, 0, 0), {1: [2]})
    assert tree_seconds(1, proc.root) == pytest.approx(1 / TICKS)


def test_a_host_that_does_not_list_children_counts_the_process_alone(proc, tmp_path):
    proc(1, (1, 0, 0, 0))
    (tmp_path / "1" / "task" / "1" / "children").unlink()
    assert tree_seconds(1, proc.root) == pytest.approx(1 / TICKS)


def test_only_so_many_processes_are_looked_at(proc):
    proc(1, (1, 0, 0, 0), {1: range(2, 2 * MAX_PROCESSES)})
    for pid in range(2, 2 * MAX_PROCESSES):
        proc(pid, (1, 0, 0, 0))
    assert tree_seconds(1, proc.root) == pytest.approx(MAX_PROCESSES / TICKS)


def test_a_process_that_is_gone_raises(proc):
    with pytest.raises(FileNotFoundError):
        tree_seconds(1, proc.root)
