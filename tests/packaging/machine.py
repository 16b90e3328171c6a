"""What the tests of packages need from the machine, and where they keep what is expensive to make."""

from __future__ import annotations

import abc
import os
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass
class Result:
    """The end of a command in the machine."""

    status: int
    output: str


class Shell(abc.ABC):
    """A machine that runs commands as its root."""

    @abc.abstractmethod
    def run(self, command: str | Sequence[str], *, seconds: float = 60.0, stdin: str | None = None) -> Result:
        """Run a shell command, or an argument vector, as root in the machine."""

    def must(self, command: str | Sequence[str], *, seconds: float = 60.0, stdin: str | None = None) -> str:
        """Run a command that has to succeed; return what it printed."""
        done = self.run(command, seconds=seconds, stdin=stdin)
        shown = command if isinstance(command, str) else shlex.join(command)
        assert done.status == 0, f"{shown}: exit status {done.status}\n{done.output}"
        return done.output.strip()

    def wait(self, command: str, *, seconds: float = 30.0) -> None:
        """Wait until a command succeeds."""
        deadline = time.monotonic() + seconds
        while (done := self.run(command)).status != 0:
            if time.monotonic() > deadline:
                pytest.fail(f"{command}: still exit status {done.status} after {seconds} s\n{done.output}")
            time.sleep(0.1)


#: Configuration files of both kinds of package: what an administrator changed is kept on upgrade.
CONFIGURATION = {
    "/etc/cell-appliance/appliance.toml",
    "/etc/cell-appliance/haproxy/haproxy.cfg",
    *(f"/etc/cell-appliance/nginx/{path.name}" for path in (ROOT / "nginx").glob("*.conf")),
}
