"""The directories of one ``cellctl serve``: made with their owners and modes, locked, and emptied afterwards.

Only names that the appliance itself uses are ever deleted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import socket
import stat
from typing import TYPE_CHECKING

from appliance.config import gid_of, render, uid_of
from appliance.errors import ConfigError

if TYPE_CHECKING:
    from appliance.config import Config

EFFECTIVE_FILE = "effective.toml"

#: Everything that may be in the runtime directory.
_OURS = ("kernels", "files", "zygote", "pool", "permalink", "egress", "requestlog", EFFECTIVE_FILE)

#: Files that SQLite keeps beside a database.
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")


class Layout:
    """The runtime and state directories of a running ``cellctl serve``."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._path = config.runtime_path
        self._lock = -1
        self._made = False

    @property
    def effective_file(self) -> pathlib.Path:
        """The configuration that children read."""
        return self._path / EFFECTIVE_FILE

    def prepare(self) -> None:
        """Take the runtime directory, empty it, and make everything the roles need.

        Raises `ConfigError` when it is in use or not ours.
        """
        self._made = _own_directory(self._path, "runtime_dir")
        self._take()
        try:
            self._refuse_running_roles()
            self._empty()
            os.chmod(self._path, 0o755)  # noqa: S103 - roles pass through it to directories of their own
            users = self._config.users
            web_group = gid_of(users.web)
            places = [
                (self._config.kernels_path, users.pool, web_group, 0o2750),
                (self._config.files_path, users.web, web_group, 0o700),
                (self._config.pool_socket.parent, users.pool, web_group, 0o2750),
                (self._config.zygote_socket.parent, users.pool, gid_of(users.pool), 0o711),
                (self._config.permalink_socket.parent, users.permalink, web_group, 0o2750),
            ]
            if self._config.requestlog.enabled:
                places.append((self._config.requestlog_socket.parent, users.requestlog, web_group, 0o2750))
            if self._config.egress_profiles:
                # Kernels may pass, not list: they are in no group.
                egress = [self._config.egress_path]
                egress += [self._config.egress_socket(name).parent for name in self._config.egress_profiles]
                places += [(path, users.egress, gid_of(users.egress), 0o711) for path in egress]
            for path, user, group, mode in places:
                path.mkdir()
                os.chown(path, uid_of(user), group)
                os.chmod(path, mode)  # after chown, which clears the set-group-id bit
            self._prepare_state()
            self.effective_file.write_text(render(self._config), encoding="utf-8")
            os.chmod(self.effective_file, 0o644)
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Delete what `prepare` and the roles made in the runtime directory, and let go of it."""
        if self._lock < 0:
            return
        self._empty()
        if self._made:
            with contextlib.suppress(OSError):  # not empty: something is in it that is not ours
                self._path.rmdir()
        os.close(self._lock)
        self._lock = -1

    def _take(self) -> None:
        self._lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._lock)
            self._lock = -1
            raise _in_use(self._path) from exc

    def _refuse_running_roles(self) -> None:
        """Refuse when roles that are not ours, started by systemd, answer in this directory."""
        for path in (self._config.pool_socket, self._config.permalink_socket):
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                os.close(self._lock)
                self._lock = -1
                raise _in_use(self._path)

    def _empty(self) -> None:
        for name in _OURS:
            path = self._path / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)

    def _prepare_state(self) -> None:
        state, database = pathlib.Path(self._config.state_dir), self._config.database_path
        uid, gid = uid_of(self._config.users.permalink), gid_of(self._config.users.permalink)
        if state.is_dir():
            owned = state.stat().st_uid == uid
            if not owned and any(state.iterdir()) and not database.exists():
                raise ConfigError(f"state_dir: {state} is not empty and holds no permalink database; choose another")
        else:
            state.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(state, uid, gid)
            if database.parent == state:
                for suffix in _DATABASE_SUFFIXES:
                    # The account's number changes with ids.base: what it wrote before must stay its own.
                    with contextlib.suppress(FileNotFoundError):
                        os.chown(f"{database}{suffix}", uid, gid, follow_symlinks=False)
        os.chmod(state, 0o700)
        if self._config.requestlog.enabled:
            requests = self._config.requestlog_path
            requests.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                uid, gid = uid_of(self._config.users.requestlog), gid_of(self._config.users.requestlog)
                for path in (requests, *requests.iterdir()):
                    os.chown(path, uid, gid, follow_symlinks=False)


def _in_use(path: pathlib.Path) -> ConfigError:
    return ConfigError(
        f"another appliance is already running with the runtime directory {path}; "
        "stop it first, or give this one another runtime_dir, state_dir and web.listen"
    )


def _own_directory(path: pathlib.Path, key: str) -> bool:
    """Make ``path``, or check that it is a directory of ours alone; return whether it was made.

    Raises `ConfigError`: a directory that others can write to is no place for sockets.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o755)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{key}: {path} exists and is not a directory") from None
        if status.st_uid != os.geteuid():
            raise ConfigError(f"{key}: {path} belongs to another account (uid {status.st_uid})") from None
        if status.st_mode & stat.S_IWOTH:
            raise ConfigError(f"{key}: {path} can be written by everybody; choose a directory of its own") from None
        return False
    except OSError as exc:
        reason = "no permission" if exc.errno in (errno.EACCES, errno.EPERM) else exc.strerror
        raise ConfigError(f"{key}: {path} cannot be made: {reason}") from exc
    return True
