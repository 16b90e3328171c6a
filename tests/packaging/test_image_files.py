"""What the image adds to a Debian, looked at by the programs that will read it; tests/vm starts the whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from appliance.config import Config

from .machine import ROOT, need

IMAGE = ROOT / "debian" / "image"
TREE = IMAGE / "tree"
ACCOUNTS = re.findall(r"^u (\S+)", (ROOT / "units/cell-appliance.sysusers.conf").read_text(), re.MULTILINE)


def firewall(directory: Path) -> Path:
    """Return a copy of the rules that includes the file beside them."""
    text = (TREE / "etc/cell-image/firewall.nft").read_text()
    copy = directory / "firewall.nft"
    copy.write_text(text.replace('"/etc/cell-image/', f'"{directory}/'))
    shutil.copy(TREE / "etc/cell-image/ssh-networks.nft", directory)
    return copy


def load(file: Path) -> subprocess.CompletedProcess[str]:
    """Have nft load rules twice, in a network of its own, and print them."""
    script = f"{need('nft', 'nftables')} -f {file} && nft -f {file} && nft list ruleset"
    command = [need("unshare", "util-linux"), "--net", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_firewall_loads_and_loads_again(tmp_path: Path) -> None:
    done = load(firewall(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("table inet cell_image") == 1
    assert len(re.findall("policy drop", done.stdout)) == 2
    first, last = Config().ids.base, Config().ids.base + Config().ids.count - 1
    assert f"meta skuid {first}-{last} counter packets 0 bytes 0 reject" in done.stdout


def test_networks_of_administrators_are_a_line(tmp_path: Path) -> None:
    rules = firewall(tmp_path)
    file = tmp_path / "ssh-networks.nft"
    file.write_text(file.read_text().replace("0.0.0.0/0", "192.0.2.0/24, 198.51.100.7"))
    done = load(rules)
    assert done.returncode == 0, done.stderr
    assert "ip saddr { 192.0.2.0/24, 198.51.100.7 } limit" in done.stdout


def test_units_are_correct(tmp_path: Path) -> None:
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    system = next(path for path in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system")) if path.is_dir())
    for source in (*system.iterdir(), *(TREE / "usr/lib/systemd/system").iterdir()):
        if source.is_file():
            shutil.copy(source, units)
    for program in ("usr/lib/cell-image/disk", "usr/lib/cell-image/quotas", "usr/bin/ssh-keygen"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / program)
    names = ["image-disk@data.service", "image-quotas.service", "image-ssh-keys.service"]
    command = [need("systemd-analyze", "systemd"), "verify", "--man=no", f"--root={tmp_path}", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_quotas_are_of_accounts_that_are_there() -> None:
    lines = (TREE / "etc/cell-image/quotas").read_text().splitlines()
    parts = [line.split() for line in lines if line and not line.startswith("#")]
    assert {account for account, _, _ in parts} <= {*ACCOUNTS, "admin"}
    assert {disk for _, disk, _ in parts} == {"data", "scratch"}
    # together they leave the database room on its disk
    (size,) = re.findall(r"DATA_MIB=(\d+)", (IMAGE / "disks.sh").read_text())
    free = 100 - sum(int(percent) for _, disk, percent in parts if disk == "data")
    assert (int(size) << 20) * free // 100 > Config().permalink.max_database_bytes


def test_the_packages_that_ours_needs_are_in_it() -> None:
    control = (ROOT / "debian/control").read_text()
    (depends,) = re.findall(r"(?ms)^Depends:\n(.*?)^Recommends: (.*?)$", control)
    wanted = set(re.findall(r"(?:^|,)\s*([a-z][a-z0-9+.-]+)", ",".join(depends)))
    listed = {line for line in (IMAGE / "packages").read_text().splitlines() if not line.startswith("#")}
    assert {"openssl", "haproxy", "nginx-light"} <= wanted
    assert wanted - {"libc6"} <= listed
