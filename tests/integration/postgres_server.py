"""A PostgreSQL server of its own for tests, on a Unix socket."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from tests.integration.running import wait_for

_PLACES = ":".join([os.environ.get("PATH", ""), *map(str, sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin")))])
POSTGRES = shutil.which("postgres", path=_PLACES)
INITDB = shutil.which("initdb", path=_PLACES)

#: PostgreSQL does not run as root.
NOBODY = 65_534


class PostgresServer:
    """One server with one database, ``url``."""

    def __init__(self) -> None:
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            os.chown(self.base, NOBODY, NOBODY)
            self.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.base.chmod(0o755)
        self.data = self.base / "data"
        self.url = f"postgresql://cells@/postgres?host={self.base}"
        command = [str(INITDB), "-D", str(self.data), "-U", "cells", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*self.prefix, *command, "--locale=C.UTF-8"], check=True, capture_output=True, cwd=self.base)
        self.settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.base),
            "shared_buffers": "32MB",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        import psycopg

        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = [part for setting in self.settings.items() for part in ("-c", "=".join(setting))]
        self.process = subprocess.Popen(
            [*self.prefix, str(POSTGRES), "-D", str(self.data), *options],
            cwd=self.base,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def answers() -> bool:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_for("PostgreSQL answers", answers, 30)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: by default at once and cleanly; SIGQUIT is a crash of all its processes."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.base)
