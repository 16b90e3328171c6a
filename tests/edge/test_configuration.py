"""Both programs accept the shipped configuration as it is, and every limit in it has a value and is used."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT, StartEdge, shipped_limits, tool

if TYPE_CHECKING:
    from pathlib import Path


def test_haproxy_accepts_the_shipped_file() -> None:
    done = subprocess.run(
        [tool("haproxy"), "-c", "-f", str(ROOT / "haproxy" / "haproxy.cfg")],
        env={**os.environ, **shipped_limits()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("name", ["haproxy.cfg", "nodes.cfg"])
def test_every_variable_has_a_value_and_a_use(name: str) -> None:
    configuration = (ROOT / "haproxy" / name).read_text()
    used = set(re.findall(r"\$\{(\w+)(?:\[\*\])?\}", configuration))
    assert used == set(shipped_limits("edge.env" if name == "haproxy.cfg" else "nodes.env"))


@pytest.mark.parametrize("name", ["haproxy.cfg", "nodes.cfg"])
def test_no_variable_is_outside_double_quotes(name: str) -> None:
    for line in (ROOT / "haproxy" / name).read_text().splitlines():
        outside = re.sub(r'"[^"]*"', "", line)
        assert "$" not in outside, line


def test_nginx_accepts_the_configuration(start_edge: StartEdge) -> None:
    edge = start_edge()
    done = subprocess.run(
        [tool("nginx"), "-t", "-e", "stderr", "-c", str(edge.directory / "nginx" / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "syntax is ok" in done.stderr
    assert "[warn]" not in done.stderr


@pytest.mark.parametrize("wrong", ["CELL_MAX_CONNECTIONS", "CELL_COMPUTATIONS_PER_ADDRESS", "CELL_REQUEST_TIMEOUT"])
def test_a_wrong_limit_is_refused_before_the_start(wrong: str) -> None:
    done = subprocess.run(
        [tool("haproxy"), "-c", "-f", str(ROOT / "haproxy" / "haproxy.cfg")],
        env={**os.environ, **shipped_limits(), wrong: "lots"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0


def test_the_variables_become_a_file_that_haproxy_reads_first(tmp_path: Path) -> None:
    """So that a reload takes what has changed: the environment of a running process does not."""
    odd = {"CELL_BALANCERS": "10.0.0.1 10.0.0.2", "CELL_ODD": 'it\'s "$HOME" \\ #'}
    path = os.environ.get("PATH", "")
    subprocess.run(
        [str(ROOT / "units" / "libexec" / "cell-edge-settings")],
        env={**shipped_limits(), **odd, "PATH": path, "OTHER": "1", "RUNTIME_DIRECTORY": str(tmp_path)},
        check=True,
    )
    settings = tmp_path / "settings.cfg"
    text = settings.read_text()
    assert "OTHER" not in text
    assert "    unsetenv CELL_TLS_CERTIFICATE\n" in text
    assert "    setenv CELL_ODD 'it'\\''s \"$HOME\" \\ #'\n" in text
    command = [tool("haproxy"), "-c", "-f", str(settings), "-f", str(ROOT / "haproxy" / "haproxy.cfg")]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
