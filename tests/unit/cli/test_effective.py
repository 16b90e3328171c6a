from __future__ import annotations

import pwd
from typing import Any

import attrs
import pytest

from appliance.cli import effective as module
from appliance.cli.effective import effective
from appliance.config import Config, Users, parse, render
from appliance.errors import ConfigError


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"cell-web": 501, "alice": 1000}

    def uid_of(user: str) -> int:
        if user not in known:
            raise ConfigError(f"no {user}")
        return known[user]

    def entry(uid: int) -> Any:
        if uid != 1000:
            raise KeyError(uid)
        return pwd.struct_passwd(("alice", "x", 1000, 1000, "", "/home/alice", "/bin/sh"))

    monkeypatch.setattr(module, "uid_of", uid_of)
    monkeypatch.setattr(module.pwd, "getpwuid", entry)


def test_root_uses_the_accounts_that_exist_and_numbers_after_the_range_for_the_others() -> None:
    found = effective(Config(), uid=0, environ={})
    after = Config().ids.base + Config().ids.count
    numbers = {"pool": 2, "permalink": 3, "egress": 4, "requestlog": 5}
    assert found.users == Users(web="cell-web", **{role: str(after + number) for role, number in numbers.items()})
    assert (found.runtime_dir, found.state_dir) == (Config().runtime_dir, Config().state_dir)


def test_an_ordinary_user_is_every_role_and_keeps_to_its_own_directories() -> None:
    found = effective(Config(), uid=1000, environ={"XDG_RUNTIME_DIR": "/run/user/1000"})
    assert found.users == Users(web="alice", pool="alice", permalink="alice", egress="alice", requestlog="alice")
    assert found.runtime_dir == "/run/user/1000/cell-appliance"
    assert found.state_dir == "/home/alice/.local/state/cell-appliance"
    assert found.ids.base == 1000


@pytest.mark.parametrize("runtime", [None, "", "relative", "/" + "x" * 60])
def test_without_a_usable_runtime_directory_there_is_a_short_one(runtime: str | None) -> None:
    environ = {} if runtime is None else {"XDG_RUNTIME_DIR": runtime}
    assert effective(Config(), uid=1000, environ=environ).runtime_dir == "/tmp/cell-1000"


def test_what_is_configured_wins() -> None:
    config = attrs.evolve(Config(), runtime_dir="/srv/run", state_dir="/srv/state")
    found = effective(config, uid=1000, environ={"XDG_RUNTIME_DIR": "/run/user/1000"})
    assert (found.runtime_dir, found.state_dir) == ("/srv/run", "/srv/state")


def test_the_listen_option_replaces_the_address() -> None:
    assert effective(Config(), uid=0, environ={}, listen="[::1]:80").web.listen == "[::1]:80"
    with pytest.raises(ConfigError, match=r"web\.listen"):
        effective(Config(), uid=0, environ={}, listen="80")


def test_an_account_without_an_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match="1001"):
        effective(Config(), uid=1001, environ={})


def test_children_read_back_the_same_configuration() -> None:
    for uid in (0, 1000):
        found = effective(Config(), uid=uid, environ={})
        assert parse(render(found)) == found
