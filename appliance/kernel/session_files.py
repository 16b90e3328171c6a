"""The files that a program leaves in its home: which are new or changed, and what is in them.

The kernel goes with its evaluation, and its files with it. So they are brought to the page at the end of each
evaluation, as far as they are small enough; names that begin with a dot are left out.
"""

from __future__ import annotations

import base64
import contextlib
import mimetypes
import os
import re
import threading
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.kernel.home_files import opened_directory, opened_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIME = "application/vnd.cell-appliance.files+json"

#: Files told of after one evaluation; further ones are counted.
MAX_LISTED = 100

#: Entries of directories looked at; a program may have made any number.
MAX_LOOKED_AT = 10_000

#: Bytes of a name, as the server takes it.
MAX_NAME_BYTES = 1024

#: Bytes brought to the page after one evaluation. The server takes messages of ten million bytes, in base64.
MAX_BROUGHT_BYTES = 4_194_304

#: Bytes of one file that is put where it can be fetched, and of all of them after one evaluation. The server takes
#: messages of ten million bytes.
MAX_SENT_BYTES = 8_388_608
MAX_ALL_SENT_BYTES = 33_554_432

#: Bytes of files put into one displayed object, which becomes a third larger by it.
MAX_INLINE_BYTES = 4_194_304

#: A picture by the name of its file, as programs of SageMathCell display it.
IMAGE_FILE = "text/image-filename"

_IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})

#: A file of the session in the HTML of such programs, and in Markdown, where a parenthesis ends an address.
_LINKS = {
    "text/html": re.compile(r"cell://([^\s\"'<>?#]+)(?:\?[^\s\"'<>#]*)?", re.IGNORECASE),
    "text/markdown": re.compile(r"cell://([^\s\"'<>?#()]+)(?:\?[^\s\"'<>#()]*)?", re.IGNORECASE),
}

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
        #: Noted since the present look began.
        self._noted: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def changed(self) -> list[SessionFile]:
        """Return what is new or changed since the last call, by name."""
        with self._lock:
            self._noted = {}
        present: dict[str, tuple[int, int]] = {}
        waiting, looked_at = [""], 0
        while waiting and looked_at < MAX_LOOKED_AT:
            folder = waiting.pop()
            try:
                directory = opened_directory(self._home, folder.split("/") if folder else ())
            except OSError:
                continue
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        looked_at += 1
                        if entry.name.startswith(".") or looked_at > MAX_LOOKED_AT:
                            continue
                        name = os.path.join(folder, entry.name)
                        # no address names it, and the way down would be gone anew for each step of it
                        if len(os.fsencode(name)) > MAX_NAME_BYTES:
                            continue
                        # a file that is gone by now says nothing of the others
                        with contextlib.suppress(OSError):
                            if entry.is_dir(follow_symlinks=False):
                                waiting.append(name)
                            elif entry.is_file(follow_symlinks=False):
                                status = entry.stat(follow_symlinks=False)
                                present[name] = (status.st_mtime_ns, status.st_size)
            except OSError:
                continue
            finally:
                os.close(directory)
        with self._lock:
            told, noted = self._told, self._noted
            # what was noted meanwhile may be there in another state than was seen
            changed = [name for name, state in present.items() if name not in noted and told.get(name) != state]
            self._told = present | noted
        return [SessionFile(name, present[name][1], _type_of(name)) for name in sorted(changed)]

    def note(self, name: str) -> None:
        """Take a file as told of, in whichever thread: it is not new because it is there."""
        with contextlib.suppress(OSError):
            *folders, last = name.split("/")
            directory = opened_directory(self._home, folders)
            try:
                status = os.stat(last, dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(directory)
            with self._lock:
                self._told[name] = self._noted[name] = (status.st_mtime_ns, status.st_size)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return what is in a file, or None if that is more than ``limit`` bytes, or not there any more."""
        try:
            descriptor = opened_file(self._home, name.split("/"))
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            if os.fstat(descriptor).st_size > limit:
                return None
            # it may have grown since
            data = file.read(limit + 1)
        return data if len(data) <= limit else None

    def send_changed(self, send: Callable[[str, bytes], None]) -> tuple[list[str], list[str]]:
        """Hand what is new or changed to ``send``; return the names of what was sent and of what is too large."""
        room = MAX_ALL_SENT_BYTES
        sent: list[str] = []
        left: list[str] = []
        for file in self.changed():
            data = self.read(file.name, min(room, MAX_SENT_BYTES)) if len(sent) < MAX_LISTED else None
            if data is None:
                left.append(file.name)
                continue
            room -= len(data)
            send(file.name, data)
            sent.append(file.name)
        return sent, left

    def linked(self, data: Mapping[str, Any]) -> list[str]:
        """Return the files that a displayed object names, as programs of SageMathCell do."""
        names = [_unquoted(match[1]) for kind, link in _LINKS.items() for match in link.finditer(_text(data, kind))]
        image = data.get(IMAGE_FILE)
        if isinstance(image, str):
            names.append(image.partition("?")[0])
        return list(dict.fromkeys(names))[:MAX_LISTED]

    def send_linked(self, data: Mapping[str, Any], send: Callable[[str, bytes], None]) -> None:
        """Hand the files that a displayed object names to ``send``."""
        for name in self.linked(data):
            content = self.read(name, MAX_SENT_BYTES)
            if content is not None:
                send(name, content)

    def with_linked(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a displayed object with the files in it that it names, as far as they fit."""
        names = self.linked(data)
        room, found = MAX_INLINE_BYTES, {}
        for name in names:
            content = self.read(name, room)
            if content is not None:
                room -= len(content)
                found[name] = content
        if not found:
            return data

        def address(match: re.Match[str]) -> str:
            name = _unquoted(match[1])
            if name not in found:
                return match[0]
            called = urllib.parse.quote(name.rpartition("/")[2], safe="")
            return f"data:{_type_of(name)};name={called};base64,{base64.b64encode(found[name]).decode('ascii')}"

        filled = dict(data)
        for kind, link in _LINKS.items():
            if _text(data, kind):
                filled[kind] = link.sub(address, _text(data, kind))
        image = str(data.get(IMAGE_FILE, "")).partition("?")[0]
        picture = _type_of(image)
        if image in found and picture in _IMAGE_TYPES:
            if picture == "image/svg+xml":
                filled.setdefault(picture, found[image].decode("utf-8", "replace"))
            else:
                filled.setdefault(picture, base64.b64encode(found[image]).decode("ascii"))
        return filled

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


def leaves_some(shown: Mapping[str, Any]) -> bool:
    """Return whether a list of files names some without what is in them: only their kernel has that."""
    return any("data" not in file for file in shown.get(MIME, {}).get("files", ()))


def names_files(data: Mapping[str, Any]) -> bool:
    """Return whether a displayed object may name files."""
    return IMAGE_FILE in data or any("cell://" in _text(data, kind).lower() for kind in _LINKS)


def _text(data: Mapping[str, Any], kind: str) -> str:
    text = data.get(kind)
    return text if isinstance(text, str) else ""


def _unquoted(name: str) -> str:
    """Return a name as it was before it was made part of an address in HTML."""
    return urllib.parse.unquote(name.replace("&amp;", "&"))


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
