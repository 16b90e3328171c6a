"""Put together what runs in the guest: our tests, and pytest from this environment."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from typing import TYPE_CHECKING

from tests.packaging.machine import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: What the tests import beside what the installed roles have.
DISTRIBUTIONS = ("pytest", "pytest-timeout", "websocket-client")


def requirements(names: tuple[str, ...]) -> set[str]:
    """Return the names with those of everything that they require, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in importlib.metadata.requires(name) or []:
            words, _, marker = requirement.partition(";")
            match = re.match(r"[A-Za-z0-9._-]+", words)
            if match and not marker.strip():
                waiting.append(match[0])
    return found


def put_together(target: Path) -> None:
    """Fill ``target`` with tests/, pyproject.toml and site/, a directory for PYTHONPATH."""
    shutil.copytree(ROOT / "tests", target / "tests", ignore=shutil.ignore_patterns("__pycache__", "browser", "unit"))
    shutil.copy(ROOT / "pyproject.toml", target)
    for name in requirements(DISTRIBUTIONS):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue  # commands, and what the guest's interpreter makes for itself
            destination = target / "site" / file
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(distribution.locate_file(file), destination)
