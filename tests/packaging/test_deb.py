"""The Debian packages: what lintian says, and what is in them."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

from .conftest import run
from .machine import CONFIGURATION, ROOT, need

if TYPE_CHECKING:
    from pathlib import Path


def deb(directory: Path, name: str) -> str:
    """Return the file of the package ``name``."""
    (file,) = directory.glob(f"{name}_0.1.0_*.deb")
    return str(file)


def contents(file: str) -> dict[str, str]:
    """Return path → mode and owner of a package's files."""
    listing = subprocess.run(["dpkg-deb", "--contents", file], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=5) for line in listing.splitlines())
    return {row[5].split(" -> ")[0].removeprefix("."): f"{row[0]} {row[1]}" for row in rows}


def field(file: str, name: str) -> str:
    """Return a field of a package's control file."""
    return subprocess.run(["dpkg-deb", "--field", file, name], capture_output=True, text=True, check=True).stdout


def test_lintian_has_nothing_to_say(bare_debs: Path) -> None:
    files = [deb(bare_debs, name) for name in ("cell-appliance", "cell-appliance-selinux")]
    done = subprocess.run(
        [need("lintian", "lintian"), "--allow-root", "--fail-on", "error,warning", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
    assert done.returncode == 0, done.stdout + done.stderr
    assert found == []


def test_contents(bare_debs: Path) -> None:
    files = contents(deb(bare_debs, "cell-appliance"))
    for path in (
        "/usr/bin/cellctl",
        "/usr/lib/cell-appliance/bin/python",
        "/usr/lib/cell-appliance/environments/python/bin/python",
        "/usr/lib/cell-appliance/libexec/cell-launcher",
        "/usr/share/cell-appliance/static/embedded_cell.js",
        "/usr/share/cell-appliance/static/embedded_cell.js.gz",
        "/usr/share/cell-appliance/static/embedded_cell.js.br",
        "/usr/share/cell-appliance/edge.env",
        "/usr/share/cell-appliance/apparmor/cell-appliance",
        "/usr/share/cell-appliance/apparmor/role",
        "/lib/systemd/system/cell.target",
        "/lib/systemd/system/cell-zygote@.service",
        "/lib/systemd/system/cell-web@.service",
        "/lib/systemd/system/cell-healthcheck.timer",
        "/usr/lib/systemd/system-generators/cell-appliance-generator",
        "/usr/share/bash-completion/completions/cellctl",
        "/usr/share/man/man7/cell-appliance.7.gz",
        "/usr/share/cell-appliance/haproxy/nodes.cfg",
        "/usr/lib/sysusers.d/cell-appliance.conf",
        "/usr/lib/tmpfiles.d/cell-appliance.conf",
        "/usr/share/doc/cell-appliance/administration.md",
    ):
        assert path in files
    (site,) = {
        path for path in files if path.startswith("/usr/lib/cell-appliance/lib/") and path.endswith("/site-packages/")
    }
    for path in ("appliance/main.py", "appliance/zygote/seccomp.bpf", "appliance/cli/__main__.py"):
        assert site + path in files
    assert not any("node_modules" in path or "/tests/" in path or path.endswith(".ts") for path in files)
    assert all("root/root" in row for row in files.values())
    # writable by nobody but root, set-id for nobody
    assert not any(row[8] == "w" or "s" in row[:10].lower() for row in files.values() if not row.startswith("l"))


def test_configuration_is_kept_on_upgrade(bare_debs: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--control", deb(bare_debs, "cell-appliance"), str(tmp_path)], check=True)
    assert set((tmp_path / "conffiles").read_text().split()) == CONFIGURATION
    for name in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", str(tmp_path / name)], check=True)


def test_the_interpreter_is_the_one_it_was_built_for(bare_debs: Path) -> None:
    depends = field(deb(bare_debs, "cell-appliance"), "Depends")
    assert "python3 (>= 3." in depends
    assert "python3 (<< 3." in depends


def test_the_policy_is_a_package_of_its_own(bare_debs: Path) -> None:
    file = deb(bare_debs, "cell-appliance-selinux")
    assert "/usr/share/selinux/packages/cell_appliance.pp.bz2" in contents(file)
    assert field(file, "Architecture").strip() == "all"


def test_the_same_source_gives_the_same_packages(bare_debs: Path, bare_trees: Path, tmp_path: Path) -> None:
    run("debian/build.sh", str(tmp_path), CELL_TREES=str(bare_trees), CELL_COMPRESSION="gzip", CELL_LEVEL="1")
    again = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.deb")}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bare_debs.glob("*.deb")} == again


def test_the_manual_has_nothing_that_troff_warns_of() -> None:
    for page in (ROOT / "docs" / "manual").glob("*.[1578]"):
        command = [need("groff", "groff-base"), "-man", "-Tutf8", "-ww", "-z", str(page)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
