"""``cellctl drain``, ``undrain``, ``restart`` and ``logs``: what an administrator does to a running appliance."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from appliance.cli import pool_question, units
from appliance.errors import ApplianceError
from appliance.pool_commands import Drain, PoolStatus, Renew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.config import Config

JOURNALCTL = "/usr/bin/journalctl"

#: Seconds between two looks whether the last kernel is gone.
LOOK_SECONDS = 1.0

#: Roles that are restarted without anybody noticing, in this order; each waits for the one before.
DEFAULT_ROLES = ("permalink", "egress", "requestlog", "pool", "web", "zygote")


def drain(config: Config, *, on: bool, wait_seconds: float) -> int:
    """Have the pool deal no kernels, or deal again; wait until none is in use. Raises `PoolUnavailable`."""
    pool_question.ask(config, Drain, on=on)
    if not on:
        print("visitors get kernels again")
        return 0
    deadline = time.monotonic() + wait_seconds
    while leased := int(json.loads(pool_question.ask(config, PoolStatus)["status"])["leased"]):
        if time.monotonic() >= deadline:
            print(f"draining: {leased} kernels are still in use; they go on")
            return 0 if wait_seconds == 0 else 1
        time.sleep(LOOK_SECONDS)
    print("drained: no kernel is in use")
    return 0


def restart(config: Config, roles: Sequence[str], *, hard: bool) -> int:
    """Restart roles one after the other, each instance after the one before it is ready.

    HAProxy and nginx reload themselves, and ``zygote`` is started anew by its keeper, so that kernels in use go on;
    with ``hard`` these units are restarted, too, which ends every kernel. Raises `ApplianceError` at the first that
    does not come up.
    """
    wanted = list(roles) or list(DEFAULT_ROLES)
    unknown = [role for role in wanted if role not in units.ROLES]
    if unknown:
        raise ApplianceError(f"there is no role {unknown[0]!r}; roles: {', '.join(units.ROLES)}")
    for role in units.ROLES:
        if role not in wanted:
            continue
        if role == "zygote" and not hard:
            pool_question.ask(config, Renew)
            print("zygotes: started anew; kernels in use go on")
            continue
        for name in units.names([role]):
            began = time.monotonic()
            # the proxies hold their listening sockets themselves and hand them to their successors
            units.restart(name, gently=role in ("nginx", "haproxy") and not hard)
            print(f"{name}: ready again after {time.monotonic() - began:.1f} s", flush=True)
    return 0


def logs(roles: Sequence[str], *, follow: bool, lines: int, since: str) -> int:
    """Become journalctl(1) for the units of ``roles``, by default of all. Raises `ApplianceError`."""
    unknown = [role for role in roles if role not in (*units.ROLES, "healthcheck")]
    if unknown:
        raise ApplianceError(f"there is no role {unknown[0]!r}; roles: {', '.join(units.ROLES)}, healthcheck")
    patterns = [f"{units.ROLES.get(role, 'cell-healthcheck.service').removesuffix('.service')}*" for role in roles]
    command = [JOURNALCTL, "--output=short-iso", f"--lines={lines}"]
    command += [f"--unit={pattern}" for pattern in patterns or ["cell-*"]]
    command += ["--follow"] if follow else ["--no-pager"]
    command += [f"--since={since}"] if since else []
    try:
        os.execv(JOURNALCTL, command)  # noqa: S606 - a fixed program
    except OSError as exc:
        raise ApplianceError(f"{JOURNALCTL} cannot be run: {exc.strerror}") from exc
