"""What the verbs of ``cellctl env`` do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from appliance import config as configuration
from appliance.cli.env import build, declaration, trial
from appliance.errors import ApplianceError, ConfigError
from appliance.zygote import kernelspec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from appliance.config import Config


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run one verb and return the exit status."""
    if arguments.verb == "list":
        return show(config, as_json=arguments.json)
    for number in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does: nothing is left running or half-made
        signal.signal(number, _interrupted)
    os.umask(0o022)  # kernels' accounts must be able to read what is made
    if arguments.verb == "add":
        with _alone(config):
            add(config, declaration.locate(arguments.declaration))
        return 0
    if arguments.verb == "remove":
        with _alone(config):
            return remove(config, arguments.name, ask=not arguments.yes)
    return verify(config, arguments.names)


def _interrupted(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _say(text: str) -> None:
    print(text, flush=True)


def _installed(config: Config) -> dict[str, pathlib.Path]:
    """Return the directories of environments that were added, by name."""
    return {name: file.parent for name, file in configuration.declarations(config).items()}


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold the directory of environments, which is made if there is none. Raises `ApplianceError` if another does."""
    directory = pathlib.Path(config.environments_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise ApplianceError(f"environments_dir: {exc}") from exc
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ApplianceError(f"another cellctl env is at work in {directory}; try again when it has ended") from exc
        yield
    finally:
        os.close(held)


def show(config: Config, *, as_json: bool) -> int:
    """Print every environment, what it runs and where that is."""
    installed = _installed(config)
    rows = []
    for name, environment in config.environment.items():
        try:
            where = environment.python or ("" if environment.kernelspec else str(_python(name, environment)))
        except ConfigError:
            where = "not installed"
        runs = f"kernelspec {environment.kernelspec}" if environment.kernelspec else "Python, forked"
        rows.append(
            {
                "name": name,
                "language": environment.language or name,
                "runs": runs,
                "added": name in installed,
                "python": where,
                "ready": config.ready[name],
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        added = "added" if row["added"] else "configured"
        print(f"{row['name']:<16} {row['language']:<12} {row['runs']:<24} {added:<11} {row['python']}".rstrip())
    return 0


def _python(name: str, environment: configuration.Environment) -> pathlib.Path:
    return configuration.environment_python(name, environment)


def add(config: Config, source: pathlib.Path) -> None:
    """Install the environment that is declared in ``source``. Raises `ApplianceError`; then nothing is left."""
    began = time.monotonic()
    declared = declaration.read(source)
    target = pathlib.Path(config.environments_dir) / declared.name
    if declared.name in config.environment or (target / configuration.DECLARATION).exists():
        raise ApplianceError(
            f"there is an environment {declared.name} already; cellctl env remove {declared.name} first"
        )
    if source.is_relative_to(target.resolve()):
        raise ApplianceError(f"{source} is where the environment will be; declare it elsewhere")
    there = target.exists()
    if there and not build.unfinished(target):
        raise ApplianceError(f"{target} is in the way: cellctl env did not make it")
    _say(f"environment {declared.name}")
    try:
        if there:
            _say("clearing away what an earlier try left")
            build.clear(target)
        if declared.environment.kernelspec and not declared.requirements:
            _find_program(declared)
        target.mkdir()
        tried = target / build.UNFINISHED
        shutil.copyfile(source / configuration.DECLARATION, tried)
        if declared.requirements:
            build.build(declared, target, _say)
            shutil.copyfile(declared.lock, target / declared.requirements)
        _say("a kernel of it, in the sandbox")
        seconds = trial.evaluate(config, declared, configuration.declared_environment(tried))
        tried.replace(target / configuration.DECLARATION)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            build.clear(target)
        left = f"{target} could not be cleared away" if target.exists() else "nothing was left behind"
        if isinstance(exc, OSError):
            raise ApplianceError(f"{declared.name}: {exc}\n{left}") from exc
        if isinstance(exc, ApplianceError):
            raise ApplianceError(f"{declared.name}: {exc.message}\n{left}") from exc
        raise
    _say(f"its check answered in {seconds:.1f} s")
    _say(f"{declared.name}: added in {time.monotonic() - began:.0f} s. An installed appliance takes it by:")
    _say(f"  systemctl enable --now cell-zygote@{declared.name}.service && cellctl restart")


def _find_program(declared: declaration.Declaration) -> None:
    """Raise `ConfigError`, which says how to install it, if the system lacks the program of a kernelspec."""
    try:
        kernelspec.find_apart(declared.name, declared.environment)
    except ConfigError as exc:
        advice = f"\ninstall it: {declared.advice}" if declared.advice else ""
        raise ConfigError(f"{exc.message}{advice}") from exc


def remove(config: Config, name: str, *, ask: bool) -> int:
    """Remove an environment that was added; return 1 if it was kept. Raises `ApplianceError`."""
    directory = _directory(config, name)
    if ask:
        if not sys.stdin.isatty():
            raise ApplianceError(f"remove {directory}? Nobody is here to answer; say --yes")
        if input(f"Remove {directory} for good? [y/N] ").strip().lower() not in ("y", "yes"):
            _say("kept")
            return 1
    try:
        build.clear(directory)
    except OSError as exc:
        raise ApplianceError(f"{directory} cannot be removed: {exc}") from exc
    _say(f"{name}: removed. An installed appliance forgets it by:")
    _say(f"  systemctl disable --now cell-zygote@{name}.service && cellctl restart")
    return 0


def _directory(config: Config, name: str) -> pathlib.Path:
    installed = _installed(config)
    if name not in installed:
        there = ", ".join(installed) or "none"
        raise ApplianceError(f"there is no environment {name!r} that was added; there are: {there}")
    return installed[name]


def verify(config: Config, names: list[str]) -> int:
    """Compare with the locks, start kernels; return 0 if all is right, else 1. Raises `ApplianceError`."""
    directories = {name: _directory(config, name) for name in names} if names else _installed(config)
    if not directories:
        _say("no environment was added")
    bad = 0
    for name, directory in directories.items():
        try:
            declared = declaration.read(directory)
            wrong = build.differences(declared, directory) if declared.requirements else []
            if declared.name != name:
                wrong.append(f"its declaration is that of {declared.name}")
            if not wrong:
                seconds = trial.evaluate(config, declared, declared.environment)
        except ApplianceError as exc:
            wrong = [exc.message]
        bad += bool(wrong)
        _say(f"{name}: " + ("; ".join(wrong) if wrong else f"as declared; its check answered in {seconds:.1f} s"))
    return 1 if bad else 0
