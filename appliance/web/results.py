"""Where results are kept (``<runtime_dir>/files/results/<key>``), and for which requests there is one.

Every instance of the web role finds what another has kept, and a result outlives the role, though not a boot. A file
is written whole or not at all. Its time of change is that of the evaluation, its time of access that of the last
visitor: those that nobody asked for lately make room for new ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import uuid
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

import appliance
from appliance.config import environment_python
from appliance.errors import ConfigError
from appliance.protocol.results import KEY_BYTES, pack, result_key, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from appliance.config import Config
    from appliance.protocol.frames import ClientMessage

log = Logger()

#: What a file counts at least: a page of the file system that holds it.
PAGE_BYTES = 4096

#: Between two looks for what is too old.
SWEEP_SECONDS = 60.0

_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")
_UNFINISHED = re.compile(rf"\.new-{_KEY.pattern}-[0-9a-f]{{32}}")

#: Below the prefix of an environment: what changes when something is installed there.
_CHANGES = ("pyvenv.cfg", "environment.toml", "requirements.lock", "lib/python*/site-packages")


@attrs.frozen
class Stored:
    """A kept result: messages as browsers get them, and when the kernel said them, in seconds since 1970-01-01 UTC."""

    texts: list[bytes]
    made: float


@attrs.frozen
class Kept:
    """A file: its key, the bytes that it counts, when it was made and asked for last."""

    key: str
    counted: int
    made: float
    asked: float


class ResultStore:
    """The files of one directory, which several processes share. ``wall`` tells seconds since 1970-01-01 UTC."""

    def __init__(self, root: pathlib.Path, *, max_bytes: int, keep_seconds: float, wall: Callable[[], float]) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._wall = wall

    def find(self, key: str) -> Stored | None:
        """Return a result that is not too old."""
        path = self._root / key
        try:
            with path.open("rb") as file:
                made = os.fstat(file.fileno()).st_mtime
                if self._wall() - made > self._keep_seconds:
                    return None
                texts = unpack(file.read(self._max_bytes))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            log.error("a kept result cannot be read: {exc}", exc=exc)
            self._drop(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path, (self._wall(), made))
        return Stored(texts, made)

    def keep(self, key: str, texts: Iterable[bytes]) -> bool:
        """Keep a result unless there is one; others make room for it. Return whether it is kept."""
        data = pack(texts)
        counted = max(len(data), PAGE_BYTES)
        if counted > self._max_bytes or self.find(key) is not None:
            return False
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
            self._make_room(self._max_bytes - counted)
            # complete or not there: another instance may be asked for it right now
            unfinished = self._root / f".new-{key}-{uuid.uuid4().hex}"
            try:
                with unfinished.open("xb") as file:
                    file.write(data)
                os.utime(unfinished, (self._wall(), self._wall()))
                unfinished.rename(self._root / key)
            except OSError:
                self._drop(unfinished)
                raise
        except OSError as exc:
            log.error("a result cannot be kept: {exc}", exc=exc)
            return False
        return True

    def all(self) -> list[Kept]:
        """Return what is there, also what is too old."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            for entry in entries:
                if _KEY.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        counted = max(status.st_size, PAGE_BYTES)
                        found.append(Kept(entry.name, counted, status.st_mtime, status.st_atime))
        return found

    def sweep(self) -> None:
        """Remove what is too old. Raises `OSError`."""
        self._make_room(self._max_bytes)

    def clear(self) -> int:
        """Remove everything; return how many results. Raises `OSError`."""
        removed = self.all()
        for kept in removed:
            self._drop(self._root / kept.key)
        return len(removed)

    def _make_room(self, room: int) -> None:
        """Remove what is too old, what was never finished, and then what was not asked for lately."""
        oldest = self._wall() - self._keep_seconds
        total = 0
        for kept in sorted(self.all(), key=lambda kept: kept.asked, reverse=True):
            total += kept.counted
            if kept.made < oldest or total > room:
                total -= kept.counted
                self._drop(self._root / kept.key)
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            for entry in entries:
                if _UNFINISHED.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < (
                    self._wall() - SWEEP_SECONDS
                ):
                    self._drop(pathlib.Path(entry.path))

    def _drop(self, path: pathlib.Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


class Results:
    """Knows for which request there is a result, and counts. Without ``results.enabled`` there never is one."""

    def __init__(self, config: Config, wall: Callable[[], float]) -> None:
        self._config = config
        self._wall = wall
        self.enabled = config.results.enabled
        self.max_result_bytes = config.results.max_result_bytes
        self.hits = 0
        self.misses = 0
        self.kept = 0
        self._next_sweep = 0.0
        self._store = store_of(config, wall)

    def key(self, request: ClientMessage, environment: str, profile: str) -> str:
        """Return the name of the result of a request (`protocol.results.result_request`)."""
        limits = json.dumps(attrs.asdict(self._config.profile[profile]), sort_keys=True).encode()
        return result_key(request, environment, self._identity(environment), profile, limits)

    def find(self, key: str) -> Stored | None:
        """Return a result, and count whether there is one."""
        stored = self._store.find(key)
        if stored is None:
            self.misses += 1
        else:
            self.hits += 1
        return stored

    def keep(self, key: str, texts: Iterable[bytes]) -> None:
        """Keep a result."""
        self.kept += self._store.keep(key, texts)

    def tick(self) -> None:
        """Now and then: remove what is too old."""
        if not self.enabled or self._wall() < self._next_sweep:
            return
        self._next_sweep = self._wall() + SWEEP_SECONDS
        try:
            self._store.sweep()
        except OSError as exc:
            log.error("kept results cannot be looked through: {exc}", exc=exc)

    def sizes(self) -> tuple[int, int]:
        """Return how many results are kept, by all instances of this role, and their bytes."""
        kept = self._store.all()
        return len(kept), sum(one.counted for one in kept)

    def _identity(self, name: str) -> bytes:
        """Return what tells an environment from an earlier one of its name: what is configured and what is installed.

        Programs of the distribution's that a kernelspec runs are not looked at.
        """
        environment = self._config.environment[name]
        facts: list[Any] = [appliance.__version__, attrs.asdict(environment)]
        with contextlib.suppress(ConfigError, OSError):
            python = environment_python(name, environment)
            prefix = python.parent.parent
            facts.append(str(python))
            for pattern in _CHANGES:
                for path in sorted(prefix.glob(pattern)):
                    status = path.stat()
                    facts.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
        return json.dumps(facts, sort_keys=True).encode()


def store_of(config: Config, wall: Callable[[], float]) -> ResultStore:
    """Return where a configuration keeps results."""
    return ResultStore(
        config.results_path,
        max_bytes=config.results.max_bytes,
        keep_seconds=config.results.keep_seconds,
        wall=wall,
    )
