"""When an interruption is raised."""

from __future__ import annotations

import threading

import pytest

from appliance.kernel.uninterrupted import Uninterrupted


def test_an_interruption_waits_for_the_end_of_the_outermost_context():
    uninterrupted, after = Uninterrupted(), []
    with pytest.raises(KeyboardInterrupt), uninterrupted:  # noqa: PT012 - it comes at the end
        with uninterrupted:
            uninterrupted.interrupt(KeyboardInterrupt())
        assert uninterrupted.entered
        after.append("the rest")
    assert after == ["the rest"]
    assert not uninterrupted.entered
    with uninterrupted:
        after.append("it is raised once")


def test_only_the_main_thread_makes_an_interruption_wait():
    uninterrupted, entered, leave = Uninterrupted(), threading.Event(), threading.Event()

    def hold():
        with uninterrupted:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    assert not uninterrupted.entered
    with pytest.raises(KeyboardInterrupt):
        uninterrupted.interrupt(KeyboardInterrupt())
    leave.set()
    thread.join()
