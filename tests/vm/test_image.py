"""The image: its disks as they are made, and the machine that they are when firmware has started them.

The disks have grown before the first start, as a hypervisor lets them grow. The tests of the machine tell one story and
run in their order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.packaging.building import run, whole_debs
from tests.packaging.machine import CACHE, ROOT, need

from .guest import free_port
from .hardware import Administered, Hardware, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The first test may have to make the Python trees and the image.
pytestmark = pytest.mark.timeout(2400)

IMAGE = ROOT / "debian" / "image"
GROWN_BYTES = 1 << 30
FIRST_ID, LAST_ID = 1_879_048_192, 1_879_113_727
ENABLED = {
    "multi-user.target.wants/cell.target",
    "multi-user.target.wants/cell-edge.target",
    "multi-user.target.wants/ssh.service",
    "multi-user.target.wants/image-quotas.service",
    "multi-user.target.wants/image-ssh-keys.service",
    "multi-user.target.wants/systemd-networkd.service",
    "multi-user.target.wants/unattended-upgrades.service",
    "sysinit.target.wants/nftables.service",
    "sysinit.target.wants/systemd-resolved.service",
    "sysinit.target.wants/systemd-timesyncd.service",
    "local-fs.target.wants/image-disk@data.service",
    "local-fs.target.wants/image-disk@scratch.service",
    "timers.target.wants/apt-daily-upgrade.timer",
}
#: Lines at priority "warning" or worse that a healthy start of an emulated machine may have.
EXPECTED_WARNINGS = (
    # before the pool is there, and while a processor is emulated
    r"cell-web\[\d+\]: health: ",
    r"haproxy\[\d+\]: (Server|backend) ",
    r"cell-(web|pool|permalink)\[\d+\]: no watchdog beat",
)
#: Asks for a connection; prints how that ended.
CONNECT = "import socket, sys\ntry: socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n"
CONNECT += "except OSError as error: print(type(error).__name__)\nelse: print('connected')"


class Disk:
    """The root of the system's disk, asked without a mount."""

    def __init__(self, path: Path) -> None:
        self.path = path
        done = subprocess.run([need("sfdisk", "fdisk"), "--json", str(path)], capture_output=True, check=True)
        self.table = json.loads(done.stdout)["partitiontable"]
        self._root = f"{path}?offset={self.table['partitions'][1]['start'] * self.table['sectorsize']}"

    def ask(self, request: str) -> str:
        """Return what debugfs says."""
        command = [need("debugfs", "e2fsprogs"), "-R", request, self._root]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def change(self, requests: list[str]) -> None:
        """Have debugfs change the file system."""
        command = [need("debugfs", "e2fsprogs"), "-w", "-f", "-", self._root]
        subprocess.run(command, input="\n".join(requests), capture_output=True, text=True, check=True)

    def names(self, directory: str) -> set[str]:
        """Return the names in a directory."""
        fields = (line.split("/") for line in self.ask(f"ls -p {directory}").splitlines() if line)
        return {parts[5] for parts in fields} - {".", "..", ""}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Return the system's disk; those of data and scratch are beside it, and the key that opens the machine."""
    if os.geteuid() != 0:
        pytest.fail("the image needs root here: run this test with sudo")
    for command, package in (("mmdebstrap", "mmdebstrap"), ("mcopy", "mtools"), ("mkfs.vfat", "dosfstools")):
        need(command, package)
    out = CACHE / "image"
    out.mkdir(exist_ok=True, parents=True)
    debs = whole_debs(tmp_path_factory.mktemp("debs"))
    # the same source gives the same package, and that the same image
    inputs = [*debs.glob("cell-appliance_*.deb"), *sorted(path for path in IMAGE.rglob("*") if path.is_file())]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = out / "stamp"
    if not (stamp.exists() and stamp.read_text() == wanted):
        stamp.unlink(missing_ok=True)
        run("debian/image/build.sh", str(debs), str(out / "cells.raw"), CELL_ARCHIVES=str(CACHE / "image.archives"))
        stamp.write_text(wanted)
    return Disk(out / "cells.raw")


