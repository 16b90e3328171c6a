"""The RPMs, installed, upgraded and removed by dnf with their scriptlets, in roots with what `distribution` brings.

Neither Fedora nor a running manager is here: what scriptlets ask of the manager is compared with what it should be.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from .building import run
from .distribution import Root, distribution, empty_root, repository
from .machine import CONFIGURATION, ROOT
from .test_rpm import query

if TYPE_CHECKING:
    from pathlib import Path

APPLIANCE_TOML = "/etc/cell-appliance/appliance.toml"
ACCOUNTS = re.findall(r"^u (\S+)", (ROOT / "units/cell-appliance.sysusers.conf").read_text(), re.MULTILINE)
WANTED = "/etc/systemd/system/multi-user.target.wants/cell.target"
PRESET = "systemctl --no-reload preset cell.target cell-edge.target"
IS_ENABLED = "systemctl is-enabled --quiet cell.target"
IS_ACTIVE = "systemctl is-active --quiet cell.target"
START = "systemctl start cell.target"
RELOAD = "systemctl daemon-reload"
#: An upgrade stops nothing, and no preset undoes what the administrator chose.
ROLE_BY_ROLE = [
    *(RELOAD, IS_ENABLED, RELOAD, IS_ACTIVE, START),
    "python -I /bin/cellctl restart",
    "systemctl try-reload-or-restart cell-nginx.service cell-haproxy.service",
]


@pytest.fixture(scope="session")
def ours(bare_rpms: Path) -> Path:
    """Return a repository of our packages."""
    repository(bare_rpms)
    return bare_rpms


@pytest.fixture(scope="session")
def release_2(bare_trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of our packages with a higher release and another default configuration."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("release-2")
    run("debian/copy-source.sh", str(source))
    spec, configuration = source / "rpm/cell-appliance.spec", source / "units/appliance.toml"
    spec.write_text(re.sub(r"(?m)^(Release: *)1", r"\g<1>2", spec.read_text()))
    configuration.write_text(configuration.read_text() + "# of release 2\n")
    run(str(source / "rpm/build.sh"), str(out), CELL_TREES=str(bare_trees), CELL_PAYLOAD="w1.gzdio")
    repository(out)
    return out


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository of the distribution."""
    if os.geteuid() != 0:
        pytest.fail("dnf needs root: run this test with sudo")
    out = tmp_path_factory.mktemp("distribution")
    distribution(out, tmp_path_factory.mktemp("building"))
    repository(out)
    return out


@pytest.fixture
def image(ours: Path, base: Path, tmp_path: Path) -> Root:
    """Return the root of a machine that is not running, as an image in the making."""
    root = empty_root(tmp_path, {"ours": ours, "distribution": base})
    root.dnf("install", "distribution")
    return root


@pytest.fixture
def running(image: Root) -> Root:
    """Return the root of a machine whose scriptlets find systemd running."""
    (image.path / "run/systemd/system").mkdir(parents=True)
    return image


def accounts(root: Root, name: str) -> dict[str, list[str]]:
    """Return name → the other fields of /etc/passwd or /etc/group."""
    lines = (root.path / "etc" / name).read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1:] for line in lines}


def mode_and_owners(root: Root, path: str) -> tuple[int, str, str]:
    """Return the mode of a file and the names of its owners."""
    found = (root.path / path).stat()
    (user,) = (name for name, fields in accounts(root, "passwd").items() if int(fields[1]) == found.st_uid)
    (group,) = (name for name, fields in accounts(root, "group").items() if int(fields[1]) == found.st_gid)
    return stat.S_IMODE(found.st_mode), user, group


def test_dnf_names_everything_that_the_distribution_has_to_bring(ours: Path, tmp_path: Path) -> None:
    asked = {
        name: {line for line in query(ours, name, "--requires") if not line.startswith(("rpmlib(", "config("))}
        for name in ("cell-appliance", "cell-appliance-selinux")
    }
    assert {"/usr/bin/openssl", "systemd >= 252", "libstdc++.so.6()(64bit)"} < asked["cell-appliance"]
    assert "policycoreutils" in asked["cell-appliance-selinux"]
    root = empty_root(tmp_path, {"ours": ours})
    for name, requirements in asked.items():
        refused = root.dnf("install", name, status=1)
        assert set(re.findall(rf"nothing provides (.+) needed by {name}-\d", refused)) == requirements
    assert root.rpm("--query", "--all") == ""


@pytest.mark.parametrize("option", ["--setopt=install_weak_deps=True", "--setopt=install_weak_deps=False"])
def test_the_proxies_come_with_it_unless_the_administrator_says_no(image: Root, option: str) -> None:
    image.dnf(option, "install", "cell-appliance")
    installed = set(image.rpm("--query", "--all", "--queryformat", "%{NAME}\n").split())
    weak = {"haproxy", "nginx"} if option.endswith("True") else set()
    assert installed == {"distribution", "cell-appliance", *weak}


def test_installed_into_an_image(image: Root) -> None:
    printed = image.dnf("install", "cell-appliance")
    assert not re.search(r"(?i)scriptlet failed|warning|error", printed), printed
    # no manager is there: nothing is started
    assert image.calls() == [PRESET]
    assert image.rpm("--verify", "cell-appliance") == ""
    assert set(query(image.repositories["ours"], "cell-appliance", "--list")) <= image.files()
    # accounts
    passwd, group = accounts(image, "passwd"), accounts(image, "group")
    assert len(ACCOUNTS) == 8
    assert set(passwd) == set(group) == {"root", *ACCOUNTS}
    for name in ACCOUNTS:
        assert 0 < int(passwd[name][1]) < 1000
        assert passwd[name][4:] == ["/", "/usr/sbin/nologin"]
    assert group["cell-web"][2] == "cell-pool"
    # directories of sockets
    assert mode_and_owners(image, "run/cell-appliance") == (0o755, "root", "root")
    assert mode_and_owners(image, "run/cell-appliance/pool") == (0o2750, "cell-pool", "cell-web")
    assert mode_and_owners(image, "run/cell-appliance/web") == (0o750, "root", "cell-edge")
    # units: enabled by the preset, the edge not
    enabled = {path for path in image.files() if path.startswith("/etc/systemd/system/") and "cell" in path}
    assert enabled == {WANTED}
    assert os.readlink(image.path / WANTED[1:]).endswith("/systemd/system/cell.target")


