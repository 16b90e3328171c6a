"""How the launcher reads subordinate ids and holds its keeper."""

from __future__ import annotations

import os
import signal

import pytest

from appliance.errors import ConfigError
from appliance.zygote import launcher
from appliance.zygote.launcher import subordinate_range


@pytest.fixture
def subuid(tmp_path):
    file = tmp_path / "subuid"
    file.write_text("# a comment\nann:100000:65536\nbob:165536:1000\n1003:300000:70000\nbroken line\n")
    return str(file)


def test_a_range_is_found_by_name_or_number(subuid):
    assert subordinate_range(subuid, "ann", 1001, 65535) == (100000, 65535)
    assert subordinate_range(subuid, "carol", 1003, 65535) == (300000, 65535)


@pytest.mark.parametrize("user", ["bob", "dave"])
def test_what_is_missing_is_said(subuid, user):
    with pytest.raises(ConfigError, match=rf"gives {user} no range of 65535 ids; as root: usermod"):
        subordinate_range(subuid, user, 4000, 65535)


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent cannot be read"):
        subordinate_range(str(tmp_path / "absent"), "ann", 1001, 65535)


class Manager:
    """Notes what a service manager is told, and has the keeper end then."""

    def __init__(self, go=-1):
        self.told = []
        self._go = go

    def tell(self, state):
        self.told.append(state)
        os.write(self._go, b"g")


@pytest.fixture
def handlers():
    """Put back what `_hold` sets for the whole process."""
    handled = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in handled.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("said", [b"", b"r"])
def test_only_a_zygotes_word_is_that_it_is_ready(handlers, said):
    ready, ready_write = os.pipe()
    go, go_write = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.read(go, 1)
        os._exit(3)
    os.write(ready_write, said)
    os.close(ready_write)
    manager = Manager(go_write)
    if not said:
        os.write(go_write, b"g")
    assert launcher._hold(keeper, ready, manager) == 1
    assert len(manager.told) == len(said)
    for fd in (ready, go, go_write):
        os.close(fd)


@pytest.mark.timeout(10)
def test_a_keeper_that_ended_before_anybody_listened_is_noticed(handlers):
    ready, ready_write = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os._exit(3)
    os.waitid(os.P_PID, keeper, os.WEXITED | os.WNOWAIT)
    assert launcher._hold(keeper, ready, Manager()) == 1
    os.close(ready)
    os.close(ready_write)
