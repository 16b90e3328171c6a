from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integration.installed import Installed
from tests.integration.running import INSTALLED, ROOT, Appliance

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One browser for the tests of every folder; a guest of tests/vm has none.
pytest_plugins = [] if INSTALLED else ["tests.browser.fixtures"]

#: Small enough to be exhausted by a test, large enough for the others.
CONFIG = """
[pool]
max_kernels = 20
ready = 2
"""


@pytest.fixture(scope="session")
def appliance() -> Iterator[Appliance | Installed]:
    """Serve one appliance to all tests of the session; check at the end that it leaves nothing."""
    if INSTALLED:
        yield Installed()
        return
    if shutil.which("setpriv") is None:
        pytest.fail("setpriv (util-linux) is needed")
    running = Appliance(CONFIG)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def sage_appliance() -> Iterator[Appliance]:
    """Serve an appliance with the Sage that ./dev has added, to all tests of the session."""
    place = ROOT / ".dev/sage"
    if not place.exists():
        pytest.fail("Sage is not there: './dev test integration' adds it")
    running = Appliance(
        f'environments_dir = "{place.read_text().strip()}"\n'
        "[pool]\nmax_kernels = 8\nready = 1\nstart_seconds = 60.0\nlease_wait_seconds = 120.0\n"
        "[environment.python]\npreload = []\n",
        wait_until_ready=False,
    )
    yield running
    running.stop()
