"""The queue on disk, which is the log itself: files of JSON lines, and how far they were passed on.

What is in a file has been synchronized before its sender is told. When all files together are larger than the cap, the
oldest goes; events in it that had not been passed on are counted as dropped. The names of files only grow, whatever
the clock does, so that their order is the order of events.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import threading
from typing import TYPE_CHECKING

import attrs
from twisted.logger import Logger

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

log = Logger()

_NAME = re.compile(r"requests-(\d{4}-\d{2}-\d{2})-(\d{4,})\.jsonl")
_CURSOR = "passed-on.json"

#: Bytes of one reading for passing on.
READ_BYTES = 262_144

#: A file is at most this part of the cap: what is dropped at the cap is one file.
_PARTS = 16

#: Nothing is too old when the file before is older than this: either nobody was here, or the clock is wrong.
MAX_QUIET_DAYS = 30


@attrs.frozen(order=True)
class Segment:
    """A file of the log: day and number within the day."""

    day: datetime.date
    number: int

    @property
    def name(self) -> str:
        """Its name."""
        return f"requests-{self.day.isoformat()}-{self.number:04}.jsonl"


def segment_of(name: str) -> Segment | None:
    """Return the file of the log that has a name, None for any other name."""
    match = _NAME.fullmatch(name)
    if match is not None:
        with contextlib.suppress(ValueError):
            return Segment(datetime.date.fromisoformat(match[1]), int(match[2]))
    return None


def segments(directory: pathlib.Path) -> list[Segment]:
    """Return the files of a log, oldest first."""
    return sorted(found for path in directory.iterdir() if (found := segment_of(path.name)))


class Spool:
    """The files in one directory. ``max_bytes`` bounds them together, ``retention_days`` their age."""

    def __init__(self, directory: pathlib.Path, max_bytes: int, retention_days: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._retention_days = retention_days
        self._lock = threading.RLock()  # one thread appends, another passes on
        self._following = False
        self._file = -1
        self._size = 0
        self._segment: Segment | None = None
        self.dropped = 0
        self._place: tuple[Segment, int] | None = None
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            cursor = json.loads((directory / _CURSOR).read_bytes())
            self.dropped = int(cursor["dropped"])
            segment = segment_of(str(cursor["file"]))
            self._place = None if segment is None else (segment, int(cursor["offset"]))
        self._mend()

    def _mend(self) -> None:
        """Cut off a line that a crash left unfinished: nobody was told that it is kept."""
        for segment in segments(self._directory)[-1:]:
            with (self._directory / segment.name).open("rb+") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size - 2_097_152)
                file.seek(start)
                end = file.read().rfind(b"\n") + 1
                if start + end < size:
                    file.truncate(start + end)

    def append(self, lines: Sequence[bytes], today: datetime.date) -> None:
        """Keep lines, and return when they are on disk. Raises `OSError`, and keeps none of them then."""
        with self._lock:
            self._open(today)
            data = memoryview(b"".join(lines))
            added = len(data)
            try:
                while data:
                    data = data[os.write(self._file, data) :]
                os.fdatasync(self._file)
            except OSError:
                os.ftruncate(self._file, self._size)
                raise
            self._size += added

    def _open(self, today: datetime.date) -> None:
        """Begin a new file when there is none, the day has changed, or the file is large; then remove old ones."""
        segment = self._segment
        if segment is not None and today <= segment.day and self._size < self._max_bytes // _PARTS:
            return
        self.close()
        last = next(reversed(segments(self._directory)), None)
        new = Segment(today, 0) if last is None or today > last.day else Segment(last.day, last.number + 1)
        self._file = os.open(
            self._directory / new.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640
        )
        self._segment, self._size = new, 0
        self._synchronize()
        self._remove(today, last)

    def _synchronize(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _remove(self, today: datetime.date, last: Segment | None) -> None:
        """Remove what is too old, and the oldest while there is no room for one more file."""
        found = segments(self._directory)
        sizes = [(self._directory / segment.name).stat().st_size for segment in found]
        total = sum(sizes) + self._max_bytes // _PARTS
        quiet = last is not None and (today - last.day).days > MAX_QUIET_DAYS
        for segment, size in zip(found[:-1], sizes, strict=False):
            old = (today - segment.day).days > self._retention_days and not quiet
            if not old and total <= self._max_bytes:
                break
            self._count_dropped(segment)
            (self._directory / segment.name).unlink()
            total -= size

    def _count_dropped(self, segment: Segment) -> None:
        if not self._following or self._place is None or segment < self._place[0]:
            return
        with (self._directory / segment.name).open("rb") as file:
            file.seek(self._place[1] if segment == self._place[0] else 0)
            lost = sum(block.count(b"\n") for block in iter(lambda: file.read(READ_BYTES), b""))
        if lost:
            self.dropped += lost
            log.error("{count} events were dropped: the request log has reached its largest size", count=lost)
            self._save()

    def follow(self) -> None:
        """Begin to pass events on, from where it was left or from now on."""
        with self._lock:
            self._following = True
            found = segments(self._directory)
            if self._place is None:
                last = found[-1] if found else Segment(datetime.date.min, 0)
                self._place = (last, (self._directory / last.name).stat().st_size if found else 0)
                self._save()

    def pending(self) -> tuple[list[bytes], tuple[Segment, int]]:
        """Return whole lines that come next, at most `READ_BYTES` and one line, and the place after them."""
        with self._lock:
            begin = self._place or (Segment(datetime.date.min, 0), 0)
            for segment in segments(self._directory):
                if segment < begin[0]:
                    continue
                offset = begin[1] if segment == begin[0] else 0
                with (self._directory / segment.name).open("rb") as file:
                    file.seek(offset)
                    data = file.read(READ_BYTES)
                    if data and not data.endswith(b"\n"):
                        data += file.readline()
                data = data[: data.rfind(b"\n") + 1]
                if data:
                    return data.splitlines(keepends=True), (segment, offset + len(data))
            return [], begin

    def passed_on(self, place: tuple[Segment, int]) -> None:
        """Remember that everything before a place has been passed on."""
        with self._lock:
            if self._place is None or place > self._place:
                self._place = place
                self._save()

    def _save(self) -> None:
        segment, offset = self._place or (Segment(datetime.date.min, 0), 0)
        new = self._directory / f".{_CURSOR}.new"
        new.write_text(json.dumps({"file": segment.name, "offset": offset, "dropped": self.dropped}))
        os.replace(new, self._directory / _CURSOR)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._segment = None
