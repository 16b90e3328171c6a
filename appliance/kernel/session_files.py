"""The files that a program leaves in its home: which are new or changed, and what is in them.

The kernel goes with its evaluation, and its files with it. So they are brought to the page at the end of each
evaluation, as far as they are small enough; names that begin with a dot are left out.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import stat
from dataclasses import dataclass
from typing import Any

MIME = "application/vnd.cell-appliance.files+json"

#: Files told of after one evaluation; further ones are counted.
MAX_LISTED = 100

#: Entries of directories looked at; a program may have made any number.
MAX_LOOKED_AT = 10_000

#: Bytes brought to the page after one evaluation. The server takes messages of ten million bytes, in base64.
MAX_BROUGHT_BYTES = 4_194_304

# The table of types is read now, before the fork.
mimetypes.init()


@dataclass(frozen=True, slots=True)
class SessionFile:
    """A file: its name below the home, its size in bytes, its type (RFC 2046) by its name."""

    name: str
    size: int
    type: str


class SessionFiles:
    """Knows which files of the directory ``home`` have been told of."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._told: dict[str, tuple[int, int]] = {}

    def changed(self) -> list[SessionFile]:
        """Return what is new or changed since the last call, by name."""
        present: dict[str, tuple[int, int]] = {}
        waiting, looked_at = [""], 0
        while waiting and looked_at < MAX_LOOKED_AT:
            folder = waiting.pop()
            try:
                entries = os.scandir(os.path.join(self._home, folder))
            except OSError:
                continue
            with entries:
                for entry in entries:
                    looked_at += 1
                    if entry.name.startswith(".") or looked_at > MAX_LOOKED_AT:
                        continue
                    name = os.path.join(folder, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        present[name] = (status.st_mtime_ns, status.st_size)
        changed = [name for name, state in present.items() if self._told.get(name) != state]
        self._told = present
        return [
            SessionFile(name, present[name][1], mimetypes.guess_type(name)[0] or "application/octet-stream")
            for name in sorted(changed)
        ]

    def read(self, name: str, limit: int) -> bytes | None:
        """Return what is in a file, or None if that is more than ``limit`` bytes, or not there any more."""
        try:
            descriptor = os.open(os.path.join(self._home, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(limit + 1)
        return data if len(data) <= limit else None

    def display(self) -> dict[str, Any] | None:
        """Return what to display of the files that are new or changed, by MIME type; None if there are none."""
        files = self.changed()
        if not files:
            return None
        room = MAX_BROUGHT_BYTES
        listed = []
        for file in files[:MAX_LISTED]:
            entry: dict[str, Any] = {
                "name": file.name.encode("utf-8", "replace").decode(),
                "size": file.size,
                "type": file.type,
            }
            data = self.read(file.name, room) if file.size <= room else None
            if data is not None:
                room -= len(data)
                entry["data"] = base64.b64encode(data).decode("ascii")
            listed.append(entry)
        names = ", ".join(f"{file['name']} ({file['size']:,} bytes)" for file in listed)
        more = len(files) - len(listed)
        further = f" and {more} more" if more else ""
        return {MIME: {"files": listed, "more": more}, "text/plain": f"Files: {names}{further}"}
