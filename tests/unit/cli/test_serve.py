from __future__ import annotations

import pathlib
import sys

import attrs
import pytest

from appliance.cli import serve
from appliance.config import Config, Environment, Profile, Users
from appliance.confinement import Layer, State
from appliance.errors import ConfigError

CONFIG = attrs.evolve(
    Config(),
    users=Users(web="501", pool="502", permalink="503", egress="504"),
    environment={"python": Environment(), "sage": Environment()},
)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_each_role_gets_its_account_and_no_privilege() -> None:
    found = {child.name: child for child in serve.children(CONFIG, pathlib.Path("/run/e.toml"))}
    assert list(found) == ["zygote-python", "zygote-sage", "pool", "permalink", "web"]
    for role, uid, groups in (
        ("web", 501, "--clear-groups"),
        ("pool", 502, "--groups=501"),
        ("permalink", 503, "--clear-groups"),
    ):
        command = list(found[role].command)
        assert command[:3] == [serve.SETSID, serve.SETPRIV, "--no-new-privs"]
        options = {f"--reuid={uid}", f"--regid={uid}", groups, "--bounding-set=-all", "--inh-caps=-all"}
        assert options <= set(command)
        assert "--pdeathsig=KILL" in command
        assert command[-6:] == [sys.executable, "-m", "appliance.main", role, "--config", "/run/e.toml"]
        assert not found[role].last
    assert found["zygote-sage"].command[-2:] == ["--environment", "sage"]
    assert found["zygote-sage"].last


@pytest.mark.usefixtures("as_root")
def test_the_proxy_runs_when_a_profile_has_an_allow_list() -> None:
    config = attrs.evolve(CONFIG, profile={"default": Profile(), "open": Profile(egress=("pypi.org",))})
    found = {child.name: child for child in serve.children(config, pathlib.Path("/run/e.toml"))}
    command = list(found["egress"].command)
    assert {"--reuid=504", "--regid=504", "--clear-groups", "--bounding-set=-all"} <= set(command)
    assert command[-3:] == ["egress", "--config", "/run/e.toml"]


def test_an_ordinary_user_changes_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.os, "geteuid", lambda: 1000)
    assert serve.drop("1000", []) == [serve.SETSID, serve.SETPRIV, "--no-new-privs", "--pdeathsig=KILL"]


@pytest.mark.usefixtures("as_root")
def test_children_get_nothing_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "PYTHONSTARTUP", "SECRET_TOKEN", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, "x")
    variables = serve.child_environment()
    assert set(variables) <= {
        *("PATH", "TZ", "LANG", "HOME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "CELL_SUPERVISOR_PID")
    }
    assert variables["HOME"] == "/"


def test_what_cannot_be_confined_is_refused_unless_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [
        Layer("seccomp", State.OFF, "no filter", "./dev builds it", required=True),
        Layer("cgroup v2", State.UNAVAILABLE, "cgroup v1"),
    ]
    monkeypatch.setattr(serve.confinement, "probe", lambda _config: layers)
    with pytest.raises(ConfigError, match="cannot confine"):
        serve.check_confinement(CONFIG, unsafe=False)
    serve.check_confinement(CONFIG, unsafe=True)
    captured = capsys.readouterr()
    assert captured.err.count("seccomp is off: no filter (./dev builds it)") == 2
    assert "not in force on this host: cgroup v2" in captured.out
