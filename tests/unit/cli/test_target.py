from __future__ import annotations

import pytest

from appliance.cli.target import Target, edge_target
from appliance.errors import ApplianceError


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (Target("127.0.0.1", 80), "http://127.0.0.1:80"),
        (Target("::1", 443, tls=True), "https://[::1]:443"),
    ],
)
def test_address(target: Target, url: str) -> None:
    assert target.url == url
    assert (target.context() is not None) is target.tls


@pytest.mark.parametrize(
    ("environment", "target"),
    [
        ({"CELL_HTTP_ADDRESS": "0.0.0.0:80,[::]:80"}, Target("127.0.0.1", 80)),
        ({"CELL_HTTP_ADDRESS": "10.0.0.5:8080"}, Target("10.0.0.5", 8080)),
        ({"CELL_HTTP_ADDRESS": "[::]:80"}, Target("::1", 80)),
        (
            {"CELL_HTTP_ADDRESS": ":80", "CELL_TLS_CERTIFICATE": "/c.pem", "CELL_TLS_ADDRESS": "*:443"},
            Target("127.0.0.1", 443, tls=True),
        ),
    ],
)
def test_where_the_edge_is(environment: dict[str, str], target: Target) -> None:
    assert edge_target(environment) == target


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ApplianceError, match="CELL_HTTP_ADDRESS"):
        edge_target({"CELL_HTTP_ADDRESS": "here"})
