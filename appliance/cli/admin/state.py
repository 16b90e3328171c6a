"""Everything that the administrator's page shows, as one value for JSON."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import attrs
import psutil

from appliance.cli import check, pool_question, units
from appliance.cli.admin import edge_tables
from appliance.errors import ApplianceError
from appliance.pool_commands import Overview, PoolMetrics, PoolStatus

if TYPE_CHECKING:
    from appliance.config import Config

_REFUSALS = re.compile(r'^cell_pool_refusals_total\{code="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)


def refusals(metrics: str) -> dict[str, int]:
    """Return how often the pool refused a kernel, by the code of the reason, from its metrics."""
    return {code: int(float(number)) for code, number in _REFUSALS.findall(metrics)}


def look(config: Config) -> dict[str, Any]:
    """Return the state of the appliance; what cannot be had is null, with a sentence in ``troubles``."""
    troubles: list[str] = []
    document: dict[str, Any] = {
        "at": time.strftime("%H:%M:%S"),
        "load": psutil.getloadavg()[0],
        "memory_available": psutil.virtual_memory().available,
        "pool": None,
        "overview": None,
        "refusals": {},
        "units": [],
        "limits": [],
        "troubles": troubles,
    }
    try:
        document["pool"] = json.loads(pool_question.ask(config, PoolStatus)["status"])
        document["overview"] = json.loads(pool_question.ask(config, Overview)["overview"])
        document["refusals"] = refusals(pool_question.ask(config, PoolMetrics)["text"])
    except ApplianceError as exc:
        troubles.append(exc.message)
    try:
        document["units"] = [
            {"name": unit.name, "state": unit.active, "restarts": unit.restarts, "says": unit.status}
            for unit in units.services()
        ]
        if units.is_active("cell-haproxy.service"):
            document["limits"] = [attrs.asdict(limit) for limit in edge_tables.limits(check.edge_environment())]
    except ApplianceError as exc:
        troubles.append(exc.message)
    except OSError as exc:
        troubles.append(f"HAProxy does not answer: {exc.strerror or exc}")
    return document
