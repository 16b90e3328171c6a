"""Category pairs, and when SELinux confines kernels."""

from __future__ import annotations

import pytest

from appliance.zygote import selinux


def test_every_slot_has_a_pair_of_its_own():
    pairs = [selinux.pair(slot) for slot in range(65_536)]
    assert len(set(pairs)) == 65_536
    assert all(0 <= low < high < selinux.CATEGORIES for low, high in pairs)


def test_the_last_pair_is_the_highest():
    assert selinux.pair(523_775) == (1022, 1023)


@pytest.mark.parametrize("slot", [-1, 523_776])
def test_a_slot_without_a_pair_is_an_error(slot):
    with pytest.raises(ValueError, match="no category pair"):
        selinux.pair(slot)


def test_the_context_of_a_kernel():
    context = selinux.kernel_context("system_u:system_r:cell_zygote_t:s0\0", 5)
    assert context == "system_u:system_r:cell_kernel_t:s0:c2,c3"


def test_the_scratch_space_has_the_pair_of_its_kernel():
    assert selinux.scratch_context(5) == "system_u:object_r:cell_kernel_scratch_t:s0:c2,c3"


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        ("system_u:system_r:cell_zygote_t:s0\0\n", ""),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\n", "runs in unconfined_t, not in cell_zygote_t"),
        ("kernel\n", "not active"),
    ],
)
def test_it_confines_only_with_our_policy(monkeypatch, tmp_path, current, reason):
    file = tmp_path / "current"
    file.write_text(current)
    monkeypatch.setattr(selinux, "CURRENT", str(file))
    found = selinux.unavailable()
    assert (reason in found) if reason else found == ""


def test_a_kernel_without_selinux_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(selinux, "CURRENT", str(tmp_path / "absent"))
    assert "no SELinux" in selinux.unavailable()
