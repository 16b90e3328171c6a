"""Kernels of the profiles that an administrator exposes."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.running import Appliance, wait_for

CONFIG = """
[pool]
max_kernels = 4
ready = 4
[profile.small]
exposed = true
open_files = 333
[profile.exam]
open_files = 444
"""
CODE = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


@pytest.fixture(scope="module")
def profiled():
    running = Appliance(CONFIG)
    yield running
    running.stop()


def open_files(appliance, **arguments):
    status, _, body = appliance.request("POST", "/service", {"code": CODE, **arguments})
    document = json.loads(body)
    return int(document["stdout"]) if status == 200 else (status, document["error"])


def kernels(appliance):
    return len(os.listdir(appliance.config.kernels_path))


def test_a_request_chooses_among_the_exposed_profiles(profiled):
    default = profiled.config.profile["default"].open_files
    _, _, body = profiled.request("POST", "/kernel?timeout=inf")
    for profile, expected in (("small", 333), ("default", default), ("small", 333)):
        # with the kernel above, the ready set fills all room: one of another profile must make some
        wait_for("there is no room", lambda: kernels(profiled) == 5, 10)
        assert open_files(profiled, profile=profile) == expected
    assert profiled.request("DELETE", f"/kernel/{json.loads(body)['id']}")[0] == 200
    assert open_files(profiled) == default


def test_a_profile_that_is_not_exposed_looks_like_none(profiled):
    assert open_files(profiled, profile="exam") == open_files(profiled, profile="none") == (400, "unknown_profile")
