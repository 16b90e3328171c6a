"""Line 13: a cell that leaves something for the next visitor, or for the host to keep for ever."""

from __future__ import annotations

import re
import time

import pytest

from tests.escape.leftovers import LEAVE, remains
from tests.escape.scene import end_kernel
from tests.integration.running import INSTALLED, wait_for
from tests.integration.sage_client import SageClient

#: An emulated machine takes many seconds for each.
GENERATIONS = 3 if INSTALLED else 50


@pytest.mark.attack(13, "namespaces, account, SIGKILL of pid 1", "leave files, memory, sockets and processes, 50 times")
def test_fifty_generations_leave_nothing(small):
    def generation():
        client = SageClient(small.url)
        assert client.run(LEAVE).stdout == "left\n"
        found = client.run("print(__import__('os').listdir('/tmp'))").stdout
        assert "left" in found  # the control: within its own life it is all there
        end_kernel(small, client)

    def settled():
        found = [remains(small), time.sleep(0.3), remains(small)]
        rest = found[0] == found[2] and found[0]["processes of kernels"] == 1
        # of other tests' programs there may be results, which are kept for longer
        kept = any(re.match("files/(?!results)", name) for name in found[0]["files of the runtime directory"])
        return found[0] if rest and not kept else None

    generation()  # what is made once is not left
    before = wait_for("the pool has come to rest", settled, 20)
    for _ in range(GENERATIONS):
        generation()
    after = wait_for("the pool has come to rest", settled, 20)
    assert after == before
    with SageClient(small.url) as last:
        seen = last.run(
            "import os; print([os.listdir(place) for place in ('/tmp', '/var/tmp', '/dev/shm', os.getcwd())],"
            " [name for name in os.listdir('/proc') if name.isdecimal()])"
        )
        assert seen.stdout == "[[], [], [], []] ['1']\n"
        end_kernel(small, last)
