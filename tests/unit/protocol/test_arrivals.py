"""The estimate of arrivals."""

from __future__ import annotations

import pytest

from appliance.protocol.arrivals import HALF_LIFE, Arrivals


def regular(rate: float, seconds: float) -> Arrivals:
    arrivals = Arrivals()
    for number in range(int(rate * seconds)):
        arrivals.note(number / rate)
    return arrivals


def test_nothing_is_expected_when_nobody_came():
    assert Arrivals().expected(100.0, 1.0) == 0


@pytest.mark.parametrize("rate", [0.5, 2.0, 20.0])
def test_a_steady_rate_is_found(rate):
    assert regular(rate, 300.0).rate(300.0) == pytest.approx(rate, rel=0.05)


def test_a_burst_is_seen_at_once_and_forgotten_later():
    arrivals = regular(10.0, 5.0)
    assert arrivals.expected(5.0, 1.0) >= 4
    assert arrivals.expected(5.0 + 20 * HALF_LIFE, 1.0) == 0


def test_it_is_halved_by_the_half_life():
    arrivals = regular(10.0, 60.0)
    assert arrivals.rate(60.0 + HALF_LIFE) == pytest.approx(arrivals.rate(60.0) / 2)


def test_a_clock_that_goes_back_does_no_harm():
    arrivals = regular(1.0, 10.0)
    assert arrivals.rate(0.0) <= arrivals.rate(9.0) + 1e-9
