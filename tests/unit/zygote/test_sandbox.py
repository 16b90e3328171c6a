"""What the sandbox accepts as limits, and that a failing step is named."""

from __future__ import annotations

import mmap

import pytest

from appliance.config import Profile
from appliance.zygote import sandbox

GOOD = Profile().limits


def test_the_limits_are_those_of_the_configuration():
    assert sandbox.Limits.parse(GOOD) == sandbox.Limits(**GOOD)


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {**GOOD, "extra": 1}, {key: value for key, value in GOOD.items() if key != "processes"}],
)
def test_other_fields_are_refused(document):
    with pytest.raises(ValueError, match="expected exactly the fields memory_bytes"):
        sandbox.Limits.parse(document)


@pytest.mark.parametrize("value", [0, -1, 1 << 48, True, 1.5, "64", None])
def test_other_values_are_refused_by_name(value):
    with pytest.raises(ValueError, match="processes must be a positive integer"):
        sandbox.Limits.parse({**GOOD, "processes": value})


@pytest.mark.parametrize("failing", ["_setup_mounts", "_setup_limits", "_setup_account", "_check_dropped"])
def test_a_failing_step_ends_the_set_up_and_is_named(monkeypatch, failing):
    done = []
    for name in (
        "_close_descriptors",
        "_setup_cgroup",
        "_setup_mounts",
        "_setup_limits",
        "_setup_account",
        "_check_dropped",
    ):
        monkeypatch.setattr(sandbox, name, lambda *_, name=name: done.append(name))
    for name in ("unshare", "bring_loopback_up", "drop_bounding_capabilities", "clear_capabilities"):
        monkeypatch.setattr(sandbox.linux, name, lambda *_: None)
    monkeypatch.setattr(sandbox.linux, "prctl", lambda *_: 0)
    monkeypatch.setattr(sandbox.linux, "load_seccomp", lambda *_: None)
    monkeypatch.setattr(sandbox.os, "setsid", lambda: None)
    monkeypatch.setattr(sandbox.socket, "sethostname", lambda _: None)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sandbox, failing, fail)
    confinement = sandbox.Confinement(b"", b"filter", -1, 40, None)
    with pytest.raises(sandbox.SetupFailed) as caught:
        sandbox.enter(1000, sandbox.Limits(**GOOD), confinement, [])
    steps = {"_setup_mounts": "mounts", "_setup_limits": "limits", "_setup_account": "account"}
    assert caught.value.step == steps.get(failing, "check")
    assert "No space left" in caught.value.error
    assert failing not in done


def test_a_kernel_whose_memory_nothing_counts_is_refused():
    confinement = sandbox.Confinement(b"", b"", -1, 40, None)
    steps = dict(sandbox.steps(1000, sandbox.Limits(**GOOD), confinement, [], ""))
    with pytest.raises(OSError, match="nothing counts"):
        steps["memory of no process"]()


def test_data_that_is_mapped_is_counted():
    before = sandbox.mapped_data_bytes()
    mapping = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    grown = sandbox.mapped_data_bytes() - before
    mapping.close()
    assert 64 << 20 <= grown < 80 << 20
