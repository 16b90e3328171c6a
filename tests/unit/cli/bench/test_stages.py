from __future__ import annotations

import math

import pytest

from appliance.cli.bench import run
from appliance.cli.bench.stages import Climb, Stage, stage_of
from appliance.cli.bench.usage import Usage
from appliance.cli.bench.visitor import Visit

USAGE = Usage({"kernels": 1.2, "web": 0.4}, 0.3, 0.05, 0.0, 2, ("cell-web@0.service", 0.4), {})


def stage(crowd: int, seconds_each: float, visits: int, failures: int = 0, kind: str = "computation") -> Stage:
    made = [Visit(kind, seconds_each) for _ in range(visits)]
    made += [Visit(kind, 0.1, "503 busy") for _ in range(failures)]
    return stage_of(kind, crowd, 2.0, made, USAGE)


def test_a_stage_counts_what_went_well() -> None:
    one = stage(4, 0.05, 100, failures=3)
    assert one.rate == 50
    assert one.visits == 103
    assert one.failures == {"503 busy": 3}
    assert one.percentile(0.99) == 0.05


def test_percentiles() -> None:
    one = stage_of("page", 1, 1.0, [Visit("page", number / 100) for number in range(100)], USAGE)
    assert [one.percentile(share) for share in (0.0, 0.5, 0.95, 0.99)] == [0.0, 0.5, 0.95, 0.99]
    assert math.isnan(stage(1, 0, 0).percentile(0.5))


def test_the_best_stage_is_not_the_last() -> None:
    climb = Climb("computation", [stage(1, 0.03, 60), stage(2, 0.03, 100), stage(4, 0.1, 90)])
    assert climb.best.crowd == 2
    assert climb.reason.startswith("the processor")


@pytest.mark.parametrize(("rate", "visitors"), [(0, 0), (1, 560), (20, 11_000), (40, 22_000)])
def test_visitors_of_a_day(rate: float, visitors: int) -> None:
    assert run.visitors_per_day(rate) == visitors


def test_the_report_says_where_it_ends() -> None:
    kinds = ("computation", "page", "permalink made", "permalink opened")
    climbs = [Climb(kind, [stage(1, 0.03, 60, kind=kind), stage(8, 0.1, 80, kind=kind)]) for kind in kinds]
    mixture = [stage(0, 0.04, 50, kind=kind) for kind in kinds]
    report = run.Report("http://127.0.0.1:80", True, "2 cores", 2, climbs, mixture, 28.0, 50.0, 12, 300 << 20)
    text = run.render(report)
    assert "at most 40.0 a second, with 8 visitors at once; then: the processor" in text
    assert "Room for about 22000 visitors a day" in text
    assert "50 computations a second in total (CELL_COMPUTATIONS_IN_TOTAL): more than this machine does." in text
    assert "12 permalinks were made" in text
    assert "At most 300.0 MiB more memory" in text
    document = run.document(report)
    assert document["kinds"]["computation"]["highest"]["rate"] == 40.0
    assert document["mixture"]["page"]["seconds"]["p95"] == 0.04
