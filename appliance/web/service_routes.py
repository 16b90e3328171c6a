"""``POST /service``: one evaluation, its output and its reply, in one request."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from appliance.errors import BadRequest, MissingArgument, TooLarge
from appliance.web.evaluation import evaluate
from appliance.web.http import Call, Response, json_response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from appliance.config import Config
    from appliance.web.access import Access
    from appliance.web.kernels import Kernels

#: Longest code of one request, in characters, all its parts together.
MAX_CODE_CHARS = 65_000


class ServiceRoutes:
    """The handler, and its address."""

    def __init__(self, config: Config, kernels: Kernels, access: Access, now: Callable[[], str]) -> None:
        self._access = access
        self._kernels = kernels
        self._seconds = config.web.service_seconds
        self._now = now

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (Route(re.compile("/service"), {"POST": self.run}),)

    async def run(self, call: Call) -> Response:
        """Run ``code`` and tell how it went.

        The answer has status 200 also when the code failed or time was up; ``success`` tells. ``stdout`` and
        ``stderr`` are there when something was printed to them, ``execute_reply`` when there was a reply.
        """
        self._access.check_terms(call)
        self._access.check_token(call)
        if "code" not in call.arguments:
            raise MissingArgument("The argument code is missing.")
        code = "".join(call.arguments.all("code"))
        if len(code) > MAX_CODE_CHARS:
            raise TooLarge(f"Code is limited to {MAX_CODE_CHARS} characters.")
        expressions = _user_expressions(call.arguments.get("user_expressions"))
        outcome = await evaluate(
            self._kernels, "service", code, expressions, self._seconds, self._now, call.wanted_kernel, call.visitor
        )
        document: dict[str, Any] = {**outcome.streams, "success": False}
        if outcome.reply is not None:
            document["success"] = outcome.reply.get("status") == "ok"
            document["execute_reply"] = outcome.reply
        return json_response(document)


def _user_expressions(text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("user_expressions is not JSON.") from exc
    if not isinstance(value, dict) or not all(isinstance(expression, str) for expression in value.values()):
        raise BadRequest("user_expressions is not an object of strings.")
    return value
