"""``environment.toml``: what an environment is, before and after it is installed."""

from __future__ import annotations

import pathlib
import re
import tomllib
from typing import Any

import attrs
from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from appliance import config as configuration
from appliance.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

#: A distribution in a lock (pip, "Requirements File Format"): name, version, and the machines and Pythons it is for.
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]\n]*\])?==([^\s;\\]+)(?:[ ]*;([^\n\\]*))?")

#: Declarations that the package brings.
BROUGHT = configuration.PACKAGE_DIR / "environments"

_KEYS = ("name", "requirements", "check", "prints", "environment")


@attrs.frozen
class Declaration:
    """A declared environment.

    ``directory``: where the declaration lies. ``requirements``: its lock, empty for an environment whose programs are
    the system's. ``check``, ``prints``: a cell, and what a kernel must print of it.
    """

    directory: pathlib.Path
    name: str
    requirements: str
    check: str
    prints: str
    environment: configuration.Environment

    @property
    def lock(self) -> pathlib.Path:
        """The lock beside the declaration."""
        return self.directory / self.requirements


def find(text: str) -> pathlib.Path:
    """Return the directory of a declaration: a path, or the name of one that the package brings.

    Raises `ConfigError` for a name that is neither.
    """
    given = pathlib.Path(text)
    if "/" in text or (given / configuration.DECLARATION).exists():
        return given.resolve()
    brought = sorted(file.parent.name for file in BROUGHT.glob(f"*/{configuration.DECLARATION}"))
    if text in brought:
        return BROUGHT / text
    raise ConfigError(
        f"{text}: neither a directory with {configuration.DECLARATION} nor an environment that the package brings; "
        f"it brings: {', '.join(brought) or 'none'}"
    )


def read(directory: pathlib.Path) -> Declaration:
    """Return the declaration in ``directory``. Raises `ConfigError` naming the file and what is wrong in it."""
    file = directory / configuration.DECLARATION
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    unknown = [key for key in document if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{file}: unknown key {unknown[0]}; known keys: {', '.join(_KEYS)}")
    texts = {key: _text(file, document, key) for key in _KEYS[:-1]}
    if not _NAME.fullmatch(texts["name"]):
        raise ConfigError(f"{file}: name: {texts['name']!r} is no name; use 1 to 32 of a-z, 0-9 and -")
    if texts["name"] in configuration.Config().environment:
        raise ConfigError(f"{file}: name: {texts['name']!r} is the environment that the package brings")
    if "/" in texts["requirements"]:
        raise ConfigError(f"{file}: requirements: the lock must lie beside the declaration")
    if not texts["check"] or not texts["prints"]:
        raise ConfigError(f"{file}: check and prints: expected a cell and what a kernel prints of it")
    environment = configuration.declared_environment(file)
    configuration.check_environment(texts["name"], environment)
    if not texts["requirements"] and not environment.kernelspec:
        raise ConfigError(f"{file}: neither requirements nor environment.kernelspec: there is nothing to run")
    declared = Declaration(directory, environment=environment, **texts)
    if texts["requirements"]:
        pinned(declared.lock)
    return declared


def _text(file: pathlib.Path, document: dict[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{file}: {key}: expected a string, found {value!r}")
    return value


def pinned(lock: pathlib.Path) -> dict[str, str]:
    """Return the distributions that a lock lists for this machine, by canonical name, with their versions.

    Raises `ConfigError` when it is none: nothing pinned, or something without a hash.
    """
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{lock}: cannot be read: {exc}") from exc
    found: dict[str, str] = {}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        match = _PINNED.match(entry)
        if match is None:
            continue
        name, version, marker = match.groups()
        if "--hash=" not in entry:
            raise ConfigError(f"{lock}: {name} has no hash; make it by: uv pip compile --generate-hashes")
        try:
            if marker is None or Marker(marker.partition("--hash=")[0]).evaluate():
                found[canonicalize_name(name)] = version
        except InvalidMarker as exc:
            raise ConfigError(f"{lock}: {name}: {exc}") from exc
    if not found:
        raise ConfigError(f"{lock}: lists nothing as NAME==VERSION; make it by: uv pip compile --generate-hashes")
    return found
