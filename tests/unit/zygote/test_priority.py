"""Kernels that give way: a directory stands for /proc."""

from __future__ import annotations

import errno
import os

import pytest

from appliance.zygote import priority

UID = os.getuid()


@pytest.fixture
def proc(tmp_path):
    for pid, nice in ((10, 0), (11, 19), (12, 0)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "autogroup").write_text(f"/autogroup-{pid} nice {nice}\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "13").mkdir()
    return tmp_path


def written(proc):
    """Return what was written after the line that was there, by pid."""
    texts = {entry: (proc / entry / "autogroup").read_text() for entry in ("10", "11", "12")}
    return {entry: text.partition("\n")[2] for entry, text in texts.items()}


def test_the_groups_of_a_kernel_get_another_value_if_they_have_another(proc):
    assert priority.set_background(UID, None, background=True, proc=str(proc))
    assert written(proc) == {"10": "19", "11": "", "12": "19"}


def test_it_can_be_taken_back(proc):
    assert priority.set_background(UID, None, background=False, proc=str(proc))
    assert written(proc) == {"10": "", "11": "0", "12": ""}


def test_processes_of_others_stay_as_they_are(proc):
    assert priority.set_background(UID + 1, None, background=True, proc=str(proc))
    assert set(written(proc).values()) == {""}


def test_linux_may_ask_to_wait(proc, monkeypatch):
    def refuse(fd, data):
        raise BlockingIOError(errno.EAGAIN, "wait")

    monkeypatch.setattr(priority.os, "write", refuse)
    assert not priority.set_background(UID, None, background=True, proc=str(proc))


def test_with_a_cgroup_that_is_what_is_set(proc):
    class Subtree:
        def set_idle(self, uid, *, idle):
            assert (uid, idle) == (1007, True)

    assert priority.set_background(1007, Subtree(), background=True, proc=str(proc))
    assert set(written(proc).values()) == {""}
