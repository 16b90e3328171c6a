"""docs/install.md, operate.md and upgrade.md, followed literally on a bare machine, the upgrade with visitors."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from .inside import evaluate
from .load import visitors
from .machine import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .nspawn import Machine

pytestmark = pytest.mark.timeout(900)

EDGE = "http://127.0.0.1:80"


def commands(document: str) -> list[str]:
    """Return the blocks of shell commands of a document, in their order."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def follow(machine: Machine, blocks: list[str]) -> str:
    """Run blocks of commands in root's home, saying yes to questions; return what the last one printed."""
    printed = ""
    for block in blocks:
        printed = machine.must(["sh", "-euxc", f"cd /root\n{block}"], seconds=300, stdin="y\n")
    return printed


def send(machine: Machine, file: Path, name: str) -> None:
    """Put a file into root's home of the machine."""
    with file.open("rb") as source:
        subprocess.run([*machine.prefix, "dd", f"of=/root/{name}", "bs=1M", "status=none"], stdin=source, check=True)


def test_install(machine: Machine, debs: Path) -> None:
    (package,) = debs.glob("cell-appliance_*.deb")
    send(machine, package, package.name)
    blocks = commands("install.md")
    assert len(blocks) >= 5
    assert "an evaluation came out right" in follow(machine, blocks)
    assert evaluate(machine, "print(2+2)", at=EDGE)["stdout"] == "4\n"


def test_operate(machine: Machine) -> None:
    with visitors(machine, EDGE) as load:
        link = machine.must(
            "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1/permalink', data=b'code=kept')"
            '.read().decode())"'
        )
        follow(machine, [block for block in commands("operate.md") if "drain" not in block and "restore" not in block])
    assert load.failures == []
    follow(machine, [block for block in commands("operate.md") if "drain" in block or "restore" in block])
    query = re.findall(r'"query": "([^"]+)"', link)[0]
    kept = machine.must(
        f"python3 -c \"import urllib.request as u; print(u.urlopen('{EDGE}/permalink?q={query}').read())\""
    )
    assert "kept" in kept
    listed = machine.must("tar tzf /var/tmp/support.tar.gz")
    assert {line.split("/")[1] for line in listed.splitlines()} >= {"journal.txt", "status.json", "doctor.txt"}
    assert machine.must("stat -c %a /var/tmp/support.tar.gz /var/backups/cells.tar.gz") == "600\n600"


def test_upgrade(machine: Machine, newer: Path) -> None:
    send(machine, newer, "cell-appliance_0.1.1_amd64.deb")
    there, back = commands("upgrade.md")
    with visitors(machine, EDGE) as load:
        follow(machine, [there])
    assert load.failures == []
    assert machine.must("dpkg-query -W -f '${Version}' cell-appliance") == "0.1.1"
    follow(machine, [back])
    assert machine.must("dpkg-query -W -f '${Version}' cell-appliance") == "0.1.0"
    assert evaluate(machine, "print(2+2)", at=EDGE)["stdout"] == "4\n"
    # what the administrator changed has been kept
    machine.must("grep -q 'proxy_protocol = true' /etc/cell-appliance/appliance.toml")
    machine.must("grep -q 'CELL_COMPUTATIONS_PER_ADDRESS=300' /etc/cell-appliance/edge.env")
