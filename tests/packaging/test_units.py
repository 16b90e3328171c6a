"""Units, accounts and directories, read by systemd's own programs without booting anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .machine import ROOT, need

UNITS = ROOT / "units"
#: Highest exposure that `systemd-analyze security` may find, 0 (none) to 10. The launcher's is that of a program which
#: mounts and makes namespaces as root for a moment; each option it leaves out is named in its unit with the reason.
EXPOSURE = {
    "cell-web@0.service": 1.0,
    "cell-pool.service": 1.0,
    "cell-permalink.service": 1.0,
    # the two roles with a network
    "cell-egress.service": 2.0,
    "cell-zygote@python.service": 4.0,
    # root by its uid alone, which restarts units
    "cell-healthcheck.service": 2.0,
    "cell-requestlog.service": 2.0,
    "cell-haproxy.service": 2.0,
    # makes an interface
    "cell-private-network.service": 3.0,
    "cell-nginx.service": 1.0,
}
UNIT_SUFFIXES = (".service", ".socket", ".target", ".slice", ".timer", ".mount")
EXECUTABLES = (
    *(
        f"usr/lib/cell-appliance/libexec/cell-{name}"
        for name in ("web", "pool", "permalink", "egress", "requestlog", "launcher", "edge-settings")
    ),
    "usr/lib/cell-appliance/bin/python",
    "usr/sbin/nginx",
    "usr/sbin/haproxy",
    "usr/sbin/tincd",
    "usr/sbin/nft",
    "bin/kill",
    "bin/rm",
    "usr/bin/cellctl",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root that holds the distribution's units, ours, and something at the path of every program."""
    directory = tmp_path_factory.mktemp("root")
    units = directory / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    system = next(path for path in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system")) if path.is_dir())
    for source in (*system.iterdir(), *UNITS.glob("cell*")):
        if source.is_file() and source.suffix in UNIT_SUFFIXES:
            shutil.copy(source, units)
    for name in EXECUTABLES:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", directory / name)
    for name in ("usr/share/doc/cell-appliance/administration.md", "usr/share/cell-appliance/edge.env"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    return directory


def names() -> list[str]:
    """Return our units, templates with an instance."""
    files = (file.name for suffix in UNIT_SUFFIXES[:-1] for file in UNITS.glob(f"cell*{suffix}"))
    return sorted(
        name.replace("web@.", "web@0.").replace("metrics@.", "metrics@0.").replace("@.", "@python.") for name in files
    )


def test_units_are_correct(root: Path) -> None:
    done = subprocess.run(
        [need("systemd-analyze", "systemd"), "verify", "--man=no", f"--root={root}", *names()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_every_service_has_a_bound() -> None:
    assert set(EXPOSURE) == {name for name in names() if name.endswith(".service")}


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure(root: Path, unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--root={root}", "--no-pager"]
    done = subprocess.run([*command, "--json=short", unit], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    threshold = f"--threshold={int(EXPOSURE[unit] * 10)}"
    score = subprocess.run([*command, threshold, unit], capture_output=True, text=True, check=False)
    worst = sorted(found, key=lambda row: float(row["exposure"] or 0), reverse=True)[:5]
    assert score.returncode == 0, (score.stdout.splitlines()[-1], [row["name"] for row in worst])


@pytest.mark.parametrize("unit", sorted(file.name for file in UNITS.glob("cell-*.service")))
def test_every_group_of_restrictions_says_why(unit: str) -> None:
    paragraphs = (UNITS / unit).read_text().split("\n\n")
    words = ("Protect", "Restrict", "Private", "SystemCall", "Capability", "NoNewPrivileges")
    for paragraph in paragraphs:
        if any(line.startswith(words) for line in paragraph.splitlines()):
            assert "# why: " in paragraph, paragraph


def test_accounts_and_directories(tmp_path: Path) -> None:
    """The accounts that tmpfiles.d names are those that sysusers.d makes."""
    need("systemd-sysusers", "systemd")
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "cell-appliance.sysusers.conf")],
        check=True,
        capture_output=True,
    )
    groups = dict(line.split(":")[0::3] for line in (tmp_path / "etc/group").read_text().splitlines())
    assert groups["cell-web"] == "cell-pool"
    assert set(groups) >= {
        "cell-web",
        "cell-pool",
        "cell-permalink",
        "cell-egress",
        "cell-requestlog",
        "cell-network",
        "cell-static",
        "cell-edge",
    }
    done = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(UNITS / "cell-appliance.tmpfiles.conf")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "run/cell-appliance").iterdir()}
    assert modes == {
        "web": "0o750",
        "files": "0o700",
        "metrics": "0o750",
        "reads": "0o750",
        "pool": "0o2750",
        "kernels": "0o2750",
        "permalink": "0o2750",
        "egress": "0o711",
        "requestlog": "0o2750",
        "zygote": "0o711",
    }


@pytest.mark.parametrize(
    ("toml", "instances"),
    [
        (None, max(2, os.cpu_count() or 1)),
        ("[web]\ninstances = 3\n", 3),
        ("[web]\ninstances = 0\n", max(2, os.cpu_count() or 1)),
        ("[web]\ninstances = 100000\n", 64),
        ('[web]\ninstances = "many"\n', max(2, os.cpu_count() or 1)),
        ("web = 1\n", max(2, os.cpu_count() or 1)),
        ("broken [", max(2, os.cpu_count() or 1)),
    ],
)
def test_a_generator_makes_the_web_roles(tmp_path: Path, toml: str | None, instances: int) -> None:
    configuration, unit = tmp_path / "appliance.toml", tmp_path / "cell-web@.service"
    unit.touch()
    if toml is not None:
        configuration.write_text(toml)
    text = (UNITS / "cell-appliance-generator").read_text()
    for old, new in (
        ("/etc/cell-appliance/appliance.toml", configuration),
        ("/usr/lib/systemd/system", tmp_path),
        ("/lib/systemd/system", tmp_path),
        ("/etc/systemd/system", tmp_path),
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-", str(tmp_path / "out")], input=text, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    made = {path.name: path.readlink() for path in (tmp_path / "out" / "cell.target.wants").iterdir()}
    assert made == {f"cell-web@{number}.service": unit for number in range(instances)}


@pytest.mark.parametrize("unit", sorted(file.name for file in UNITS.glob("cell-*.service")))
def test_passed_sockets_stay_non_blocking(unit: str) -> None:
    """Without it systemd makes them blocking at each start, for everybody who has them."""
    lines = (UNITS / unit).read_text().splitlines()
    assert ("NonBlocking=yes" in lines) == any(line.startswith("Sockets=") for line in lines)
