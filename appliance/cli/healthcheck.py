"""``cellctl healthcheck``: evaluate something, and when that fails find out which part is to blame.

`diagnose` decides from what was seen; `run` looks twice before it acts, since a role may just be restarting. A unit
that came up a moment ago is not restarted again: when a restart did not help, another one will not. One that starts is
left to systemd, whose TimeoutStartSec= tells how long it may take: imports last minutes on a slow machine. A zygote
that its keeper starts anew, in a unit that has long been active, has less time: the keeper may hang. The pool tells
since when there is none, and for how long there has been one: a zygote that came a moment ago is not renewed again.
HAProxy and nginx have no watchdog of their own, so they are asked here, too; one that hangs does not end when told to:
it is killed.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

from appliance.cli import edge_question, health_question, pool_question, units
from appliance.errors import ApplianceError
from appliance.pool_commands import PoolStatus, Renew

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from appliance.cli.edge_question import Edge
    from appliance.cli.health_question import Answer
    from appliance.cli.units import Unit
    from appliance.config import Config

#: Seconds for /healthz, beyond web.health_seconds for the evaluation itself.
EXTRA_SECONDS = 10.0

#: Pause before the second look, beyond web.health_cache_seconds.
SECOND_LOOK_SECONDS = 2.0

#: A unit that has run for less than this is not restarted.
YOUNG_SECONDS = 120.0

#: An environment that has had no zygote for less than this is starting one, which mostly takes a tenth of it.
ZYGOTE_SECONDS = 45.0

#: What /healthz calls an evaluation that did not come out right although a kernel was there.
_WRONG = ("timeout", "failed", "wrong_output")


@attrs.frozen
class Seen:
    """What was seen of the appliance. ``pool``: its own words, None when it did not answer.

    ``environment``: what /healthz evaluates in, if it does not say so; ``edge``: None when HAProxy does not run.
    """

    web: Answer
    pool: Mapping[str, Any] | None
    services: Sequence[Unit]
    environment: str
    edge: Edge | None = None

    def named(self, role: str) -> list[Unit]:
        """Return the units of a role that should run."""
        return [unit for unit in self.services if unit.role == role and unit.active != "inactive"]


@attrs.frozen
class Finding:
    """A part that is to blame, and why. ``unit`` empty: nothing that a restart could mend.

    ``renew``: the environment whose zygote is to be started anew while its kernels are left alone, or empty.
    ``hangs``: it will not end by itself. ``starting``: it may yet mend itself.
    """

    unit: str
    why: str
    renew: str = ""
    hangs: bool = False
    starting: bool = False


def diagnose(seen: Seen) -> list[Finding]:
    """Return what is to blame; nothing when an evaluation came out right, zygotes are there, permalinks kept."""
    findings = [
        Finding("", f"{unit.name} has a wrong configuration: cellctl config check tells which")
        for unit in seen.services
        if unit.active == "failed" and unit.exit_status == 78
    ]
    findings += _blame_edge(seen)
    if seen.pool is None:
        findings += [Finding(unit.name, "the pool does not answer") for unit in seen.named("pool")]
    if seen.web.status == 0:
        # whichever instance still lives would have taken the request
        return findings + [Finding(unit.name, f"no web role answers: {seen.web.error}") for unit in seen.named("web")]
    if seen.web.document.get("permalinks", {}).get("status", "ok") != "ok":
        findings += [Finding(unit.name, "permalinks are not kept") for unit in seen.named("permalink")]
    if seen.pool is not None:
        findings += _blame_kernels(seen, seen.pool, seen.web.document.get("evaluation", {}))
    return findings


def _blame_edge(seen: Seen) -> list[Finding]:
    """Return what hangs of the edge."""
    if seen.edge is None:
        return []
    if not seen.edge.haproxy:
        return [Finding(unit.name, "HAProxy does not answer", hangs=True) for unit in seen.named("haproxy")]
    if not seen.edge.nginx:
        why = "nginx does not answer; a web role does in its place"
        return [Finding(unit.name, why, hangs=True) for unit in seen.named("nginx")]
    return []


def _blame_kernels(seen: Seen, pool: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[Finding]:
    """Return why an evaluation failed although web role and pool answer, and which zygotes are missing all the same.

    Evaluations go on without a zygote as long as there are kernels ready.
    """
    environment = str(evaluation.get("environment") or seen.environment)
    failed = evaluation.get("status", "ok") != "ok"
    given_up = {unit.name for unit in seen.services if unit.active == "failed"}
    missing = {name: _blame_zygote(name, float(seconds)) for name, seconds in pool.get("missing", {}).items()}
    findings = _blame_evaluation(environment, pool, evaluation) if failed and environment not in missing else []
    for name in sorted(missing, key=lambda name: name != environment):
        finding = missing[name]
        if failed or not (finding.starting or finding.unit in given_up):
            findings.append(finding)
    return findings


def _blame_evaluation(environment: str, pool: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[Finding]:
    """Return why an evaluation failed although its environment has a zygote."""
    code, message = str(evaluation.get("status")), str(evaluation.get("message", ""))
    if code in _WRONG or code == "environment_unavailable":
        why = f"kernels do not evaluate: {code} {message}".strip()
        return [Finding(f"cell-zygote@{environment}.service", why, renew=environment)]
    if code == "pool_exhausted":
        return [Finding("", f"all {pool.get('limit')} kernels are in use")]
    if code == "kernel_late":
        return [Finding("", "kernels start, but not in time: the host is busy")]
    return [Finding("", f"the evaluation failed: {code} {message}".strip())]


def _blame_zygote(environment: str, seconds: float) -> Finding:
    starting = seconds < ZYGOTE_SECONDS
    why = f"the pool has had no zygote for {environment} for {seconds:.0f} s" + (
        ": one is starting" if starting else ""
    )
    return Finding(f"cell-zygote@{environment}.service", why, starting=starting)


def look(config: Config) -> Seen:
    """Look at the running appliance. Raises `units.SystemdUnavailable`."""
    answer = health_question.ask(
        units.listening_address(),
        "/healthz",
        proxy_protocol=config.web.proxy_protocol,
        seconds=config.web.health_seconds + EXTRA_SECONDS,
    )
    try:
        pool: Mapping[str, Any] | None = pool_status(config)
    except ApplianceError:
        pool = None
    services = units.services()
    proxied = any(unit.role == "haproxy" and unit.active == "active" for unit in services)
    return Seen(answer, pool, services, config.default_environment, edge_question.look() if proxied else None)


def pool_status(config: Config) -> Mapping[str, Any]:
    """Return the pool's counts; raises `PoolUnavailable`."""
    status: Mapping[str, Any] = json.loads(pool_question.ask(config, PoolStatus)["status"])
    return status