def test_partitions_and_labels(disk: Disk) -> None:
    assert disk.table["label"] == "gpt"
    assert [part["name"] for part in disk.table["partitions"]] == ["cells-esp", "cells-root"]
    labels = {}
    for name in ("data", "scratch"):
        path = disk.path.with_name(f"cells-{name}.raw")
        printed = subprocess.run(
            [need("dumpe2fs", "e2fsprogs"), "-h", path], capture_output=True, text=True, check=True
        )
        fields = dict(re.findall(r"(?m)^([^:\n]+): +(.*)$", printed.stdout))
        labels[name] = fields["Filesystem volume name"]
        assert "quota" in fields["Filesystem features"].split()
    assert labels == {"data": "cells-data", "scratch": "cells-scratch"}
    mounts = [line.split() for line in disk.ask("cat /etc/fstab").splitlines() if line.startswith("LABEL=")]
    assert {mount[1]: mount[0] for mount in mounts} == {
        "/": "LABEL=cells-root",
        "/boot/efi": "LABEL=CELLS-ESP",
        "/srv/data": "LABEL=cells-data",
        "/srv/scratch": "LABEL=cells-scratch",
    }


def test_nothing_in_it_is_of_one_machine(disk: Disk) -> None:
    assert re.search(r"Size: 0\b", disk.ask("stat /etc/machine-id"))
    assert not [name for name in disk.names("/etc/ssh") if name.startswith("ssh_host_")]
    assert "hostname" not in disk.names("/etc")
    assert "random-seed" not in disk.names("/var/lib/systemd")
    assert not disk.names("/etc/cell-appliance") & {"tls", "edge.env", "private-network"}
    assert "authorized_keys" not in disk.names("/root/.ssh")
    assert not [name for name in disk.names("/root") if name.endswith(".deb")]
    assert ".ssh" not in disk.names("/home/admin")
    # nobody has a password
    shadow = dict(line.split(":")[:2] for line in disk.ask("cat /etc/shadow").splitlines())
    assert {"root", "admin"} < set(shadow)
    assert {value[:1] for value in shadow.values()} <= {"*", "!"}


def test_what_starts_with_it(disk: Disk) -> None:
    found = set()
    for directory in {name.split("/")[0] for name in ENABLED}:
        found |= {f"{directory}/{name}" for name in disk.names(f"/etc/systemd/system/{directory}")}
    assert found >= ENABLED
    assert not found & {"multi-user.target.wants/nginx.service", "multi-user.target.wants/haproxy.service"}


def test_packages_come_from_debian(disk: Disk) -> None:
    lines = disk.ask("cat /etc/apt/sources.list").split("\n")
    assert all(re.match(r"deb http://(deb|security)\.debian\.org/debian|$", line) for line in lines)
    assert any("-security" in line for line in lines)
    assert disk.names("/etc/apt/sources.list.d") == set()


