"""Which uids are kernels'."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import attrs

from appliance.config import Config
from appliance.egress import kernels

if TYPE_CHECKING:
    import pytest


def test_started_by_root_they_follow_from_the_range() -> None:
    config = Config()
    uids = kernels.kernel_uids(config)
    assert uids[0] == config.ids.base + 1000
    assert uids[-1] == config.ids.base + config.ids.count - 1


def test_started_by_an_ordinary_user_they_are_its_subordinate_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    entry = pwd.struct_passwd(("alice", "x", 1000, 1000, "", "/home/alice", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry)
    monkeypatch.setattr(kernels, "subordinate_range", lambda file, user, uid, count: (100_000, count))
    config = Config()
    uids = kernels.kernel_uids(attrs.evolve(config, ids=attrs.evolve(config.ids, base=1000)))
    # id 1 of the range is the first subordinate one, so slot 1000 is the thousandth
    assert uids[0] == 100_999
    assert uids[-1] == 100_000 + config.ids.count - 2
