"""Kernels of the profiles that an administrator exposes."""

from __future__ import annotations

import json

import pytest

from tests.integration.running import Appliance

#: The ready set fills all room, so that one of another profile must make some.
CONFIG = """
[pool]
max_kernels = 2
ready = 2
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


def test_a_request_chooses_among_the_exposed_profiles(profiled):
    assert open_files(profiled) == profiled.config.profile["default"].open_files
    for _ in range(3):
        assert open_files(profiled, profile="small") == 333
        assert open_files(profiled, profile="default") == profiled.config.profile["default"].open_files


def test_a_profile_that_is_not_exposed_looks_like_none(profiled):
    assert open_files(profiled, profile="exam") == open_files(profiled, profile="none") == (400, "unknown_profile")
