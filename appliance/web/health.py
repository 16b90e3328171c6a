"""``/healthz``: a real evaluation through the real queue, shared by everybody who asks at the same time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.errors import ApplianceError
from appliance.web.evaluation import evaluate
from appliance.web.http import NO_STORE, Call, Response, json_response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config
    from appliance.web.kernels import Kernels
    from appliance.web.permalink_client import PermalinkClient
    from appliance.web.pool_client import PoolClient

log = Logger()

#: Factors of the product that a probe computes; a cached or invented answer does not match.
MIN_FACTOR, MAX_FACTOR = 1_000, 9_999


class Health:
    """The handler, and its address. ``random_factor`` returns a number from `MIN_FACTOR` to `MAX_FACTOR`."""

    def __init__(
        self,
        config: Config,
        kernels: Kernels,
        pool: PoolClient,
        permalinks: PermalinkClient,
        clock: Any,
        random_factor: Callable[[], int],
        now: Callable[[], str],
    ) -> None:
        self._config = config.web
        self._environment = config.default_environment
        self._retry_after_seconds = config.pool.retry_after_seconds
        self._kernels = kernels
        self._pool = pool
        self._permalinks = permalinks
        self._clock = clock
        self._random_factor = random_factor
        self._now = now
        self._answer: Response | None = None
        self._answered = 0.0
        self._waiting: list[Deferred[Response]] | None = None

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile("/healthz"), {"GET": self.tell}),
            Route(re.compile("/readyz"), {"GET": self.ready}),
            Route(re.compile("/livez"), {"GET": self.live}),
        )

    async def ready(self, call: Call) -> Response:
        """Tell a balancer what `tell` does, but 404 while this server drains: "send me nothing new" to HAProxy."""
        answer = await self.tell(call)
        if answer.status == 200 and json.loads(answer.body)["pool"].get("draining"):
            return attrs.evolve(answer, status=404)
        return answer

    async def live(self, call: Call) -> Response:
        """Tell that this process answers requests; what it needs of others is in ``/healthz``."""
        return json_response({"status": "ok"})

    async def tell(self, call: Call) -> Response:
        """Tell how the appliance is: 200 when an evaluation came out right, else 503."""
        if self._answer is not None and self._clock.seconds() - self._answered < self._config.health_cache_seconds:
            return self._answer
        if self._waiting is not None:
            mine: Deferred[Response] = Deferred()
            self._waiting.append(mine)
            return await mine
        self._waiting = []
        try:
            answer = await self._probe()
        except BaseException as exc:
            waiting, self._waiting = self._waiting, None
            for one in waiting:
                one.errback(exc)
            raise
        self._answer = answer
        self._answered = self._clock.seconds()
        waiting, self._waiting = self._waiting, None
        for one in waiting:
            one.callback(answer)
        return answer

    async def _probe(self) -> Response:
        evaluation = await self._evaluation()
        healthy = evaluation["status"] == "ok"
        document = {
            "status": "ok" if healthy else "failing",
            "evaluation": evaluation,
            "pool": await self._pool_part(),
            "permalinks": await self._permalinks_part(),
        }
        if healthy:
            return json_response(document)
        log.warn("health: {evaluation}", evaluation=evaluation)
        headers = (*NO_STORE, ("Retry-After", str(self._retry_after_seconds)))
        return json_response(document, 503, headers)

    async def _evaluation(self) -> dict[str, Any]:
        return {"environment": self._environment, **await self._evaluate()}

    async def _evaluate(self) -> dict[str, Any]:
        first, second = self._random_factor(), self._random_factor()
        started = self._clock.seconds()
        try:
            outcome = await evaluate(
                self._kernels, "probe", f"print({first}*{second})", {}, self._config.health_seconds, self._now
            )
        except ApplianceError as exc:
            return {"status": exc.code, "message": exc.message}
        seconds = round(self._clock.seconds() - started, 4)
        if outcome.reply is None:
            return {"status": "timeout", "seconds": seconds}
        if outcome.reply.get("status") != "ok":
            return {"status": "failed", "seconds": seconds, "message": str(outcome.reply.get("evalue", ""))[:200]}
        if outcome.streams.get("stdout") != f"{first * second}\n":
            return {"status": "wrong_output", "seconds": seconds}
        return {"status": "ok", "seconds": seconds}

    async def _pool_part(self) -> dict[str, Any]:
        try:
            return {"status": "ok", **await self._pool.pool_status()}
        except CancelledError:
            raise
        except ApplianceError as exc:
            return {"status": exc.code}

    async def _permalinks_part(self) -> dict[str, Any]:
        try:
            await self._permalinks.check()
        except ApplianceError as exc:
            return {"status": exc.code}
        return {"status": "ok"}
