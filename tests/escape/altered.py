"""A copy of the server with one layer of its confinement taken out: the product itself has no switch for that."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import struct
import tempfile
from typing import TYPE_CHECKING

from tests.integration.running import ROOT, Appliance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A filter of system calls that is in force and allows everything: return SECCOMP_RET_ALLOW (seccomp(2)).
ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)

#: Environments are named by their own path, and are not needed with their libraries: kernels start in no time.
CONFIG = f"""
[pool]
max_kernels = 8
ready = 1
ready_max = 1
lease_wait_seconds = 1.0
[environment.python]
python = "{ROOT}/.envs/python/bin/python"
preload = []
"""


@contextlib.contextmanager
def altered(
    changes: Mapping[str, Mapping[str, str]],
    files: Mapping[str, bytes] | None = None,
    toml: str = "",
    *,
    wait_until_ready: bool = True,
) -> Iterator[tuple[Appliance, pathlib.Path]]:
    """Run an appliance from a copy in which texts of files are replaced; yield it and the copy's package.

    ``changes``: file of the package to old text to new text; each old text must be there, exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="ct-", dir="/tmp") as name:
        base = pathlib.Path(name)
        base.chmod(0o755)
        package = base / "appliance"
        ignore = shutil.ignore_patterns("node_modules", "__pycache__", "src", "test")
        shutil.copytree(ROOT / "appliance", package, ignore=ignore)
        for file, replacements in changes.items():
            text = (package / file).read_text(encoding="utf-8")
            for old, new in replacements.items():
                assert text.count(old) == 1, f"{file} has changed: {old!r} is there {text.count(old)} times"
                text = text.replace(old, new)
            (package / file).write_text(text, encoding="utf-8")
        for file, data in (files or {}).items():
            (package / file).write_bytes(data)
        appliance = Appliance(CONFIG + toml, root=base, wait_until_ready=wait_until_ready)
        try:
            yield appliance, package
        finally:
            appliance.stop()
