"""The configuration of this host: the file, and the declarations of environments that were added."""

from __future__ import annotations

import os
import pathlib
import tomllib

import attrs

from appliance.config.checks import check, check_name
from appliance.config.model import PACKAGE_DIR, PACKAGED_ENVIRONMENTS_DIR, Config
from appliance.config.tables import Environment
from appliance.config.text import parse, section
from appliance.errors import ConfigError

SYSTEM_FILE = pathlib.Path("/etc/cell-appliance/appliance.toml")

#: What an environment's directory says of it.
DECLARATION = "environment.toml"


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration file; with no path, the system's file if there is one, else the defaults.

    Raises `ConfigError` when the file cannot be read or is wrong.
    """
    file = pathlib.Path(path) if path is not None else SYSTEM_FILE
    if path is None and not file.exists():
        return _with_declared(Config())
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    config = _with_declared(parse(text, str(file)))
    # only now is it known which environments there are
    if config.default_environment not in config.environment:
        known = ", ".join(sorted(config.environment))
        raise ConfigError(f"{file}: web.default_environment: none of {known}: {config.default_environment!r}")
    return config


def declarations(config: Config) -> dict[str, pathlib.Path]:
    """Return the declarations of environments that were added, by name. Raises `ConfigError`."""
    found = {}
    try:
        for directory in sorted(pathlib.Path(config.environments_dir).iterdir()):
            if (directory / DECLARATION).is_file():
                found[directory.name] = directory / DECLARATION
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"environments_dir: {config.environments_dir} cannot be read: {exc}") from exc
    for name in found:
        check_name("environments_dir", name)
    return found


def _with_declared(config: Config) -> Config:
    """Add the environments that were added. Raises `ConfigError`."""
    declared = {
        name: declared_environment(file)
        for name, file in declarations(config).items()
        if name not in config.environment
    }
    if not declared:
        return config
    config = attrs.evolve(config, environment={**config.environment, **declared})
    check(config)
    return config


def declared_environment(file: pathlib.Path) -> Environment:
    """Return the environment of a declaration, with the interpreter that is made beside it if it has requirements.

    Raises `ConfigError` naming the file.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        environment: Environment = section("environment", Environment, document.get("environment", {}))
        if environment.python:
            raise ConfigError("environment.python: it is the interpreter that is made from the lock; leave it out")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{file}: {exc.message}") from exc
    return (
        attrs.evolve(environment, python=str(file.parent / "bin/python"))
        if document.get("requirements")
        else environment
    )


def environment_python(name: str, environment: Environment) -> pathlib.Path:
    """Return the interpreter of an environment: the configured one, else the built one, else the packaged one.

    Raises `ConfigError` naming every place that was looked at.
    """
    places = (
        [pathlib.Path(environment.python)]
        if environment.python
        else [PACKAGE_DIR.parent / ".envs" / name / "bin/python", PACKAGED_ENVIRONMENTS_DIR / name / "bin/python"]
    )
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise ConfigError(
        f"environment.{name}: there is no interpreter at {' or '.join(map(str, places))}; "
        f"./dev builds it in a checkout, a package brings it; else set environment.{name}.python"
    )
