"""Debian's own test of the package, run by Debian's own tool on a machine where it installs the package itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .inside import evaluate

if TYPE_CHECKING:
    from .nspawn import Machine

#: The first test may have to make the root.
pytestmark = pytest.mark.timeout(900)


def test_the_smoke_test_passes(equipped: Machine) -> None:
    done = equipped.run("autopkgtest /packages/cell-appliance_*.deb /source// -- null", seconds=600)
    assert done.status == 0, done.output
    words = [line.split() for line in done.output.splitlines()]
    assert ["smoke", "PASS"] in words, done.output


def test_it_fails_when_the_appliance_does_not_work(equipped: Machine) -> None:
    """A test that cannot fail would prove nothing. The package of the test before is installed."""
    assert evaluate(equipped, "print(2+2)")["stdout"] == "4\n"
    equipped.must("systemctl mask --runtime --now cell-permalink.socket cell-permalink.service")
    try:
        done = equipped.run("sh /source/debian/tests/smoke", seconds=120)
        assert done.status != 0, done.output
    finally:
        equipped.must("systemctl unmask --runtime cell-permalink.socket cell-permalink.service")
        equipped.must("systemctl start cell.target")
