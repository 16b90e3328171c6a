"""Accounts of the roles, given by name or number."""

from __future__ import annotations

import pwd

from appliance.errors import ConfigError


def uid_of(user: str) -> int:
    """Return the uid of an account given by name or number.

    Raises `ConfigError` when there is no such account.
    """
    return int(user) if user.isdecimal() else _account(user).pw_uid


def gid_of(user: str) -> int:
    """Return the primary gid of an account given by name; of a number, the same number. Raises as `uid_of`."""
    return int(user) if user.isdecimal() else _account(user).pw_gid


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as exc:
        raise ConfigError(f"users: there is no account named {name!r} on this host") from exc
