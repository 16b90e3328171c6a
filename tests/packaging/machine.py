"""What the tests of packages need from the machine, and where they keep what is expensive to make."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Downloads and the bare Debian root: kept between runs.
CACHE = ROOT / ".dev" / "packaging"
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def need(command: str, package: str) -> str:
    """Return the path of ``command``; fail, naming Debian's package, when it is missing."""
    found = shutil.which(command, path=SEARCH)
    if found is None:
        pytest.fail(f"{command} is needed: apt-get install {package}")
    return found


#: Configuration files of both kinds of package: what an administrator changed is kept on upgrade.
CONFIGURATION = {
    "/etc/cell-appliance/appliance.toml",
    "/etc/cell-appliance/haproxy/haproxy.cfg",
    *(f"/etc/cell-appliance/nginx/{path.name}" for path in (ROOT / "nginx").glob("*.conf")),
}
