"""Packages and the machine they are installed in."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .building import bare_debian, built_inputs, renumbered, run, whole_debs
from .machine import ROOT, need
from .nspawn import Machine, booted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def bare_trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return Python trees with no distribution in them: with these, building and checking a package takes seconds."""
    trees = tmp_path_factory.mktemp("bare") / "trees"
    version = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for tree in (trees / "roles", trees / "environments" / "python"):
        (tree / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
        (tree / "bin").mkdir()
        (tree / "bin" / "python3").symlink_to("/usr/bin/python3")
        (tree / "bin" / "python").symlink_to("python3")
        (tree / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return trees


@pytest.fixture(scope="session")
def bare_debs(bare_trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the Debian packages, without the distributions of the Python trees."""
    built_inputs()
    need("dh", "debhelper")
    out = tmp_path_factory.mktemp("bare-debs")
    run("debian/build.sh", str(out), CELL_TREES=str(bare_trees), CELL_COMPRESSION="gzip", CELL_LEVEL="1")
    return out


@pytest.fixture(scope="session")
def bare_rpms(bare_trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the RPMs, without the distributions of the Python trees."""
    built_inputs()
    need("rpmbuild", "rpm")
    out = tmp_path_factory.mktemp("bare-rpms")
    run("rpm/build.sh", str(out), CELL_TREES=str(bare_trees), CELL_PAYLOAD="w1.gzdio")
    return out


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the whole Debian packages."""
    return whole_debs(tmp_path_factory.mktemp("debs"))


@pytest.fixture(scope="session")
def newer(debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package with a higher version and nothing else changed."""
    (package,) = debs.glob("cell-appliance_*.deb")
    return renumbered(package, "0.1.1", tmp_path_factory.mktemp("newer"))


@pytest.fixture(scope="session")
def debian_root() -> Path:
    """Return a bare Debian with systemd, made once and kept."""
    return bare_debian("root")


@pytest.fixture(scope="module")
def machine(debian_root: Path, debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a booted Debian that has the packages in /packages, nothing of ours installed."""
    if os.geteuid() != 0:
        pytest.fail("systemd-nspawn needs root: run this test with sudo")
    log = tmp_path_factory.mktemp("nspawn") / "console.log"
    with booted(debian_root, log, binds={debs: "/packages"}) as started:
        yield started


@pytest.fixture(scope="module")
def equipped(debs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a booted Debian like `machine`, with Debian's own tools for tests of packages and for certificates."""
    root = bare_debian("equipped", "autopkgtest", "dpkg-dev", "certbot", "pebble")
    log = tmp_path_factory.mktemp("nspawn") / "console.log"
    with booted(root, log, binds={debs: "/packages", ROOT / "debian": "/source/debian"}) as started:
        yield started
