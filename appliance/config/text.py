"""The configuration as TOML text, read and written."""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any, get_type_hints

import attrs

from appliance.config.checks import check, check_name
from appliance.config.lines import line_of
from appliance.config.model import Config
from appliance.config.tables import Environment, Profile
from appliance.errors import ConfigError

_SCALARS = tuple(field.name for field in attrs.fields(Config) if "doc" in field.metadata)
_TABLES: dict[str, Any] = {
    field.name: factory
    for field in attrs.fields(Config)
    if attrs.has(factory := getattr(field.default, "factory", None))  # type: ignore[arg-type]
}
_NAMED_TABLES: dict[str, Any] = {"profile": Profile, "environment": Environment}
#: How messages begin that are about a key.
_NAMED_KEY = re.compile(r"(?:unknown key )?([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?=[:; ])")


def parse(text: str, source: str = "configuration") -> Config:
    """Return the configuration written in TOML ``text``.

    Raises `ConfigError` naming ``source``, the line where it can be told, and the key.
    """
    try:
        document = tomllib.loads(text)
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name in _SCALARS:
                values[name] = _typed(name, value, str)
            elif name in _TABLES:
                values[name] = section(name, _TABLES[name], value)
            elif name in _NAMED_TABLES:
                if not isinstance(value, dict):
                    raise ConfigError(f"{name}: expected tables [{name}.NAME], found {value!r}")
                for key in value:
                    check_name(name, key)
                tables = {key: section(f"{name}.{key}", _NAMED_TABLES[name], table) for key, table in value.items()}
                default = attrs.fields_dict(Config)[name].default.factory()  # type: ignore[union-attr]
                values[name] = {**default, **tables}
            else:
                known = (*_SCALARS, *_TABLES, *(f"{key}.NAME" for key in _NAMED_TABLES))
                raise ConfigError(f"unknown key {name}; known keys: {', '.join(known)}")
        config = Config(**values)
        check(config)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{source}: not TOML: {exc}") from exc
    except ConfigError as exc:
        named = _NAMED_KEY.match(exc.message)
        line = line_of(text, named[1]) if named else None
        raise ConfigError(f"{source}{f', line {line}' if line else ''}: {exc.message}") from exc
    return config


def _typed(where: str, value: Any, kind: Any) -> Any:
    """Return ``value`` as ``kind``, or raise `ConfigError` naming the key."""
    if kind == int | None:
        kind = int
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{where}: expected a list of strings, found {value!r}")
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, found {value!r}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}: must be a finite number, found {value!r}")
    if kind in (int, float) and value < 0:
        raise ConfigError(f"{where}: must not be negative, found {value!r}")
    return value


def section(where: str, cls: Any, table: Any) -> Any:
    """Return a table of the file as the class of its keys. Raises `ConfigError` naming the key that is wrong."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, found {table!r}")
    hints = get_type_hints(cls)
    values = {}
    for name, value in table.items():
        if name not in hints:
            raise ConfigError(f"unknown key {where}.{name}; known keys: {', '.join(hints)}")
        values[name] = _typed(f"{where}.{name}", value, hints[name])
    return cls(**values)


def _toml(value: Any) -> str:
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one character that JSON allows in a string and TOML does not


def render(config: Config, *, comments: bool = False) -> str:
    """Return ``config`` as TOML text that `parse` reads back to an equal value; optionally each key with its reason."""
    lines: list[str] = []

    def emit(item: Any, names: list[str]) -> None:
        for field in attrs.fields(type(item)):
            if field.name in names:
                if comments:
                    lines.append(f"# {field.metadata['doc']}")
                value = getattr(item, field.name)
                if value is not None:
                    lines.append(f"{field.name} = {_toml(value)}")
                elif comments:
                    lines.append(f"# {field.name} =")

    def table(title: str, item: Any) -> None:
        lines.append("")
        if comments:
            lines.append(f"# {type(item).__doc__}")
        lines.append(f"[{title}]")
        emit(item, [field.name for field in attrs.fields(type(item))])

    emit(config, list(_SCALARS))
    for name in _TABLES:
        table(name, getattr(config, name))
    for name in _NAMED_TABLES:
        for key, item in getattr(config, name).items():
            table(f"{name}.{key}", item)
    return "\n".join(lines) + "\n"
