"""Prefixes with kernelspecs, for kernels that are programs of their own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib

#: Starts bash_kernel of the tests' interpreter.
BASH = [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"]


def make_prefix(prefix: pathlib.Path) -> pathlib.Path:
    """Make a prefix with the tests' interpreter; return that."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to(sys.executable)
    return prefix / "bin/python"


def kernelspec(prefix: pathlib.Path, name: str, **document: Any) -> None:
    """Write a kernelspec below ``prefix``."""
    directory = prefix / "share/jupyter/kernels" / name
    directory.mkdir(parents=True)
    (directory / "kernel.json").write_text(json.dumps({"display_name": name, "language": name, **document}))
