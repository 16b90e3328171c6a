from __future__ import annotations

import pytest

from appliance.errors import QuotaExceeded
from appliance.protocol import quota
from appliance.protocol.quota import (
    STEP_SECONDS,
    WINDOW_SECONDS,
    CpuLedger,
    QuotaLimits,
    address_group,
    check_cpu,
    check_kernels,
    page_group,
)

LIMITS = QuotaLimits(kernels_per_page=2, kernels_per_address=3, cpu_seconds_per_hour=100.0)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("", ""),
        ("/run/web.sock", ""),
        ("192.0.2.7, 203.0.113.9", ""),
    ],
)
def test_an_address_is_counted_with_its_subscriber(host, group):
    assert address_group(host) == group


def test_a_page_is_known_by_its_id_else_by_the_site_that_embeds_it():
    page = page_group("192.0.2.7", "id", "https://a.example")
    assert page == page_group("192.0.2.7", "id", "https://b.example")
    assert page != page_group("192.0.2.8", "id", "https://a.example")
    assert page != page_group("192.0.2.7", "other", "https://a.example")
    site = page_group("192.0.2.7", "", "https://a.example")
    assert site not in ("", page, page_group("192.0.2.7", "", "https://b.example"))
    assert page_group("192.0.2.7", "", "") == page_group("192.0.2.7", "", "null") == ""
    assert len(page_group("192.0.2.7", "\udcff" + "x" * 100_000, "")) == 32


def test_a_page_and_an_address_have_so_many_kernels():
    check_kernels(LIMITS, 1, 2, 5.0)
    with pytest.raises(QuotaExceeded, match="This page has 2 kernels") as caught:
        check_kernels(LIMITS, 2, 2, 5.0)
    assert caught.value.retry_after_seconds == 5.0
    with pytest.raises(QuotaExceeded, match="Your network address has 3 kernels"):
        check_kernels(LIMITS, 0, 3, 5.0)
    check_kernels(QuotaLimits(), 10**6, 10**6, 5.0)


def test_processor_time_is_counted_for_an_hour():
    ledger = CpuLedger()
    ledger.charge("a", 60.0, 0.0)
    ledger.charge("a", 30.0, STEP_SECONDS)
    ledger.charge("a", 5.0, STEP_SECONDS + 1)
    assert ledger.used("a", STEP_SECONDS + 2) == 95.0
    assert ledger.used("b", 0.0) == 0.0
    check_cpu(LIMITS, ledger, "a", 600.0)
    ledger.charge("a", 10.0, 700.0)
    with pytest.raises(QuotaExceeded, match=r"the 100 seconds of processor time .* in 49 min\.") as caught:
        check_cpu(LIMITS, ledger, "a", 700.0)
    eases_at = 700.0 + caught.value.retry_after_seconds
    assert eases_at == WINDOW_SECONDS
    with pytest.raises(QuotaExceeded):
        check_cpu(LIMITS, ledger, "a", eases_at - 1)
    check_cpu(LIMITS, ledger, "a", eases_at)
    check_cpu(LIMITS, ledger, "b", 700.0)


def test_more_than_the_whole_limit_at_once_eases_after_an_hour():
    ledger = CpuLedger()
    ledger.charge("a", 1000.0, 10.0)
    ledger.charge("a", 1000.0, 2000.0)
    seconds = ledger.eases_in("a", 100.0, 2000.0)
    assert 0 < seconds <= WINDOW_SECONDS
    assert ledger.used("a", 2000.0 + seconds) < 100.0


def test_who_has_no_address_and_what_is_no_time_is_not_counted():
    ledger = CpuLedger()
    ledger.charge("", 1000.0, 0.0)
    ledger.charge("a", 0.0, 0.0)
    ledger.charge("a", -5.0, 0.0)
    assert not ledger._steps
    check_cpu(LIMITS, ledger, "", 0.0)
    ledger.charge("a", 1000.0, 0.0)
    check_cpu(QuotaLimits(), ledger, "a", 0.0)


def test_the_table_is_bounded_and_forgets_who_was_charged_least_recently(monkeypatch):
    monkeypatch.setattr(quota, "MAX_ADDRESSES", 2)
    ledger = CpuLedger()
    for address in ("a", "b", "a", "c"):
        ledger.charge(address, 1.0, 0.0)
    assert [ledger.used(address, 0.0) for address in ("a", "b", "c")] == [2.0, 0.0, 1.0]


def test_one_address_keeps_no_more_than_an_hour():
    ledger = CpuLedger()
    for minute in range(1000):
        ledger.charge("a", 1.0, minute * 60.0)
    assert len(ledger._steps["a"]) == quota.STEPS
