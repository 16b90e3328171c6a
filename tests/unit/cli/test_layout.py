from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import attrs
import pytest

from appliance import config as configuration
from appliance.cli import layout as module
from appliance.cli.layout import Layout
from appliance.config import Config, Profile, Users
from appliance.errors import ConfigError

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    me = str(os.getuid())
    monkeypatch.setattr("appliance.config.checks.MAX_RUNTIME_DIR_BYTES", 4096)  # pytest's directories have long names
    return attrs.evolve(
        Config(),
        runtime_dir=str(tmp_path / "run"),
        state_dir=str(tmp_path / "state" / "cells"),
        users=Users(web=me, pool=me, permalink=me, egress=me),
    )


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_made_with_its_mode_and_gone_afterwards(config: Config) -> None:
    layout = Layout(config)
    layout.prepare()
    assert {path.name: mode(path) for path in config.runtime_path.iterdir()} == {
        "kernels": 0o2750,
        "files": 0o700,
        "pool": 0o2750,
        "permalink": 0o2750,
        "zygote": 0o711,
        "effective.toml": 0o644,
    }
    assert mode(config.runtime_path) == 0o755
    assert mode(config.database_path.parent) == 0o700
    assert configuration.load(layout.effective_file) == config
    layout.clear()
    assert not config.runtime_path.exists()
    assert config.database_path.parent.exists()


def test_profiles_with_an_allow_list_have_a_directory_that_kernels_may_pass(config: Config) -> None:
    config = attrs.evolve(config, profile={"default": Profile(), "open": Profile(egress=("pypi.org",))})
    layout = Layout(config)
    layout.prepare()
    assert mode(config.egress_path) == mode(config.egress_socket("open").parent) == 0o711
    assert [path.name for path in config.egress_path.iterdir()] == ["open"]
    layout.clear()
    assert not config.runtime_path.exists()


def test_only_one_may_run(config: Config) -> None:
    first = Layout(config)
    first.prepare()
    with pytest.raises(ConfigError, match="already running"):
        Layout(config).prepare()
    assert first.effective_file.exists()
    first.clear()
    again = Layout(config)
    again.prepare()
    again.clear()


def test_what_a_killed_predecessor_left_is_replaced_and_the_rest_kept(config: Config) -> None:
    (config.kernels_path / "old").mkdir(parents=True)
    (config.runtime_path / "note").write_text("not ours")
    layout = Layout(config)
    layout.prepare()
    assert list(config.kernels_path.iterdir()) == []
    layout.clear()
    assert [path.name for path in config.runtime_path.iterdir()] == ["note"]


def test_a_directory_for_everybody_is_refused(config: Config) -> None:
    config.runtime_path.mkdir()
    config.runtime_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="written by everybody"):
        Layout(config).prepare()
    assert mode(config.runtime_path) == 0o1777


def test_a_directory_of_somebody_else_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config.runtime_path.mkdir()
    monkeypatch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="another account"):
        Layout(config).prepare()


def test_a_link_or_a_file_is_no_directory(config: Config, tmp_path: pathlib.Path) -> None:
    config.runtime_path.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a directory"):
        Layout(config).prepare()


def test_a_state_directory_with_other_things_in_it_is_left_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = config.database_path.parent
    state.mkdir(parents=True)
    (state / "thesis.tex").write_text("precious")
    state.chmod(0o755)
    monkeypatch.setattr(module, "uid_of", lambda user: int(user) + 1)
    monkeypatch.setattr(module.os, "chown", lambda *_args, **_options: None)
    layout = Layout(config)
    with pytest.raises(ConfigError, match="holds no permalink database"):
        layout.prepare()
    assert mode(state) == 0o755
    assert not config.runtime_path.exists()
