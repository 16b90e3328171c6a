"""A step of the sandbox that fails leaves no kernel, and says why."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.running import Appliance, wait_for
from tests.integration.test_many_requests import kernel_processes


@pytest.fixture
def broken():
    # one inode is the root of the scratch space itself: making the home directory in it fails
    running = Appliance("[pool]\nready = 1\n[profile.default]\nscratch_inodes = 1\n", wait_until_ready=False)
    yield running
    running.stop()


@pytest.mark.attack(17, "a step that fails ends the fork", "no room for the scratch space")
def test_there_is_no_kernel_and_the_reason_is_told(broken):
    wait_for("a first try", lambda: any("could not be set up" in line for line in broken.output), 30)
    status, headers, body = broken.request("POST", "/kernel")
    document = json.loads(body)
    assert status == 503
    assert document["error"] == "environment_unavailable"
    assert "mounts: " in document["message"]
    assert "No space left on device" in document["message"]
    assert int(headers["retry-after"]) > 0
    # it is tried again, with growing pauses; between two tries nothing is there
    wait_for("no process and no directory", lambda: _nothing_left(broken), 5)

    status, _, body = broken.request("GET", "/healthz")
    assert status == 503
    assert "mounts: " in json.loads(body)["pool"]["last_failure"]
    assert any("could not be set up: mounts: " in line for line in broken.output)


def _nothing_left(appliance):
    return kernel_processes(appliance) == [] and os.listdir(appliance.config.kernels_path) == []
