"""``cellctl status``: the units, the pool and an evaluation, on one screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from appliance.cli import health_question, pool_question, units
from appliance.errors import ApplianceError
from appliance.pool_commands import PoolStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from appliance.cli.health_question import Answer
    from appliance.cli.units import Unit
    from appliance.config import Config

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

#: Seconds for /healthz, beyond web.health_seconds for the evaluation itself.
EXTRA_SECONDS = 10.0


def size(number: int | None) -> str:
    """Return a number of bytes for people."""
    if number is None:
        return "-"
    return next((f"{number / unit:.1f} {name}" for unit, name in _UNITS if number >= unit), f"{number} B")


def unit_rows(services: Sequence[Unit]) -> list[str]:
    """Return a line for each unit."""
    rows = [("unit", "state", "restarts", "memory", "says")]
    for unit in services:
        state = unit.active if unit.result in ("success", "") else f"{unit.active} ({unit.result})"
        rows.append((unit.name, state, str(unit.restarts), size(unit.memory_bytes), unit.status))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]


def pool_line(pool: Mapping[str, Any]) -> str:
    """Return what the pool says of itself."""
    text = (
        f"kernels: {pool['leased']} in use, {pool['ready']} ready, {pool['starting']} starting, of {pool['limit']}; "
        f"{pool['in_line']} in line"
    )
    if pool.get("draining"):
        text += "; DRAINING: no new cells (cellctl undrain)"
    if pool.get("last_failure"):
        text += f"; last failed start: {pool['last_failure']}"
    return text


def health_line(answer: Answer) -> str:
    """Return whether an evaluation came out right."""
    evaluation = answer.document.get("evaluation", {})
    if answer.status == 200:
        return f"evaluation: right, in {evaluation.get('seconds', '?')} s"
    if answer.status == 0:
        return f"evaluation: FAILED, no web role answers ({answer.error})"
    return f"evaluation: FAILED, {evaluation.get('status', answer.status)} {evaluation.get('message', '')}".rstrip()


def run(config: Config, *, as_json: bool) -> int:
    """Print the state; return 0 if the appliance evaluates, else 1. Raises `units.SystemdUnavailable`."""
    services = units.services()
    answer = health_question.ask(
        units.listening_address(),
        "/healthz",
        proxy_protocol=config.web.proxy_protocol,
        seconds=config.web.health_seconds + EXTRA_SECONDS,
    )
    try:
        pool: dict[str, Any] | None = json.loads(pool_question.ask(config, PoolStatus)["status"])
        trouble = ""
    except ApplianceError as exc:
        pool, trouble = None, exc.message
    if as_json:
        document = {
            "ok": answer.status == 200,
            "health": answer.document,
            "pool": pool,
            "units": {
                unit.name: {
                    "active": unit.active,
                    "result": unit.result,
                    "restarts": unit.restarts,
                    "says": unit.status,
                }
                for unit in services
            },
        }
        print(json.dumps(document, indent=2))
    else:
        print("\n".join([*unit_rows(services), ""]))
        print(pool_line(pool) if pool is not None else f"kernels: {trouble}")
        print(health_line(answer))
    return 0 if answer.status == 200 else 1
