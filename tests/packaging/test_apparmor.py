"""The AppArmor profiles compile, and allow exactly the accesses of two tables.

Nothing is loaded: the parser's output is read, and its automata are asked as the kernel asks them
(security/apparmor/match.c of Linux; libapparmor's chfa.cc writes them).
"""

from __future__ import annotations

import re
import struct
import subprocess

import pytest

from .machine import ROOT, need

PROFILES = ROOT / "apparmor" / "cell-appliance"
INSTALLED = "/usr/share/cell-appliance/apparmor"
ENTRY = "/usr/lib/cell-appliance/libexec"
ROLES = ("web", "pool", "permalink", "egress", "requestlog", "launcher")
#: Letters of the rules, with the bits of the compiled automaton.
BITS = {"x": 1, "w": 2, "r": 4, "a": 8, "l": 16, "k": 32, "m": 64}
ACCEPT, BASE, CHECK, DEFAULT, CLASSES, NEXT = 1, 2, 3, 4, 5, 8
MAGIC = bytes.fromhex("1b5e783d")


class Automaton:
    """A compiled table of paths."""

    def __init__(self, data: bytes) -> None:
        header, size = struct.unpack_from(">II", data, 4)
        self._tables: dict[int, tuple[int, ...]] = {}
        position = header
        while position < size:
            kind, width, _, count = struct.unpack_from(">HHII", data, position)
            letter = {1: "B", 2: "H", 4: "I"}[width]
            self._tables[kind] = struct.unpack_from(f">{count}{letter}", data, position + 12)
            position += (12 + count * width + 7) & ~7

    def bits(self, path: str, *, owner: bool = False) -> int:
        """Return what may be done with ``path``, by its owner or by another account."""
        state = 1
        for byte in path.encode():
            kind = self._tables[CLASSES][byte] if CLASSES in self._tables else byte
            position = (self._tables[BASE][state] & 0xFFFFFF) + kind
            state = self._tables[NEXT if self._tables[CHECK][position] == state else DEFAULT][
                position if self._tables[CHECK][position] == state else state
            ]
        accept = self._tables[ACCEPT][state]
        return accept & 0x7F if owner else accept >> 14 & 0x7F


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a copy of the profiles that finds its parts in this tree."""
    copy = tmp_path_factory.mktemp("apparmor") / "cell-appliance"
    copy.write_text(PROFILES.read_text(encoding="utf-8").replace(INSTALLED, str(PROFILES.parent)), encoding="utf-8")
    return str(copy)


@pytest.fixture(scope="module")
def automata(source: str) -> dict[str, Automaton]:
    """Compile the profiles; return the automaton of paths of each."""
    parser = need("apparmor_parser", "apparmor")
    options = ["--skip-kernel-load", "--skip-cache", "--warn=all", "-O", "no-diff-encode", "--stdout"]
    done = subprocess.run([parser, *options, source], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    starts = [match.start() for match in re.finditer(rb"profile\0.{4,6}cell-[a-z]+\0", done.stdout, re.DOTALL)]
    found = {}
    for start, end in zip(starts, [*starts[1:], len(done.stdout)], strict=True):
        part = done.stdout[start:end]
        name = re.search(rb"cell-([a-z]+)\0", part)
        assert name
        # the first is what the profile is attached to, the last what it allows of files
        found[name[1].decode()] = Automaton(part[part.rindex(MAGIC) :])
    return found


def rows(table: str) -> list[tuple[str, str, str]]:
    """Return role, letters and path of each line."""
    split = [line.split() for line in table.strip().splitlines()]
    return [(role, letters, path) for role, letters, path in split]


ALLOWED = """
web        r    /etc/cell-appliance/appliance.toml
web        r    /usr/share/cell-appliance/static/embedded_cell.js
web        rw   /run/cell-appliance/pool/pool.sock
web        rw   /run/cell-appliance/permalink/permalink.sock
web        rw   /run/cell-appliance/kernels/0123/shell
web        w    /run/systemd/notify
pool       rw   /run/cell-appliance/pool/pool.sock
pool       rw   /run/cell-appliance/zygote/zygote.sock
pool       rw   /run/cell-appliance/kernels/0123/record.json
pool       r    /proc/1234/stat
permalink  rwk  /var/lib/cell-appliance/permalinks.sqlite3
permalink  rwk  /var/lib/cell-appliance/permalinks.sqlite3-shm
egress     rw   /run/cell-appliance/egress/none/proxy.sock
requestlog rw   /var/lib/cell-appliance-requests/requests.jsonl
launcher   rxm  /usr/bin/bash
launcher   rm   /data/iris.csv
launcher   r    /run/data/archive/iris.csv
launcher   r    /srv/datasets/iris.csv
launcher   rxm  /usr/lib/cell-appliance/environments/python/bin/python
launcher   rxm  /srv/environments/one/bin/python
launcher   rw   /sys/fs/cgroup/cell.slice/cell-kernels.slice/kernel-1/cgroup.procs
launcher   rwk  /home/visitor/x.db
launcher   rw   /tmp/x
launcher   rw   /dev/shm/x
launcher   rw   /dev/pts/0
launcher   r    /etc/passwd
"""

FORBIDDEN = """
web        r    /var/lib/cell-appliance/permalinks.sqlite3
web        r    /etc/shadow
web        w    /etc/cell-appliance/appliance.toml
web        x    /usr/bin/bash
web        w    /usr/lib/cell-appliance/libexec/cell-web
web        r    /run/cell-appliance/zygote/zygote.sock
web        w    /tmp/x
web        r    /root/.ssh/id_ed25519
pool       r    /var/lib/cell-appliance/permalinks.sqlite3
pool       r    /etc/shadow
pool       x    /usr/bin/bash
pool       w    /run/cell-appliance/permalink/permalink.sock
pool       r    /proc/1234/mem
pool       r    /proc/1234/environ
permalink  r    /etc/shadow
permalink  x    /usr/bin/bash
permalink  r    /run/cell-appliance/kernels/0123/shell
permalink  w    /run/cell-appliance/pool/pool.sock
permalink  r    /var/lib/cell-appliance-requests/requests.jsonl
egress     r    /var/lib/cell-appliance/permalinks.sqlite3
egress     w    /run/cell-appliance/pool/pool.sock
egress     w    /run/cell-appliance/kernels/0123/shell
egress     x    /usr/bin/bash
requestlog r    /var/lib/cell-appliance/permalinks.sqlite3
requestlog w    /run/cell-appliance/pool/pool.sock
requestlog x    /usr/bin/bash
launcher   w    /data/iris.csv
launcher   x    /data/run.sh
launcher   r    /var/lib/cell-appliance/permalinks.sqlite3
launcher   r    /var/lib/cell-appliance-requests/requests.jsonl
launcher   r    /etc/shadow
launcher   r    /etc/cell-appliance/tls/key.pem
launcher   r    /etc/ssh/ssh_host_ed25519_key
launcher   r    /root/.bashrc
launcher   w    /run/cell-appliance/permalink/permalink.sock
launcher   w    /run/systemd/private
launcher   w    /usr/bin/bash
launcher   w    /etc/passwd
launcher   w    /boot/vmlinuz
launcher   r    /home/someone/.profile
launcher   r    /proc/kcore
launcher   w    /proc/sys/kernel/core_pattern
launcher   r    /dev/mem
launcher   x    /home/visitor/a.out
launcher   x    /tmp/a.out
launcher   w    /sys/kernel/uevent_helper
"""


@pytest.mark.parametrize(("role", "letters", "path"), rows(ALLOWED))
def test_allowed(automata: dict[str, Automaton], role: str, letters: str, path: str) -> None:
    bits = automata[role].bits(path)
    assert [letter for letter in letters if not bits & BITS[letter]] == []


@pytest.mark.parametrize(("role", "letters", "path"), rows(FORBIDDEN))
def test_forbidden(automata: dict[str, Automaton], role: str, letters: str, path: str) -> None:
    bits = automata[role].bits(path) | automata[role].bits(path, owner=True)
    assert [letter for letter in letters if bits & BITS[letter]] == []


def test_every_entry_point_has_a_profile(source: str, automata: dict[str, Automaton]) -> None:
    assert set(automata) == set(ROLES)
    text = PROFILES.read_text(encoding="utf-8")
    for role in ROLES:
        assert f"\nprofile cell-{role} {ENTRY}/cell-{role} " in text
        assert (ROOT / "units" / "libexec" / f"cell-{role}").exists()


def test_what_no_automaton_of_paths_tells() -> None:
    """Addresses, capabilities and domains are no paths; what is in no rule is refused."""
    text = re.sub(r"#.*", "", PROFILES.read_text(encoding="utf-8"))
    assert not re.search(r"network (packet|netlink|raw)|network,|unconfined|complain|\b[uU]x|^\s*file,", text, re.M)
    parts = dict(re.findall(r"^profile cell-([a-z]+) (.*?)^}", text, re.DOTALL | re.MULTILINE))
    assert "network" not in parts["pool"]
    assert [role for role in ROLES if re.search("capability|mount|pivot_root|change_profile", parts[role])] == [
        "launcher"
    ]
    capabilities = set(re.findall(r"capability (\w+)", parts["launcher"]))
    assert not capabilities & {"sys_module", "sys_rawio", "sys_boot", "sys_time", "bpf", "net_raw", "mac_admin"}
