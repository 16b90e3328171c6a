from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs
import pytest

from appliance import confinement
from appliance.config import Config, Pool
from appliance.confinement import Layer, State

if TYPE_CHECKING:
    import pathlib


def test_an_attempt_reports_what_its_child_found() -> None:
    assert confinement.attempt(lambda: "fine") == (True, "fine")
    assert confinement.attempt(lambda: None) == (True, "")


def test_an_attempt_reports_an_error_and_its_child_never_returns() -> None:
    before = os.getpid()

    def refuse() -> str:
        raise PermissionError(1, "Operation not permitted")

    def fail() -> str:
        raise ValueError("wrong")

    assert confinement.attempt(refuse) == (False, "Operation not permitted")
    assert confinement.attempt(fail) == (False, "ValueError: wrong")
    assert os.getpid() == before


def test_an_attempt_that_dies_or_hangs_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "PROBE_SECONDS", 0.05)

    def die() -> str:
        os._exit(3)

    def hang() -> str:
        read, _write = os.pipe()
        return os.read(read, 1).decode()

    assert confinement.attempt(die) == (False, "the probe died")
    assert confinement.attempt(hang) == (False, "no answer within 0.05 s")


def mountinfo(tmp_path: pathlib.Path, *mounts: tuple[str, str]) -> pathlib.Path:
    file = tmp_path / "mountinfo"
    file.write_text("".join(f"30 1 0:26 / {point} rw shared:1 - {kind} {kind} rw\n" for point, kind in mounts))
    return file


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ([("/", "ext4")], "no cgroup hierarchy"),
        ([("/sys/fs/cgroup/memory", "cgroup")], "cgroup v1"),
        ([("/sys/fs/cgroup/memory", "cgroup"), ("/sys/fs/cgroup/unified", "cgroup2")], "hybrid"),
    ],
)
def test_old_cgroups_are_named_plainly(tmp_path: pathlib.Path, mounts: list[tuple[str, str]], words: str) -> None:
    layer = confinement.cgroups(mountinfo(tmp_path, *mounts))
    assert layer.state is State.UNAVAILABLE
    assert words in layer.detail
    assert "systemd.unified_cgroup_hierarchy=1" in layer.advice
    assert not layer.missing


def test_a_pure_hierarchy_is_on_when_delegated(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mountinfo(tmp_path, ("/sys/fs/cgroup", "cgroup2"))
    monkeypatch.setattr(confinement.cgroup, "of_units", list)
    monkeypatch.setattr(confinement.cgroup, "find", lambda: "/sys/fs/cgroup/cell.slice")
    assert confinement.cgroups(file).state is State.ON

    def refuse() -> str:
        raise confinement.cgroup.NotDelegated("not ours")

    monkeypatch.setattr(confinement.cgroup, "find", refuse)
    layer = confinement.cgroups(file)
    assert (layer.state, layer.detail) == (State.OFF, "not ours")
    assert "Delegate=yes" in layer.advice


def test_the_units_subtrees_count_whoever_asks(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement.cgroup, "of_units", lambda: ["/sys/fs/cgroup/cell-zygote@python.service"])
    layer = confinement.cgroups(mountinfo(tmp_path, ("/sys/fs/cgroup", "cgroup2")))
    assert layer.state is State.ON
    assert "cell-zygote@python.service" in layer.detail


def test_a_missing_filter_is_a_missing_layer(tmp_path: pathlib.Path) -> None:
    layer = confinement.seccomp(tmp_path / "seccomp.bpf")
    assert layer.missing
    assert layer.state is State.OFF
    assert "./dev" in layer.advice


def test_a_broken_filter_is_a_missing_layer(tmp_path: pathlib.Path) -> None:
    for program in (b"", b"12345", b"12345678"):
        (tmp_path / "seccomp.bpf").write_bytes(program)
        assert confinement.seccomp(tmp_path / "seccomp.bpf").missing


def test_a_working_filter_is_loaded(tmp_path: pathlib.Path) -> None:
    allow_everything = bytes.fromhex("060000000000ff7f")  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW
    (tmp_path / "seccomp.bpf").write_bytes(allow_everything)
    layer = confinement.seccomp(tmp_path / "seccomp.bpf")
    assert layer.in_force
    assert "1 instructions" in layer.detail


def test_selinux_states(tmp_path: pathlib.Path) -> None:
    assert confinement.selinux(tmp_path / "none").state is State.UNAVAILABLE
    (tmp_path / "enforce").write_text("1")
    assert confinement.selinux(tmp_path).state is State.OFF
    (tmp_path / "context").write_text("")
    assert confinement.selinux(tmp_path).state is State.ON
    (tmp_path / "enforce").write_text("0")
    assert "permissive" in confinement.selinux(tmp_path).detail


@pytest.mark.parametrize(
    ("release", "new_enough"),
    [("6.18.44-fc", True), ("5.14.0-503.el9", True), ("5.10.0-8-amd64", False), ("4.18.0", False), ("strange", False)],
)
def test_the_kernel_must_be_new_enough(release: str, new_enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement.platform, "release", lambda: release)
    assert confinement.kernel_version().missing is not new_enough


def test_too_little_memory_is_missing() -> None:
    assert confinement.memory(Config()).in_force
    greedy = attrs.evolve(Config(), pool=Pool(ready=10**7, max_kernels=10**7))
    assert confinement.memory(greedy).missing


def test_only_required_layers_are_missing() -> None:
    assert Layer("x", State.OFF, "", required=True).missing
    assert not Layer("x", State.OFF, "").missing
    assert not Layer("x", State.ON, "", required=True).missing
