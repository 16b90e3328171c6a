"""What is built for the tests of packages: the packages themselves, and a bare Debian to install them in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from .machine import CACHE, ROOT, need

if TYPE_CHECKING:
    from pathlib import Path

BUILD_SECONDS = 900
INPUTS = ("appliance/frontend/dist/embedded_cell.js", "appliance/zygote/seccomp.bpf")


def built_inputs() -> None:
    """Fail, with what to do, when the front end or the seccomp filter has not been built."""
    missing = [name for name in INPUTS if not (ROOT / name).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)}: not built yet; ./dev test builds them")


def run(*command: str, **environment: str) -> str:
    """Run a build script; return what it printed, fail with that when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHON": "/usr/bin/python3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def whole_trees() -> Path:
    """Return the Python trees of the packages, with every distribution of the locks, made once and kept."""
    trees = CACHE / "trees"
    run("debian/python-trees.sh", str(trees))
    return trees


def whole_debs(out: Path) -> Path:
    """Build the whole Debian packages in the directory ``out``; return it."""
    built_inputs()
    need("dh", "debhelper")
    trees = whole_trees()
    run("debian/build.sh", str(out), CELL_TREES=str(trees), CELL_COMPRESSION="gzip", CELL_LEVEL="1")
    return out


def renumbered(package: Path, version: str, work: Path) -> Path:
    """Make a copy of a Debian package with another version and nothing else changed, below ``work``; return it."""
    tree, out = work / package.stem, work / f"{package.name.split('_')[0]}_{version}.deb"
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    build = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(out)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return out


def bare_debian(name: str, *packages: str) -> Path:
    """Return a bare Debian with systemd and ``packages``, made once under ``name`` and kept."""
    need("mmdebstrap", "mmdebstrap")
    root, stamp, script = CACHE / name, CACHE / f"{name}.stamp", ROOT / "tests" / "packaging" / "rootfs.sh"
    wanted = hashlib.sha256(script.read_bytes() + ",".join(packages).encode()).hexdigest()
    if not (root.exists() and stamp.exists() and stamp.read_text() == wanted):
        CACHE.mkdir(parents=True, exist_ok=True)
        run(str(script), str(root), ",".join(packages))
        stamp.write_text(wanted)
    return root
