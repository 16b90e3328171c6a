"""``cellctl config check``: the appliance's configuration and, where they are installed, HAProxy's and nginx's."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from appliance import config as configuration
from appliance import data_sets
from appliance.errors import ConfigError

#: Limits of the edge as shipped, and as the administrator wants them.
EDGE_FILES = (pathlib.Path("/usr/share/cell-appliance/edge.env"), pathlib.Path("/etc/cell-appliance/edge.env"))

#: What checks the edge's configuration, as its units do before they start.
EDGE_CHECKS = (
    ("/usr/sbin/haproxy", "/etc/cell-appliance/haproxy/haproxy.cfg", ("-c", "-f")),
    ("/usr/sbin/nginx", "/etc/cell-appliance/nginx/nginx.conf", ("-q", "-t", "-e", "stderr", "-c")),
)

#: Where nginx has its socket, its pid and its temporary files.
STATIC_RUNTIME = "/run/cell-appliance/static"
#: ... and what permalinks name.
CACHE = "/var/cache/cell-appliance"

CHECK_SECONDS = 30.0


def parse_environment(text: str, name: str) -> dict[str, str]:
    """Return the variables of a file of NAME=VALUE lines (systemd.exec(5), EnvironmentFile=).

    Raises `ConfigError` naming ``name`` and the line.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        key, equals, value = stripped.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"{name}, line {number}: expected NAME=VALUE, found {stripped[:80]!r}")
        found[key] = value.strip("'\"")
    return found


def edge_environment() -> dict[str, str]:
    """Return the limits of the edge. Raises `ConfigError` for a line that is none, and for an unknown name."""
    shipped: dict[str, str] = {}
    for number, path in enumerate(EDGE_FILES):
        if not path.exists():
            continue
        found = parse_environment(path.read_text(encoding="utf-8"), str(path))
        unknown = sorted(found.keys() - shipped.keys())
        if number and unknown:
            raise ConfigError(f"{path}: unknown name {unknown[0]}; the names are those in {EDGE_FILES[0]}")
        shipped |= found
    return shipped


def complaints(text: str) -> str:
    """Return the lines of HAProxy and nginx that say what is wrong, if there are such, else all."""
    lines = text.strip().splitlines()
    grave = [line for line in lines if "[ALERT]" in line or "[emerg]" in line]
    return "; ".join(re.sub(r"^\[ALERT\]\s*\(\d+\) : ", "", line) for line in grave or lines)


def check_edge() -> list[str]:
    """Return what is right about the edge. Raises `ConfigError` with what the program says."""
    right = []
    environment = {"PATH": "/usr/sbin:/usr/bin", **edge_environment()}
    certificate = environment.get("CELL_TLS_CERTIFICATE", "")
    if certificate and not os.access(certificate, os.R_OK):
        raise ConfigError(f"CELL_TLS_CERTIFICATE: {certificate} is missing or cannot be read")
    for program, file, options in EDGE_CHECKS:
        if not (os.path.exists(program) and os.path.exists(file)):
            continue
        # nginx makes its directories when it checks: not in the place of the one that runs
        with tempfile.TemporaryDirectory() as work:
            copy = pathlib.Path(work) / pathlib.Path(file).name
            text = pathlib.Path(file).read_text(encoding="utf-8")
            copy.write_text(text.replace(STATIC_RUNTIME, work).replace(CACHE, work))
            done = subprocess.run(  # noqa: S603 - a fixed program
                [program, *options, str(copy)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=CHECK_SECONDS,
            )
        if done.returncode != 0:
            raise ConfigError(f"{file}: {complaints(done.stderr.replace(str(copy), file)) or done.stdout.strip()}")
        right.append(f"{file}: valid")
    return right


def run(file: str | None, *, with_edge: bool) -> int:
    """Check ``file``, by default the configuration in use, and the edge; return 0, or 78 and say what is wrong."""
    name = file or str(configuration.SYSTEM_FILE)
    status = 0
    try:
        data_sets.check(configuration.load(file))
        print(f"{name}: valid")
    except ConfigError as exc:
        print(f"cellctl: {exc.message}", file=sys.stderr)
        status = 78
    if with_edge:
        try:
            for line in check_edge():
                print(line)
        except ConfigError as exc:
            print(f"cellctl: {exc.message}", file=sys.stderr)
            status = 78
    return status
