"""Reading what Linux says of memory pressure."""

from __future__ import annotations

import pytest

from appliance.pool import pressure


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("some avg10=0.12 avg60=0.00 avg300=0.00 total=1234\n", 0.12),
        ("some avg10=99.90 avg60=1.00", 99.9),
        ("some avg10=much", 0.0),
        ("", 0.0),
    ],
)
def test_parse(line, percent):
    assert pressure.parse(line) == percent


def test_a_host_that_does_not_measure_has_no_pressure(monkeypatch, tmp_path):
    monkeypatch.setattr(pressure, "_FILE", str(tmp_path / "absent"))
    assert pressure.memory_percent() == 0.0
