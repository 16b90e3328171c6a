from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.plot import svg

SERIES = {"a <b>": [(1000.0, 5.0), (10_000_000.0, 10.0)], "c": [(1000.0, 1.0), (10_000_000.0, 2.0)]}


def test_a_plot_has_every_point_and_name() -> None:
    root = ElementTree.fromstring(svg("title", "below", "left", SERIES))
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert kinds.count("circle") == 4
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert {"title", "below", "left", "a <b>", "c", "1,000", "10,000,000", "0", "10"} <= set(texts)


@pytest.mark.parametrize("most", [0.003, 1.0, 7.0, 10.0, 99.0, 5000.0])
def test_points_lie_inside(most: float) -> None:
    root = ElementTree.fromstring(svg("t", "b", "l", {"s": [(10.0, 0.0), (100.0, most)]}))
    places = [float(element.get("cy", "")) for element in root.iter() if element.tag.endswith("circle")]
    assert places[0] == 340.0
    assert 40 <= places[1] < 200
