"""A permalink server in SageMathCell's design: tornado, SQLite, a commit for each write and a write for each read.

Our own, after the description of that design; plain ``sqlite3`` instead of an object-relational layer makes it faster
than the original. ``python -m benchmarks.permalinks.stand_in SOCKET DATABASE JOURNAL``
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sqlite3
import string
import sys
import zlib
from typing import TYPE_CHECKING, Any

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = """
CREATE TABLE IF NOT EXISTS permalinks (
    ident TEXT PRIMARY KEY, code TEXT, language TEXT, interacts TEXT,
    created TEXT DEFAULT CURRENT_TIMESTAMP, last_accessed TEXT DEFAULT CURRENT_TIMESTAMP, requested INTEGER DEFAULT 0
)
"""


class Permalink(tornado.web.RequestHandler):
    """``POST`` of a form, ``GET ?q=``."""

    def initialize(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def post(self) -> None:
        code = self.get_argument("code")
        language = self.get_argument("language", "sage")
        interacts = self.get_argument("interacts", "[]")
        ident = self._store(code, language, interacts)
        zipped = [base64.urlsafe_b64encode(zlib.compress(text.encode())).decode() for text in (code, interacts)]
        self.write({"query": ident, "zip": zipped[0], "interacts": zipped[1]})

    def _store(self, code: str, language: str, interacts: str) -> str:
        while True:
            ident = "".join(random.choice(string.ascii_lowercase) for _ in range(6))
            try:
                with self._connection:
                    self._connection.execute(
                        "INSERT INTO permalinks (ident, code, language, interacts) VALUES (?, ?, ?, ?)",
                        (ident, code, language, interacts),
                    )
            except sqlite3.IntegrityError:
                continue
            return ident

    def get(self) -> None:
        ident = self.get_argument("q")
        with self._connection:
            row = self._connection.execute(
                "SELECT code, language, interacts FROM permalinks WHERE ident = ?", (ident,)
            ).fetchone()
            if row is None:
                raise tornado.web.HTTPError(404)
            self._connection.execute(
                "UPDATE permalinks SET requested = requested + 1, last_accessed = CURRENT_TIMESTAMP WHERE ident = ?",
                (ident,),
            )
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(row))


async def serve(arguments: Sequence[str]) -> None:
    """Serve until killed."""
    path, database, journal = arguments
    connection: Any = sqlite3.connect(database)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(SCHEMA)
    server = HTTPServer(tornado.web.Application([("/permalink", Permalink, {"connection": connection})]))
    server.add_socket(bind_unix_socket(path))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
