"""An upgrade of both packages by dpkg where SELinux enforces: what it writes has its labels, and nothing is denied.

It takes as long as everything else in the emulated machine, since dpkg asks for the label of each of the files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.packaging.test_installed import ask, evaluate, show

from .conftest import NEWER
from .test_enforcing import READY, denials

if TYPE_CHECKING:
    from .guest import Guest

pytestmark = pytest.mark.timeout(3600)

NEWER_PACKAGES = "/opt/tests/newer/*.deb"
TREES = (
    "/usr/lib/cell-appliance /usr/share/cell-appliance /etc/cell-appliance /var/lib/cell-appliance /lib/systemd/system"
)


def test_an_upgrade(guest: Guest) -> None:
    """Both packages, by dpkg, while they run; the module is compiled and loaded by the scriptlet."""
    guest.must("systemctl start cell.target", seconds=300)
    guest.wait(READY, seconds=180)
    _, _, text = ask(guest, "POST", "/permalink", "code=print(2)")
    link = json.loads(text)["query"]
    before = set(denials(guest))
    guest.must(f"DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io --install {NEWER_PACKAGES}", seconds=1800)
    guest.wait(READY, seconds=180)
    versions = guest.must("dpkg-query -W -f '${Version} ${db:Status-Status}\\n' cell-appliance cell-appliance-selinux")
    assert versions.split("\n") == [f"{NEWER} installed"] * 2
    assert guest.must("semodule -lfull | grep cell_appliance").split() == ["200", "cell_appliance", "pp"]
    assert guest.must(f"restorecon -nRv {TREES}", seconds=900) == "", "what dpkg has written lacks its label"
    _, _, text = ask(guest, "GET", f"/permalink?q={link}")
    assert json.loads(text)[0] == "print(2)"
    assert evaluate(guest, "print(6*7)")["stdout"] == "42\n"
    web = show(guest, "cell-web@0.service", "MainPID")
    assert guest.must(f"cat /proc/{web}/attr/current").rstrip("\0") == "system_u:system_r:cell_web_t:s0"
    assert set(denials(guest)) == before
