"""``/metrics``: what this role counts, and what the pool and the permalink role count, on a door of its own.

The door is a Unix socket, an address of this machine, or a socket that systemd passes; visitors' has no such route.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from appliance.errors import ApplianceError
from appliance.protocol.metrics import Registry
from appliance.web.http import NO_STORE, Call, Response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.event_sender import EventSender
    from appliance.web.kernels import Kernels
    from appliance.web.permalink_client import PermalinkClient
    from appliance.web.pool_client import PoolClient
    from appliance.web.results import Results

log = Logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Methods that are told apart; a client can make up others.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


class WebMetrics:
    """The counters of the web role."""

    def __init__(self) -> None:
        self.registry = Registry()
        labels = ("route", "method", "status")
        self._requests = self.registry.counter("cell_http_requests_total", "Requests answered.", labels)
        self._seconds = self.registry.histogram("cell_http_request_seconds", "Time until the answer.", ("route",))
        self._evaluations = self.registry.counter(
            "cell_evaluations_total", "Evaluations, services and messages of interacts.", ("kind", "outcome")
        )
        self._evaluation_seconds = self.registry.histogram(
            "cell_evaluation_seconds", "Time from the request to its reply.", ("kind",)
        )
        self._first_result = self.registry.histogram(
            "cell_first_result_seconds", "Time from the first request to a kernel to the first result of it.", ()
        )

    def requested(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the pattern of its addresses."""
        self._requests.add(route, method if method in _METHODS else "other", str(status))
        self._seconds.observe(seconds, route)

    def evaluated(self, kind: str, outcome: str, seconds: float) -> None:
        """Count an evaluation; names of exceptions are visitors' and count as ``error``."""
        self._evaluations.add(kind, outcome if outcome in ("ok", "gone") else "error")
        self._evaluation_seconds.observe(seconds, kind)

    def first_result(self, seconds: float) -> None:
        """Count how long a visitor waited for the first thing to see."""
        self._first_result.observe(seconds)

    def watch(self, kernels: Kernels, events: EventSender | None, results: Results) -> None:
        """Add what others count."""
        count, gauge = self.registry.count, self.registry.gauge
        count("cell_results_hits_total", "Evaluations answered with a kept result.", lambda: float(results.hits))
        count("cell_results_misses_total", "Evaluations for which none was kept.", lambda: float(results.misses))
        count("cell_results_kept_total", "Results that were kept here.", lambda: float(results.kept))
        gauge("cell_results", "Results kept by all web roles.", lambda: {(): float(results.sizes()[0])})
        gauge("cell_results_bytes", "Bytes of these.", lambda: {(): float(results.sizes()[1])})
        self.registry.gauge("cell_web_kernels", "Kernels in use here.", lambda: {(): float(kernels.count)})
        self.registry.gauge("cell_web_clients", "Connections to kernels.", lambda: {(): float(kernels.clients)})
        if events is not None:
            self.registry.gauge(
                "cell_request_log_waiting", "Events that the request log has not taken.", lambda: {(): events.waiting}
            )
            self.registry.count(
                "cell_request_log_dropped_total", "Events that were dropped here.", lambda: float(events.dropped)
            )


class MetricsRoutes:
    """The handler, and its address."""

    def __init__(self, metrics: WebMetrics, pool: PoolClient, permalinks: PermalinkClient) -> None:
        self._metrics = metrics
        self._sources: dict[str, Any] = {"pool": pool.metrics, "permalink": permalinks.metrics}

    def routes(self) -> Sequence[Route]:
        """Return the address."""
        return (Route(re.compile("/metrics"), {"GET": self.show}),)

    async def show(self, _call: Call) -> Response:
        """Show the metrics of the three roles; one that does not answer is told by ``cell_role_up``."""
        texts, up = [self._metrics.registry.render()], {"web": 1}
        for role, ask in self._sources.items():
            try:
                texts.append(await ask())
                up[role] = 1
            except CancelledError:
                raise
            except ApplianceError:
                up[role] = 0
        texts.append("# HELP cell_role_up Whether a role answers.\n# TYPE cell_role_up gauge\n")
        texts += [f'cell_role_up{{role="{role}"}} {value}\n' for role, value in sorted(up.items())]
        return Response(200, "".join(texts).encode(), CONTENT_TYPE, NO_STORE)
