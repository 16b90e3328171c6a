"""What is checked before ``cellctl serve`` starts anything, so that a mistake is one clear sentence."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

from appliance import config as configuration
from appliance.config import Config, TcpAddress, environment_python, gid_of, uid_of
from appliance.errors import ConfigError
from appliance.zygote import kernelspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Longest name of a path that a check's child sends back.
_MAX_PATH_BYTES = 4096


def check_listen(address: configuration.TcpAddress | configuration.UnixAddress) -> None:
    """Raise `ConfigError` when the web role could not listen at ``address``."""
    if not isinstance(address, TcpAddress):
        if not pathlib.Path(address.path).parent.is_dir():
            raise ConfigError(f"web.listen: there is no directory for the socket {address.path}")
        return
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as exc:
        raise ConfigError(f"web.listen: {address.host} is not an address of this machine: {exc}") from exc
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as exc:
            what = {
                errno.EADDRINUSE: "another program already listens there; stop it or choose another port with --listen",
                errno.EACCES: "ports below 1024 need root; choose another with --listen",
                errno.EADDRNOTAVAIL: "this machine has no such address",
            }.get(exc.errno or 0, exc.strerror)
            raise ConfigError(f"web.listen: cannot listen at {address.host}:{address.port}: {what}") from exc


def first_unreadable(paths: Iterable[pathlib.Path], access: Callable[[pathlib.Path, int], bool]) -> pathlib.Path | None:
    """Return the first directory or file on the way to one of ``paths`` that ``access`` says is closed, or None.

    Directories on the way must be searchable, the path itself readable. Symbolic links are followed as they come: an
    interpreter in a virtual environment is one.
    """
    for path in paths:
        for place in dict.fromkeys((path.absolute(), path.resolve())):
            for parent in reversed(place.parents):
                if not access(parent, os.X_OK):
                    return parent
            if not access(place, os.R_OK):
                return place
    return None


def code_paths(config: Config) -> list[pathlib.Path]:
    """Return what other accounts must be able to read: this package, its interpreter and the environments."""
    paths = [configuration.PACKAGE_DIR / "main.py", pathlib.Path(sys.executable)]
    paths += [pathlib.Path(entry) for entry in sys.path if entry and os.path.isdir(entry)]
    for name, environment in config.environment.items():
        if environment.kernelspec:
            program = kernelspec.find(name, environment)
            paths += map(pathlib.Path, (program.argv[0], *program.trees))
        else:
            paths.append(environment_python(name, environment))
    return paths


def check_readable(config: Config) -> None:
    """As root, raise `ConfigError` naming the directory that keeps the web role's account from the code."""
    paths = code_paths(config)
    if os.geteuid() != 0:
        return
    uid, gid = uid_of(config.users.web), gid_of(config.users.web)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _look_as(uid, gid, paths, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        found = os.fsdecode(pipe.read(_MAX_PATH_BYTES))
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise ConfigError(f"users.web: root cannot become the account {uid} here (a container without that id?)")
    if found:
        raise ConfigError(
            f"{found} cannot be read by other accounts, and the roles and kernels run under accounts of their own; "
            f"allow it (chmod o+rx {found}) or move the installation"
        )


def _look_as(uid: int, gid: int, paths: list[pathlib.Path], pipe: int) -> NoReturn:
    status = 1
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        found = first_unreadable(paths, os.access)
        os.write(pipe, os.fsencode(found) if found is not None else b"")
        status = 0
    finally:
        os._exit(status)
