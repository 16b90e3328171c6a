"""./dev on machines that lack something: package managers are stand-ins that record what they are asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: what a bare machine has, beside a shell
COREUTILS = (
    *("basename", "cat", "chmod", "cut", "date", "dirname", "env", "find", "head", "id", "mkdir", "rm", "sha256sum"),
    *("sort", "stat", "tail", "tr", "uname", "wc", "flock", "sh"),
)


@pytest.fixture
def machine(tmp_path):
    """A copy of ./dev and an empty PATH but for the base utilities."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "dev", tmp_path / "dev")
    for name in COREUTILS:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def stand_in(machine: Path, name: str, script: str) -> None:
    program = machine / "bin" / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >>{machine}/asked\n{script}\n')
    program.chmod(0o755)


def dev(machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(machine / "dev"), *arguments],
        env={"PATH": str(machine / "bin"), "CI": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_help_names_each_command(machine):
    done = dev(machine, "help")
    assert done.returncode == 0
    for command in ("serve", "test", "attacks", "fuzz", "lint", "bench", "build", "cellctl", "lock", "clean"):
        assert f"\n  {command} " in done.stdout


def test_unknown_command_is_refused_by_name(machine):
    done = dev(machine, "srve")
    assert done.returncode == 1
    assert "there is no command 'srve'" in done.stderr


def test_dnf_is_asked_for_the_missing_packages_only(machine):
    stand_in(machine, "rpm", 'case "$*" in *systemd-devel | *python3-devel) exit 1 ;; esac')
    stand_in(machine, "dnf", "echo no space left; exit 1")
    for command in ("cc", "pkg-config", "newuidmap"):
        stand_in(machine, command, "exit 0")
    if os.geteuid() != 0:
        stand_in(machine, "sudo", 'shift; exec "$@"')
    done = dev(machine, "serve")
    assert done.returncode == 1
    asked = [line for line in (machine / "asked").read_text().splitlines() if line.startswith("dnf")]
    assert asked == ["dnf install -y --setopt=install_weak_deps=False python3-devel systemd-devel"]
    assert "system packages for serve: python3-devel systemd-devel" in done.stderr
    assert "no space left" in done.stderr
    assert "Install them by hand" in done.stderr


def test_apt_refreshes_its_lists_before_it_installs(machine):
    stand_in(
        machine,
        "dpkg-query",
        'case "$*" in *libsystemd-dev) exit 1 ;; *python3-venv) printf config-files ;; *) printf installed ;; esac',
    )
    stand_in(machine, "apt-get", 'case "$1" in install) exit 100 ;; esac')
    for command in ("cc", "pkg-config", "newuidmap"):
        stand_in(machine, command, "exit 0")
    if os.geteuid() != 0:
        stand_in(machine, "sudo", 'shift; exec "$@"')
    done = dev(machine, "test", "unit")
    assert done.returncode == 1
    asked = [line for line in (machine / "asked").read_text().splitlines() if line.startswith("apt-get")]
    assert asked == [
        "apt-get update",
        "apt-get install -y --no-install-recommends python3-venv libsystemd-dev",
    ]
    assert "system packages for serve" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root needs no sudo")
def test_an_ordinary_user_without_sudo_is_told_what_to_install(machine):
    stand_in(machine, "rpm", "exit 1")
    stand_in(machine, "dnf", "exit 1")
    done = dev(machine, "serve")
    assert done.returncode == 1
    assert "as root, install: python3 python3-devel" in done.stderr
