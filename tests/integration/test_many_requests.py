"""200 requests for a kernel at once against a limit of 20."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib

import psutil
import pytest

from tests.integration.running import Appliance, wait_for

LIMIT = 20


@pytest.fixture
def crowded():
    running = Appliance(f"[pool]\nmax_kernels = {LIMIT}\nready = 4\n")
    yield running
    running.stop()


def kernel_processes(appliance):
    """Return the pids of kernels: processes of this appliance under an account of the range."""
    ids = appliance.config.ids
    return [process.pid for process in appliance.family() if ids.base + 1000 <= _uid(process) < ids.base + ids.count]


def _uid(process):
    try:
        return process.uids().real
    except psutil.NoSuchProcess:
        return -1


@pytest.mark.attack(28, "pool.max_kernels", "200 starts at once against a limit of 20")
def test_the_limit_holds_and_afterwards_nothing_remains(crowded):
    with concurrent.futures.ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(lambda _: crowded.request("POST", "/kernel?timeout=inf"), range(200)))
    granted = [json.loads(body) for status, _, body in answers if status == 200]
    refused = [(headers, json.loads(body)) for status, headers, body in answers if status != 200]
    assert len(granted) == LIMIT
    assert len({document["id"] for document in granted}) == LIMIT
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(int(headers["retry-after"]) > 0 for headers, _ in refused)
    assert {document["error"] for _, document in refused} == {"pool_exhausted"}
    # one more is kept for the health check
    assert LIMIT <= len(kernel_processes(crowded)) <= LIMIT + 1

    status, _, body = crowded.request("GET", "/healthz")
    assert status == 200, body

    for document in granted:
        assert crowded.request("DELETE", f"/kernel/{document['id']}")[0] == 200
    directory = pathlib.Path(crowded.config.kernels_path)
    given = {document["id"] for document in granted}
    wait_for("no leased kernel is left", lambda: not given & set(os.listdir(directory)), 10)
    wait_for(
        "no process of a leased kernel is left",
        lambda: len(kernel_processes(crowded)) <= crowded.config.pool.ready,
        10,
    )
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    assert str(crowded.config.runtime_dir) not in mounts
    wait_for("kernels can be leased again", crowded.evaluates, 10)
