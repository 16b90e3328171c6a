"""Accounts of the roles, given by name or number."""

from __future__ import annotations

import pwd

from appliance.errors import ConfigError


def uid_of(user: str) -> int:
    """Return the uid of an account given by name or number.

    Raises `ConfigError` when there is no such account.
    """
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as exc:
        raise ConfigError(f"users: there is no account named {user!r} on this host") from exc


def gid_of(user: str) -> int:
    """Return the primary gid of an account given by name; of a number, the same number."""
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError as exc:
        raise ConfigError(f"users: there is no account named {user!r} on this host") from exc
