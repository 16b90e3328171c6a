"""``environment.toml``: what an environment is, before and after it is installed."""

from __future__ import annotations

import pathlib
import re
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import attrs
from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from appliance import config as configuration
from appliance.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

#: A distribution in a lock (pip, "Requirements File Format"): name, version, and the machines and Pythons it is for.
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]\n]*\])?==([^\s;\\]+)(?:[ ]*;([^\n\\]*))?")

_KEYS = ("name", "requirements", "check", "prints", "environment", "install")

#: Package managers that ``[install]`` can name packages for, and the systems that have them.
MANAGERS = {"apt": "Debian, Ubuntu", "dnf": "Fedora"}

#: What ``[install]`` can say of programs that no package manager has.
OTHERWISE = "otherwise"

#: Where the package has declarations of its own.
SHIPPED = (configuration.PACKAGE_DIR / "environments", configuration.PACKAGE_DIR / "kernel/languages/declared")


@attrs.frozen
class Declaration:
    """A declared environment.

    ``directory``: where the declaration lies. ``requirements``: its lock, empty for an environment whose programs are
    the system's. ``check``, ``prints``: a cell, and what a kernel must print of it. ``packages``: what to install
    where the program is missing, by package manager.
    """

    directory: pathlib.Path
    name: str
    requirements: str
    check: str
    prints: str
    environment: configuration.Environment
    packages: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def advice(self) -> str:
        """How to install the program with the package managers of this system, or with all where there is none."""
        managers = [manager for manager in self.packages if manager in MANAGERS]
        here = [manager for manager in managers if shutil.which(manager)]
        ways = [f"{manager} install {self.packages[manager]} ({MANAGERS[manager]})" for manager in here or managers]
        return " or ".join([*ways, *(text for key, text in self.packages.items() if key == OTHERWISE)])

    @property
    def lock(self) -> pathlib.Path:
        """The lock beside the declaration."""
        return self.directory / self.requirements


def locate(text: str) -> pathlib.Path:
    """Return a declaration's directory: the one at a path, or the package's own of that name.

    Raises `ConfigError` for what is neither.
    """
    given = pathlib.Path(text)
    if "/" in text or (given / configuration.DECLARATION).exists():
        return given.resolve()
    own = {file.parent.name: file.parent for place in SHIPPED for file in place.glob(f"*/{configuration.DECLARATION}")}
    if text in own:
        return own[text]
    raise ConfigError(
        f"{text} is no directory with {configuration.DECLARATION}, and no name of the package's own: "
        f"{', '.join(sorted(own))}"
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
    texts = {key: _text(file, document, key) for key in _KEYS[:4]}
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
    packages = document.get("install", {})
    if not isinstance(packages, dict) or not all(
        (key in MANAGERS or key == OTHERWISE) and isinstance(text, str) and text for key, text in packages.items()
    ):
        raise ConfigError(f"{file}: install: expected names of packages for {' and '.join(MANAGERS)}, or {OTHERWISE}")
    declared = Declaration(directory, environment=environment, packages=packages, **texts)
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