def act(config: Config, finding: Finding, seen: Seen, now: float) -> str:
    """Do what a finding asks for; return what was done. Raises `ApplianceError`."""
    if not finding.unit:
        return "nothing to restart"
    if finding.starting:
        return f"{finding.unit} is left to its keeper"
    unit = next((unit for unit in seen.services if unit.name == finding.unit), None)
    if unit is not None and unit.active == "activating":
        return f"{finding.unit} is starting: not restarted"
    age = now - (0.0 if unit is None else unit.active_since)
    if age < YOUNG_SECONDS:
        return f"{finding.unit} runs for {age:.0f} s only: not restarted"
    if finding.renew:
        connected = (seen.pool or {}).get("connected", {}).get(finding.renew)
        if connected is not None and connected < YOUNG_SECONDS:
            return f"the zygote of {finding.renew} is there for {connected:.0f} s only: not started anew"
        pool_question.ask(config, Renew, environment=finding.renew)
        return f"zygote of {finding.renew} started anew"
    if finding.hangs:
        units.kill(finding.unit)
    units.restart(finding.unit)
    return f"{finding.unit} {'killed and ' if finding.hangs else ''}restarted"


def run(config: Config, *, restart: bool, sleep: Callable[[float], object] = time.sleep) -> int:
    """Evaluate; print what is to blame and, with ``restart``, mend it. Return 0 if all is well, else 1."""
    findings = diagnose(look(config))
    if not findings:
        print("an evaluation came out right")
        return 0
    sleep(config.web.health_cache_seconds + SECOND_LOOK_SECONDS)
    seen = look(config)
    again = diagnose(seen)
    if not again:
        print("an evaluation came out right at the second attempt")
        return 0
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    for finding in again:
        print(f"{finding.unit or 'appliance'}: {finding.why}", file=sys.stderr)
        # only what both looks name is touched
        if restart and finding.unit in {first.unit for first in findings}:
            try:
                print(act(config, finding, seen, now), file=sys.stderr)
            except ApplianceError as exc:
                print(exc.message, file=sys.stderr)
    return 1
