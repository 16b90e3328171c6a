"""What ``cellctl serve`` really uses: the configuration with accounts, ids and directories of this host filled in."""

from __future__ import annotations

import os
import pathlib
import pwd
from typing import TYPE_CHECKING

import attrs

from appliance.config import MAX_RUNTIME_DIR_BYTES, Config, Users, listen_address, uid_of
from appliance.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS = Config()

#: Who stops a server in the foreground does not want to wait for requests under way.
STOP_SECONDS = 1.0


def _account_or_number(user: str, number: int) -> str:
    """Return ``user`` if this host has it, else ``number``, an id right after the range of kernels."""
    try:
        uid_of(user)
    except ConfigError:
        return str(number)
    return user


def _as_root(config: Config) -> Config:
    first = config.ids.base + config.ids.count
    users = Users(
        web=_account_or_number(config.users.web, first + 1),
        pool=_account_or_number(config.users.pool, first + 2),
        permalink=_account_or_number(config.users.permalink, first + 3),
        egress=_account_or_number(config.users.egress, first + 4),
        requestlog=_account_or_number(config.users.requestlog, first + 5),
    )
    return attrs.evolve(config, users=users)


def _as_user(config: Config, uid: int, environ: Mapping[str, str]) -> Config:
    try:
        account = pwd.getpwuid(uid)
        name, home = account.pw_name, account.pw_dir
    except KeyError as exc:
        raise ConfigError(f"the account {uid} that runs this has no entry in the user database") from exc
    runtime, state = config.runtime_dir, config.state_dir
    if runtime == _DEFAULTS.runtime_dir:
        runtime = os.path.join(environ.get("XDG_RUNTIME_DIR", ""), "cell-appliance")
        if not os.path.isabs(runtime) or len(os.fsencode(runtime)) > MAX_RUNTIME_DIR_BYTES:
            runtime = f"/tmp/cell-{uid}"  # noqa: S108 - `layout` refuses it if it is anybody else's
    if state == _DEFAULTS.state_dir:
        base = environ.get("XDG_STATE_HOME", "")
        state = os.path.join(base if os.path.isabs(base) else os.path.join(home, ".local/state"), "cell-appliance")
    return attrs.evolve(
        config,
        runtime_dir=runtime,
        state_dir=state,
        users=Users(web=name, pool=name, permalink=name, egress=name, requestlog=name),
        # Id 0 of the kernels' range is this user itself; newuidmap takes the others from /etc/subuid.
        ids=attrs.evolve(config.ids, base=uid),
    )


def effective(config: Config, *, uid: int, environ: Mapping[str, str], listen: str | None = None) -> Config:
    """Return the configuration for children of a ``cellctl serve`` run by ``uid``.

    Raises `ConfigError`.
    """
    if listen is not None:
        listen_address(listen)
        config = attrs.evolve(config, web=attrs.evolve(config.web, listen=listen))
    config = _as_root(config) if uid == 0 else _as_user(config, uid, environ)
    return attrs.evolve(
        config,
        runtime_dir=str(pathlib.Path(config.runtime_dir)),
        web=attrs.evolve(
            config.web,
            static_dir=str(config.static_path.absolute()),
            stop_seconds=min(config.web.stop_seconds, STOP_SECONDS),
        ),
    )