@pytest.fixture(scope="module")
def hardware(disk: Disk) -> Hardware:
    """Return the disks of a machine after an administrator had them: a key on the first partition, and grown."""
    directory = disk.path.with_name("hardware")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    disks = [directory / f"{name}.raw" for name in ("cells", "cells-data", "cells-scratch")]
    for path in disks:
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk.path.with_name(path.name), path], check=True)
    key = directory / "key"
    subprocess.run([need("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    start = disk.table["partitions"][0]["start"] * disk.table["sectorsize"]
    copy = [need("mcopy", "mtools"), "-o", "-i", f"{disks[0]}@@{start}", f"{key}.pub", "::/authorized_keys"]
    subprocess.run(copy, check=True)
    slow_processor(Disk(disks[0]))
    for path in disks[:2]:
        os.truncate(path, path.stat().st_size + GROWN_BYTES)
    return Hardware(disks, key)


def slow_processor(disk: Disk) -> None:
    """Let roles take their time: an emulated processor is several times slower than what the units are made for."""
    requests = []
    for unit in ("cell-web@", "cell-pool", "cell-permalink", "cell-zygote@"):
        watchdog = "" if "zygote" in unit else "WatchdogSec=180s\n"
        file = disk.path.with_name(f"{unit}.conf")
        file.write_text(f"[Service]\nTimeoutStartSec=600s\n{watchdog}")
        directory = f"/etc/systemd/system/{unit}.service.d"
        requests += [f"mkdir {directory}", f"write {file} {directory}/slow.conf"]
    disk.change(requests)


@pytest.fixture(scope="module")
def web() -> int:
    """Return the port of this host that leads to the machine's port 80."""
    return free_port()


@pytest.fixture(scope="module")
def other() -> int:
    """Return the port of this host that leads to the machine's port 8000."""
    return free_port()


@pytest.fixture(scope="module")
def guest(hardware: Hardware, web: int, other: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administered]:
    """Return the machine, started by its firmware."""
    log = tmp_path_factory.mktemp("guest") / "console.log"
    with started(hardware, log, {web: 80, other: 8000}) as machine:
        yield machine


def test_it_starts_as_a_machine_of_its_own(guest: Administered) -> None:
    state = guest.must("systemctl is-system-running || true")
    assert state == "running", guest.must(
        "systemctl --failed --no-pager; journalctl -b -p warning --no-pager | tail -60"
    )
    assert re.fullmatch(r"[0-9a-f]{32}", guest.must("cat /etc/machine-id"))
    assert "ssh_host_ed25519_key.pub" in guest.must("ls /etc/ssh")
    assert re.search(r"inet 10\.0\.2\.\d+/24 .*dynamic", guest.must("ip -4 address show scope global"))


def test_disks_have_grown_and_are_in_their_places(guest: Administered) -> None:
    sizes = guest.must("df --output=target,size --block-size=1M / /srv/data /srv/scratch | tail -n +2").splitlines()
    found = {line.split()[0]: int(line.split()[1]) for line in sizes}
    assert found["/"] > 8400
    assert found["/srv/data"] > 16600
    assert 3500 < found["/srv/scratch"] < 4096
    for place, disk in (("/var/lib/cell-appliance", "data"), ("/tmp", "scratch"), ("/var/tmp", "scratch")):
        assert guest.must(["findmnt", "-n", "-o", "SOURCE", place]).startswith("/dev/vd")
        label = guest.must(f"findmnt -n -o LABEL {place}")
        assert label == f"cells-{disk}", place
    assert guest.must("stat -c '%U %a' /tmp /var/lib/cell-appliance").splitlines() == [
        "root 1777",
        "cell-permalink 750",
    ]
    assert guest.must("mount | grep ' /srv/data '").count("noexec") == 1


def test_evaluates_two_and_two_through_the_edge(guest: Administered, web: int) -> None:
    url = f"http://127.0.0.1:{web}"
    guest.wait("python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1/healthz')\"", seconds=300)
    form = urllib.parse.urlencode({"code": "print(2+2)"}).encode()
    with urllib.request.urlopen(f"{url}/service", form, timeout=120) as answer:
        assert json.loads(answer.read())["stdout"] == "4\n"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += ["tests/browser/test_first_cell.py", "-k", "two_and_two"]
    environment = {**os.environ, "CELL_APPLIANCE_URL": url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cellctl_finds_it_well(guest: Administered) -> None:
    guest.must("cellctl doctor", seconds=300)
    guest.must("cellctl healthcheck", seconds=300)


def test_quotas_hold(guest: Administered) -> None:
    """An account that has its part gets no more, and the permalinks are as good as before."""
    limits = guest.must("repquota -u -O csv /srv/data")
    assert re.search(r"^cell-requestlog,", limits, re.MULTILINE), limits
    guest.must("setquota -u cell-requestlog 0 1024 0 0 /srv/data")
    write = "dd if=/dev/zero of=/var/lib/cell-appliance-requests/x bs=1K count={} status=none"
    as_role = "setpriv --reuid=cell-requestlog --regid=cell-requestlog --clear-groups "
    guest.must(as_role + write.format(900))
    refused = guest.run(as_role + write.format(2000))
    assert "Disk quota exceeded" in refused.output
    guest.must("rm /var/lib/cell-appliance-requests/x && systemctl restart image-quotas.service")
    hard = int(guest.must("quota -u cell-requestlog --no-wrap -w | awk '/vd/ {print $4}'") or 0)
    size = int(guest.must("df --output=size --block-size=1K /srv/data | tail -n 1"))
    assert abs(hard - size * 10 // 100) <= 4


def test_the_firewall(guest: Administered, other: int) -> None:
    guest.must("nft -c -f /etc/cell-image/firewall.nft && systemctl is-active nftables.service")
    # whatever listens, nothing but the named ports is reached
    guest.must("systemd-run --quiet --unit=probe python3 -m http.server 8000")
    guest.wait(f"[ $(python3 -c '{escaped(CONNECT)}' 127.0.0.1 8000) = connected ]")

    def reached() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{other}/", timeout=10) as answer:
            return bool(answer.status == 200)
        return False

    assert not reached()
    guest.must("nft insert rule inet cell_image input tcp dport 8000 accept")
    assert reached()
    guest.must("systemctl reload nftables.service && systemctl stop probe.service")


def escaped(program: str) -> str:
    """Return a program for Python's -c within single quotes of a shell."""
    return program.replace("'", "'\\''")


def test_nothing_gets_out_from_the_ids_of_kernels(guest: Administered) -> None:
    """Not even to this machine: should a kernel ever be in its network."""
    program = f"python3 -c '{escaped(CONNECT)}' 127.0.0.1 80"
    assert guest.must(f"setpriv --reuid={FIRST_ID - 1} --regid={FIRST_ID - 1} --clear-groups {program}") == "connected"
    for number in (FIRST_ID, LAST_ID):
        refused = guest.must(f"setpriv --reuid={number} --regid={number} --clear-groups {program}")
        assert refused == "ConnectionRefusedError"


def test_ssh_takes_administrators_with_keys_alone(guest: Administered, hardware: Hardware) -> None:
    guest.must("sshd -t")
    settings = dict(line.split(" ", 1) for line in guest.must("sshd -T").splitlines() if " " in line)
    assert settings["permitrootlogin"] == "no"
    assert settings["authenticationmethods"] == "publickey"
    assert (settings["passwordauthentication"], settings["kbdinteractiveauthentication"]) == ("no", "no")
    # an account with an id of the kernels', which has the same key
    guest.must(
        f"useradd --no-user-group --uid {FIRST_ID + 7} --key UID_MAX={LAST_ID} --create-home --shell /bin/sh probe"
    )
    try:
        assert guest.login("root") != 0
        assert guest.login("cell-web") != 0
        assert guest.login("probe") != 0
        guest.must("usermod --append --groups sudo probe")
        assert guest.login("probe") == 0
    finally:
        # what systemd runs for the account ends some time after the last login
        guest.wait("userdel --remove probe", seconds=60)


def test_upgrades_come_by_themselves(guest: Administered) -> None:
    settings = guest.must("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1"' in settings
    assert "Debian-Security" in settings
    assert 'Automatic-Reboot "true"' in settings
    assert guest.must("systemctl is-active apt-daily.timer apt-daily-upgrade.timer") == "active\nactive"


def test_old_files_are_cleaned(guest: Administered) -> None:
    """A copy of the directory of temporary files, with the ages of the image: nobody can make an inode look older."""
    guest.must("systemctl is-active systemd-tmpfiles-clean.timer")
    lines = guest.must("systemd-tmpfiles --cat-config | grep -E '^[a-zA-Z!]+ +/(var/)?tmp '").splitlines()
    assert [line.split()[1::4] for line in lines] == [["/tmp", "1d"], ["/var/tmp", "7d"]]
    conf = "d /var/tmp/probe 0755 root root m:2d"
    guest.must(f"echo '{conf}' >/run/probe.conf && systemd-tmpfiles --create /run/probe.conf")
    guest.must("touch /var/tmp/probe/new && touch -d '-3 days' /var/tmp/probe/old")
    guest.must("systemd-tmpfiles --clean /run/probe.conf")
    assert guest.must("ls /var/tmp/probe") == "new"


def test_the_journal_has_nothing_unexpected(guest: Administered) -> None:
    lines = guest.must("journalctl -b -p warning -o short --no-pager -q").splitlines()
    ours = [line for line in lines if re.search(r"\bcell[-.]|image-|haproxy|nginx|nftables", line)]
    unexpected = [line for line in ours if not any(re.search(pattern, line) for pattern in EXPECTED_WARNINGS)]
    assert unexpected == [], "\n".join(unexpected)