def test_started_where_systemd_runs(running: Root) -> None:
    running.dnf("install", "cell-appliance")
    assert running.calls() == [PRESET, IS_ENABLED, RELOAD, IS_ACTIVE, START]


def test_upgraded_and_downgraded_while_it_runs(running: Root, release_2: Path) -> None:
    running.dnf("install", "cell-appliance")
    running.calls()
    configuration = running.path / APPLIANCE_TOML[1:]
    edited = configuration.read_text() + "# by the administrator\n"
    configuration.write_text(edited)
    (running.path / "var/lib/cell-appliance").mkdir()
    newer = dataclasses.replace(running, repositories={**running.repositories, "newer": release_2})
    newer.dnf("upgrade", "cell-appliance")
    assert newer.rpm("--query", "cell-appliance").startswith("cell-appliance-0.1.0-2")
    assert newer.calls() == ROLE_BY_ROLE
    assert configuration.read_text() == edited
    assert "# of release 2\n" in configuration.with_name("appliance.toml.rpmnew").read_text()
    assert (running.path / "var/lib/cell-appliance").exists()
    assert (running.path / WANTED[1:]).is_symlink()
    assert newer.rpm("--verify", "cell-appliance", status=1) == f"S.5....T.  c {APPLIANCE_TOML}\n"
    newer.dnf("downgrade", "cell-appliance")
    assert newer.rpm("--query", "cell-appliance").startswith("cell-appliance-0.1.0-1")
    assert newer.calls() == ROLE_BY_ROLE
    assert configuration.read_text() == edited


def test_an_upgrade_leaves_alone_what_was_turned_off(running: Root, release_2: Path) -> None:
    running.dnf("install", "cell-appliance")
    (running.path / WANTED[1:]).unlink()
    running.calls()
    newer = dataclasses.replace(running, repositories={**running.repositories, "newer": release_2})
    newer.dnf("upgrade", "cell-appliance")
    assert newer.calls() == [RELOAD, IS_ENABLED]
    # what nobody edited is that of the new release
    assert "# of release 2\n" in (running.path / APPLIANCE_TOML[1:]).read_text()
    assert not [path for path in newer.files() if path.endswith((".rpmnew", ".rpmsave"))]


def test_removed(running: Root) -> None:
    before = running.files()
    running.dnf("install", "cell-appliance")
    running.calls()
    configuration = running.path / APPLIANCE_TOML[1:]
    edited = configuration.read_text() + "# by the administrator\n"
    configuration.write_text(edited)
    kept = {"/var/lib/cell-appliance", "/var/lib/cell-appliance/permalinks.sqlite3"}
    # what cellctl env add makes
    environments = "/usr/lib/cell-appliance/environments"
    (running.path / environments[1:] / "mine").mkdir(parents=True)
    kept |= {"/usr/lib/cell-appliance", environments, f"{environments}/mine"}
    for directory in ("var/lib/cell-appliance", "var/cache/cell-appliance", "run/cell-appliance/pool"):
        (running.path / directory).mkdir(exist_ok=True, parents=True)
        (running.path / directory / "permalinks.sqlite3").touch()
    running.dnf("remove", "cell-appliance")
    assert running.calls() == [
        "systemctl --no-reload disable --now cell-edge.target cell.target",
        "systemctl stop cell-*.service cell-*.socket cell.slice",
        RELOAD,
    ]
    assert running.rpm("--query", "--all", "--queryformat", "%{NAME}\n") == "distribution\n"
    assert configuration.with_name("appliance.toml.rpmsave").read_text() == edited
    left = running.files() - before
    by_sysusers = {"/etc/.pwd.lock", *(f"/etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow"))}
    assert left - by_sysusers == {"/etc/cell-appliance", f"{APPLIANCE_TOML}.rpmsave"} | kept
    assert set(ACCOUNTS) < set(accounts(running, "passwd"))


def test_configuration_that_nobody_edited_goes(running: Root) -> None:
    running.dnf("install", "cell-appliance")
    running.dnf("remove", "cell-appliance")
    assert not [path for path in running.files() if path in CONFIGURATION or path.startswith("/etc/cell-appliance")]


@pytest.mark.parametrize("active", [True, False], ids=["SELinux", "no-SELinux"])
def test_the_policy_module(running: Root, release_2: Path, active: bool) -> None:
    if active:
        (running.path / "run/selinux").touch()
    module = "/usr/share/selinux/packages/cell_appliance.pp.bz2"
    load = ["load_policy "] if active else []
    label = ["restorecon -RF /usr/lib/cell-appliance /etc/cell-appliance /run/cell-appliance"] if active else []
    loaded = [f"semodule -n -X 200 -i {module}", "selinuxenabled ", *load, *label]
    running.dnf("install", "cell-appliance-selinux")
    assert running.calls() == loaded
    newer = dataclasses.replace(running, repositories={**running.repositories, "newer": release_2})
    newer.dnf("upgrade", "cell-appliance-selinux")
    assert newer.calls() == loaded
    newer.dnf("remove", "cell-appliance-selinux")
    assert newer.calls() == ["semodule -n -X 200 -r cell_appliance", "selinuxenabled ", *load]
