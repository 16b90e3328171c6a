from __future__ import annotations

import pytest

from appliance.protocol import metrics
from appliance.protocol.metrics import Registry


def test_the_text_is_what_prometheus_reads() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests.", ("route", "status"))
    requests.add("/a", "200")
    requests.add("/a", "200", by=2)
    requests.add('/"\\\n', "500")
    seconds = registry.histogram("seconds", "Time.", ("route",), bounds=(0.5, 1.0))
    for value in (0.25, 0.5, 0.75, 2.0):
        seconds.observe(value, "/a")
    registry.gauge("up", "Up.", lambda: {("b",): 1.0, ("a",): 0.5}, ("role",))
    registry.count("drops_total", "Drops.", lambda: 7)
    assert registry.render() == (
        "# HELP drops_total Drops.\n# TYPE drops_total counter\ndrops_total 7\n"
        "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
        'requests_total{route="/\\"\\\\\\n",status="500"} 1\n'
        'requests_total{route="/a",status="200"} 3\n'
        "# HELP seconds Time.\n# TYPE seconds histogram\n"
        'seconds_bucket{route="/a",le="0.5"} 2\n'
        'seconds_bucket{route="/a",le="1"} 3\n'
        'seconds_bucket{route="/a",le="+Inf"} 4\n'
        'seconds_sum{route="/a"} 3.5\n'
        'seconds_count{route="/a"} 4\n'
        '# HELP up Up.\n# TYPE up gauge\nup{role="a"} 0.5\nup{role="b"} 1\n'
    )


def test_a_counter_without_labels_is_there_from_the_beginning() -> None:
    registry = Registry()
    registry.counter("a_total", "A.").add()
    registry.counter("b_total", "B.")
    assert "a_total 1\n" in registry.render()
    assert "b_total 0\n" in registry.render()


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    registry = Registry()
    counter, histogram = registry.counter("a_total", "A.", ("x",)), registry.histogram("b", "B.", ("x",), (1.0,))
    for number in range(10):
        counter.add(str(number))
        histogram.observe(1.0, str(number))
    assert registry.render().count("a_total{") == 3
    assert registry.render().count("b_count{") == 3


def test_mistakes_are_errors() -> None:
    registry = Registry()
    counter = registry.counter("a_total", "A.", ("x",))
    with pytest.raises(ValueError, match="labels"):
        counter.add()
    with pytest.raises(ValueError, match="labels"):
        registry.histogram("b", "B.").observe(1.0, "x")
    with pytest.raises(ValueError, match="already"):
        registry.counter("a_total", "A.")
