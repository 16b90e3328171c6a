"""How many kernels one page and one address get, and how much processor time."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.integration.running import Appliance, wait_for
from tests.integration.sage_client import SageClient

CONFIG = """
[pool]
max_kernels = 12
ready = 2
[quota]
kernels_per_page = 2
kernels_per_address = 4
cpu_seconds_per_hour = 6.0
"""


@pytest.fixture
def sparing():
    running = Appliance(CONFIG)
    yield running
    running.stop()


def start(appliance, page):
    status, headers, body = appliance.request("POST", f"/kernel?timeout=inf&CellSessionID={page}")
    document = json.loads(body)
    return document["id"] if status == 200 else (status, document["error"], document["message"], headers)


def test_a_page_and_an_address_get_their_share_and_no_more(sparing):
    kernels = [start(sparing, "a"), start(sparing, "a")]
    status, code, message, headers = start(sparing, "a")
    assert (status, code) == (429, "quota_exceeded")
    assert message.startswith("This page has 2 kernels")
    assert int(headers["retry-after"]) > 0
    kernels += [start(sparing, "b"), start(sparing, "c")]
    assert all(isinstance(kernel, str) for kernel in kernels)
    assert start(sparing, "d")[2].startswith("Your network address has 4 kernels")
    assert sparing.request("POST", "/service", {"code": "1"})[0] == 429
    assert sparing.request("GET", "/healthz")[0] == 200

    # what a kernel's lessee may have outlives the pool's process
    os.kill(sparing.pid_of("pool"), signal.SIGKILL)
    wait_for("the pool is back", lambda: start(sparing, "d")[0] == 429, 10)

    assert sparing.request("DELETE", f"/kernel/{kernels[0]}")[0] == 200
    wait_for("the page may have another", lambda: isinstance(start(sparing, "a"), str), 5)


@pytest.mark.parametrize(
    "code",
    [
        "import time\nend = time.process_time() + 7\nwhile time.process_time() < end: pass",
        "import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "def ticks(): return int(open(f'/proc/{child.pid}/stat').read().split()[13])\n"
        "while ticks() < 700: time.sleep(0.1)",
    ],
    ids=["in the kernel", "in a child that nobody waits for"],
)
def test_an_address_gets_so_much_processor_time_within_an_hour(sparing, code):
    with SageClient(sparing.url, seconds=60) as client:
        client.run(code)
    sparing.request("DELETE", f"/kernel/{client.kernel_id}")
    time.sleep(0.5)
    status, _, message, headers = start(sparing, "z")
    assert status == 429
    assert "6 seconds of processor time" in message
    assert 3000 < int(headers["retry-after"]) <= 3600
