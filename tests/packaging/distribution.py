"""An RPM with what a distribution brings to ours, and empty roots in which dnf installs them.

Scriptlets run in those roots with busybox as their shell and with Debian's systemd-sysusers, systemd-tmpfiles and
systemctl. Whatever needs a manager, a loaded policy or Python is written down (`Root.calls`) instead of done.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .machine import need

if TYPE_CHECKING:
    from collections.abc import Iterable

SPEC = Path(__file__).with_suffix(".spec")
DNF_SECONDS = 120
#: Debian's own, packed with their libraries.
PROGRAMS = {"systemctl": "systemd", "systemd-sysusers": "systemd", "systemd-tmpfiles": "systemd"}
COMMANDS_OF_BUSYBOX = ("sh", "rm")
#: Directories that the packages of a distribution own, such as filesystem and systemd.
DIRECTORIES = (
    *(
        "etc/systemd/system",
        "run",
        "tmp",
        "var/cache",
        "var/lib",
        "var/tmp",
        "usr/libexec",
        "usr/share/doc",
        "usr/share/licenses",
    ),
    *(f"usr/lib/{name}" for name in ("sysusers.d", "tmpfiles.d")),
    *(f"usr/lib/systemd/{name}" for name in ("system", "system-generators", "system-preset")),
    *(f"usr/share/man/man{section}" for section in (1, 5, 7, 8)),
    *("usr/share/bash-completion/completions", "usr/share/zsh/site-functions"),
)
CALLS = "calls"
#: Runs a command that finds the host's processes and devices in the root it is given, as in a machine; they go with it.
IN_ROOT = ("unshare", "--mount", "sh", "-c", 'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && exec "$@"')
#: A program that writes down how it was called; the rest of its text follows.
RECORD = f'#!/bin/sh\nname=${{0##*/}}\necho "$name $*" >>/{CALLS}\n'
#: Enabling and disabling is done by systemd itself, which needs links alone; the manager has one unit, up or not.
SYSTEMCTL = """
case " $* " in *" disable --now "*) rm -f /run/active ;; esac
case " $* " in
    *" preset "* | *" disable "* | *" is-enabled "*) SYSTEMD_OFFLINE=1 exec /usr/libexec/systemctl "$@" ;;
    *" is-active "*) [ -e /run/active ] ;;
    " start cell.target ") : >/run/active ;;
esac
"""


@dataclass(frozen=True)
class Root:
    """The root of a machine that has RPM's database, and the repositories that dnf finds there."""

    path: Path
    repositories: dict[str, Path]
    home: Path

    def dnf(self, *arguments: str, status: int = 0) -> str:
        """Run dnf on this root; return what it printed."""
        command = [need("dnf", "dnf"), "--assumeyes", f"--installroot={self.path}", "--releasever=1", "--nogpgcheck"]
        command += [f"--setopt=cachedir={self.home}/cache"]
        command += [f"--repofrompath={name},file://{path}" for name, path in self.repositories.items()]
        command += [f"--repo={','.join(self.repositories)}", *arguments]
        return self._printed(command, status)

    def rpm(self, *arguments: str, status: int = 0) -> str:
        """Run rpm on this root; return what it printed."""
        return self._printed([need("rpm", "rpm"), "--root", str(self.path), *arguments], status)

    def _printed(self, command: list[str], status: int) -> str:
        done = subprocess.run(
            [*IN_ROOT, str(self.path), *command],
            env={**os.environ, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DNF_SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def calls(self) -> list[str]:
        """Return what was called since the last time."""
        record = self.path / CALLS
        lines = record.read_text().splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        return lines

    def files(self) -> set[str]:
        """Return every path of this root, without RPM's and dnf's own."""
        own = ("/var/lib/rpm", "/var/lib/dnf", "/var/log")
        listed = (f"/{path.relative_to(self.path)}" for path in self.path.rglob("*"))
        return {path for path in listed if not path.startswith(own)}


def repository(directory: Path) -> None:
    """Make the metadata of a repository of the RPMs in ``directory``."""
    subprocess.run([need("createrepo_c", "createrepo-c"), "--quiet", str(directory)], check=True, timeout=DNF_SECONDS)


def empty_root(work: Path, repositories: dict[str, Path]) -> Root:
    """Make a root with nothing in it below ``work``."""
    home = work / "home"
    home.mkdir()
    # Debian's rpm keeps its database in the home directory.
    (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
    root = work / "root"
    for name in ("dev", "proc"):
        (root / name).mkdir(parents=True)
    return Root(root, repositories, home)


def distribution(out: Path, work: Path) -> None:
    """Build the distribution's packages in the directory ``out``."""
    tree = work / "tree"
    _lay_out(tree)
    version = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=True).stdout
    abi = re.search(r"\d+\.\d+", version)
    assert abi is not None, version
    command = [
        need("rpmbuild", "rpm"),
        "--quiet",
        "-bb",
        "--define",
        f"_topdir {work}/top",
        "--define",
        f"_rpmdir {out}",
    ]
    command += ["--define", f"programs {tree}", "--define", f"abi {abi[0]}", "--define", "_binary_payload w1.gzdio"]
    subprocess.run([*command, str(SPEC)], check=True, capture_output=True, timeout=DNF_SECONDS)


def _lay_out(tree: Path) -> None:
    programs = tree / "usr/bin"
    for name in ("bin", "lib", "lib64", "sbin"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\n")
    for name in ("shadow", "gshadow"):
        (tree / "etc" / name).touch()
    shutil.copy2(need("busybox", "busybox-static"), programs / "busybox")
    for name in COMMANDS_OF_BUSYBOX:
        (programs / name).symlink_to("busybox")
    found = [Path(need(name, package)) for name, package in PROGRAMS.items()]
    for path in found:
        shutil.copy2(path, programs / path.name)
    for library in _libraries(found):
        target = tree / "usr" / re.sub("^/(usr/)?", "", library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
    (programs / "systemctl").rename(tree / "usr/libexec/systemctl")
    stand_ins = {
        "systemctl": SYSTEMCTL,
        "python3": "",
        "semodule": "",
        "selinuxenabled": "[ -e /run/selinux ]\n",
        "load_policy": "",
        "restorecon": "",
    }
    for name, rest in stand_ins.items():
        (programs / name).write_text(RECORD + rest)
        (programs / name).chmod(0o755)


def _libraries(programs: Iterable[Path]) -> set[str]:
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?:^|=> )\s*(/\S+) \(", listed, re.MULTILINE))
