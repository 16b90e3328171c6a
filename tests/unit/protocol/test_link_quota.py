from __future__ import annotations

import pytest

from appliance.errors import QuotaExceeded
from appliance.protocol import link_quota
from appliance.protocol.link_quota import LinkQuota


def test_links_of_an_hour_come_back_evenly() -> None:
    quota = LinkQuota(10, 0)
    for _ in range(10):
        quota.charge("a", 5, 0.0)
    with pytest.raises(QuotaExceeded, match="10 cells") as refused:
        quota.charge("a", 5, 0.0)
    assert refused.value.retry_after_seconds == pytest.approx(360)
    quota.charge("b", 5, 0.0)
    quota.charge("a", 5, 361.0)
    with pytest.raises(QuotaExceeded):
        quota.charge("a", 5, 361.0)


def test_bytes_are_counted_too_and_a_refused_cell_costs_nothing() -> None:
    quota = LinkQuota(0, 1000)
    quota.charge("a", 900, 0.0)
    with pytest.raises(QuotaExceeded, match="1000 bytes"):
        quota.charge("a", 101, 0.0)
    quota.charge("a", 100, 0.0)


@pytest.mark.parametrize(("quota", "address"), [(LinkQuota(0, 0), "a"), (LinkQuota(1, 1), "")])
def test_no_limit_and_no_address(quota: LinkQuota, address: str) -> None:
    for _ in range(100):
        quota.charge(address, 10**9, 0.0)


def test_a_clock_that_goes_back_gives_nothing_and_breaks_nothing() -> None:
    quota = LinkQuota(1, 0)
    quota.charge("a", 1, 100.0)
    with pytest.raises(QuotaExceeded):
        quota.charge("a", 1, 50.0)


def test_the_table_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_quota, "MAX_ADDRESSES", 3)
    quota = LinkQuota(1, 0)
    for number in range(10):
        quota.charge(str(number), 1, 0.0)
    assert list(quota._used) == ["7", "8", "9"]
    quota.charge("0", 1, 0.0)
