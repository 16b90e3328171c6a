from __future__ import annotations

import pytest

from appliance.errors import PermalinksUnavailable
from appliance.web.metrics import MetricsRoutes, WebMetrics
from appliance.web.permalink_routes import PermalinkRoutes
from appliance.web.site import Router, label
from tests.unit.web.fakes import FakePermalinks
from tests.unit.web.serving import ask


class Source:
    def __init__(self, text):
        self.text = text

    async def metrics(self):
        if self.text is None:
            raise PermalinksUnavailable
        return self.text


def test_roles_are_shown_together_and_one_that_is_away_is_told():
    metrics = WebMetrics()
    metrics.evaluated("evaluate", "ZeroDivisionError", 0.5)
    answer = ask(MetricsRoutes(metrics, Source("pool_thing 1\n"), Source(None)).routes(), "GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "\npool_thing 1\n" in text
    assert 'cell_evaluations_total{kind="evaluate",outcome="error"} 1' in text
    assert 'cell_role_up{role="permalink"} 0\ncell_role_up{role="pool"} 1\ncell_role_up{role="web"} 1\n' in text


def test_requests_are_counted_by_route_and_never_by_what_a_client_made_up(monkeypatch):
    metrics = WebMetrics()
    made = []

    def router(config, routes):
        made.append(routes)
        return Router(config, routes, metrics, lambda: 0.0)

    monkeypatch.setattr("tests.unit.web.serving.Router", router)
    routes = PermalinkRoutes(FakePermalinks(), 100).routes()
    for method, path in (("GET", "/permalink?q=a"), ("BREW", "/permalink"), ("GET", "/made-up")):
        ask(routes, method, path)
    assert made
    text = metrics.registry.render()
    assert 'cell_http_requests_total{route="/permalink",method="GET",status="404"} 1' in text
    assert 'cell_http_requests_total{route="/permalink",method="other",status="405"} 1' in text
    assert 'cell_http_requests_total{route="none",method="GET",status="404"} 1' in text
    assert "made-up" not in text
    assert "BREW" not in text


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("/kernel", "/kernel"),
        (r"/kernel/(?P<kernel_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3})/channels", "/kernel/{kernel_id}/channels"),
        (r"/tos\.html", "/tos.html"),
    ],
)
def test_names_of_routes(pattern, name):
    assert label(pattern) == name
