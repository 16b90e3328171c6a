"""Lines 1 to 14: a cell that tries to leave its cell, to reach another, or to leave something behind."""

from __future__ import annotations

import os

import pytest

from tests.escape.attempts import ATTEMPTS
from tests.escape.scene import Scene

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="the control needs root of the host")


@pytest.fixture(scope="module")
def scene(appliance):
    scene = Scene(appliance)
    yield scene
    scene.close()


def case(attempt):
    mark = pytest.mark.attack(attempt.number, attempt.layer, attempt.name)
    return pytest.param(attempt, id=f"{attempt.number}: {attempt.name}", marks=mark)


@pytest.mark.parametrize("attempt", [case(attempt) for attempt in ATTEMPTS])
def test_a_program_gets_nowhere(scene, attempt):
    verdict = scene.inside(attempt)
    assert verdict.removeprefix("refused ") in attempt.refusals, verdict


@root_only
@pytest.mark.parametrize("attempt", [attempt for attempt in ATTEMPTS if attempt.control], ids=lambda one: one.name)
def test_the_same_program_gets_through_outside(scene, attempt):
    assert scene.outside(attempt) == "reached"
