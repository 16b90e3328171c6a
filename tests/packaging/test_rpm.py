"""The RPMs, as far as a machine without RPM's own distribution can tell."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from .building import run, whole_trees
from .machine import CONFIGURATION, ROOT, need

VERSION = "0.1.0-1"
#: Nothing runs without it, so nothing has to ask for it.
GLIBC = ("ld-linux", "libc.so", "libdl.so", "libm.so", "libpthread.so", "libresolv.so", "librt.so")


def query(directory: Path, name: str, *options: str) -> list[str]:
    """Ask rpm about the package ``name``."""
    (file,) = directory.glob(f"{name}-{VERSION}*.rpm")
    return subprocess.run(
        ["rpm", "--query", "--package", *options, str(file)], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_contents(bare_rpms: Path) -> None:
    files = set(query(bare_rpms, "cell-appliance", "--list"))
    for path in (
        "/usr/bin/cellctl",
        "/usr/lib/cell-appliance/bin/python",
        "/usr/lib/cell-appliance/libexec/cell-web",
        "/usr/lib/systemd/system/cell.target",
        "/usr/lib/systemd/system/cell-web@.service",
        "/usr/lib/systemd/system-generators/cell-appliance-generator",
        "/usr/share/bash-completion/completions/cellctl",
        "/usr/share/zsh/site-functions/_cellctl",
        "/usr/lib/systemd/system-preset/90-cell-appliance.preset",
        "/usr/lib/sysusers.d/cell-appliance.conf",
        "/usr/share/cell-appliance/static/embedded_cell.js",
    ):
        assert path in files
    assert query(bare_rpms, "cell-appliance-selinux", "--list") == [
        "/usr/share/man/man8/cell_appliance_selinux.8",
        "/usr/share/selinux/packages/cell_appliance.pp.bz2",
    ]


def test_configuration_is_kept_on_upgrade(bare_rpms: Path) -> None:
    assert set(query(bare_rpms, "cell-appliance", "--configfiles")) == CONFIGURATION
    flags = query(bare_rpms, "cell-appliance", "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]")
    assert "/etc/cell-appliance/appliance.toml cn" in flags


def test_it_asks_for_the_interpreter_and_offers_no_private_library(bare_rpms: Path) -> None:
    requires = query(bare_rpms, "cell-appliance", "--requires")
    assert any(line.startswith("python(abi) = 3.") for line in requires)
    assert not any(line.startswith("/usr/lib/cell-appliance") for line in requires)
    assert not any(".so" in line for line in query(bare_rpms, "cell-appliance", "--provides"))


def test_it_asks_for_the_libraries_that_the_wheels_do_not_carry(bare_rpms: Path) -> None:
    found = (path for path in whole_trees().rglob("*.so*") if path.is_file() and not path.is_symlink())
    files = "".join(f"{path}\n" for path in found)
    tool = Path(subprocess.check_output(["rpm", "--eval", "%{_rpmconfigdir}"], text=True).strip()) / "elfdeps"

    def libraries(option: str) -> set[str]:
        listed = subprocess.run([tool, option], input=files, capture_output=True, text=True, check=True).stdout
        return {line for line in listed.splitlines() if line.endswith("()(64bit)")}

    missing = libraries("--requires") - libraries("--provides")
    assert "libc.so.6()(64bit)" in missing
    asked = {line for line in query(bare_rpms, "cell-appliance", "--requires") if ".so" in line}
    assert asked == {line for line in missing if not line.startswith(GLIBC)}


def test_every_macro_was_expanded(bare_rpms: Path) -> None:
    for name in ("cell-appliance", "cell-appliance-selinux"):
        scripts = "\n".join(query(bare_rpms, name, "--scripts"))
        assert "%" not in scripts.replace("%s", "")
        assert "@ACCOUNTS@" not in scripts
    assert "systemctl --no-reload preset cell.target cell-edge.target" in "\n".join(
        query(bare_rpms, "cell-appliance", "--scripts")
    )


def test_files_arrive_in_a_root(bare_rpms: Path, tmp_path: Path) -> None:
    """Unpacked by rpm itself; test_dnf.py adds dependencies and scriptlets."""
    (file,) = bare_rpms.glob(f"cell-appliance-{VERSION}*.rpm")
    root = tmp_path / "root"
    root.mkdir()
    command = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm"]
    subprocess.run([*command, "--install", "--nodeps", "--noscripts", str(file)], check=True, capture_output=True)
    verified = subprocess.run(
        [*command, "--verify", "--nodeps", "--noscripts", "cell-appliance"], capture_output=True, text=True, check=False
    )
    assert verified.stdout.replace("missing     /run/cell-appliance\n", "") == ""
    subprocess.run([*command, "--erase", "--noscripts", "cell-appliance"], check=True, capture_output=True)
    left = [path for path in root.rglob("*") if "rpm" not in str(path.relative_to(root)) and "cell" in path.name]
    assert left == []


def test_the_same_source_gives_the_same_packages(bare_rpms: Path, bare_trees: Path, tmp_path: Path) -> None:
    run("rpm/build.sh", str(tmp_path), CELL_TREES=str(bare_trees), CELL_PAYLOAD="w1.gzdio")
    again = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.rpm")}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bare_rpms.glob("*.rpm")} == again


def test_rpmlint_has_nothing_to_say(bare_rpms: Path) -> None:
    command = [need("rpmlint", "rpmlint"), "--config", str(ROOT / "rpm" / "rpmlint.toml"), str(bare_rpms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if ": E: " in line or ": W: " in line] == []
    assert "2 packages" in done.stdout
