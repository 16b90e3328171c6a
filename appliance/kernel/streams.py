"""sys.stdout and sys.stderr of a kernel: text is gathered and published as Jupyter ``stream`` messages.

Text goes out when a cell ends, before anything else is displayed, when `FLUSH_CHARACTERS` have gathered, and at the
latest `TICK_SECONDS` after it was written, so that a slow loop shows its progress. Writes to the file descriptors 1 and
2, by C code or child processes, come through pipes into the same streams.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import threading
from typing import TYPE_CHECKING, Any

from appliance.kernel.bounds import fitting_text
from appliance.kernel.uninterrupted import Uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS = 0.1
FLUSH_CHARACTERS = 65_536
#: Bytes of one message's text. ZeroMQ counts messages, and keeps `channels.IOPUB_HIGH_WATER_MARK` of them for a reader
#: that pauses: together they must leave room in a kernel's memory.
MESSAGE_BYTES = 32_768
#: Bytes of a character in UTF-8, at most.
_CHARACTER_BYTES = 4
#: Bytes taken from a captured descriptor at once.
READ_BYTES = 65_536


class Stream(io.TextIOBase):
    """A text stream that publishes what is written to it."""

    def __init__(
        self,
        name: str,
        descriptor: int,
        publish: Callable[[str, str], None],
        dirty: Callable[[], None],
        uninterrupted: Uninterrupted | None = None,
    ) -> None:
        """``publish(name, text)`` sends; ``dirty()`` asks for a flush within a tick. Both do nothing in a zygote.

        ``uninterrupted``: what lasts while messages are sent.
        """
        self._name = name
        self._descriptor = descriptor
        self._publish = publish
        self._dirty = dirty
        self._uninterrupted = uninterrupted or Uninterrupted()
        self._parts: list[str] = []
        self._size = 0
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._pipe = -1
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._buffer = _Bytes(self)

    @property
    def name(self) -> str:
        """``stdout`` or ``stderr``."""
        return self._name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, as JSON is."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What happens to text that UTF-8 cannot carry."""
        return "backslashreplace"

    @property
    def buffer(self) -> io.RawIOBase:
        """Where bytes may be written."""
        return self._buffer

    def adopt(self) -> int:
        """Belong to this process after a fork and capture the file descriptor; return the pipe to watch."""
        self._pid = os.getpid()
        self._pipe, write = os.pipe()
        os.set_blocking(self._pipe, False)
        os.dup2(write, self._descriptor)
        os.close(write)
        return self._pipe

    def fileno(self) -> int:
        """Return the captured descriptor, so that child processes may be given this stream."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return False: there is no terminal."""
        return False

    def readable(self) -> bool:
        """Return False."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Gather ``text``; return its length."""
        if type(text) is not str and not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        size = len(text)
        if not size:
            return 0
        self._parts.append(text)
        if len(self._parts) == 1:
            self._dirty()
        self._size += size
        if self._size >= FLUSH_CHARACTERS:
            self.flush()
        return size

    def flush(self) -> None:
        """Publish what has gathered."""
        if self._pid != os.getpid():
            self._flush_in_fork()
            return
        if self._uninterrupted.entered:
            # In a signal handler, amid a message or a flush. The ticker may hold the lock and wait for that message.
            self._dirty()
            return
        # Taken and published under the lock: two threads that flush must not swap their texts, and one that finds
        # nothing may say that the cell has ended only when what the other took is on its way. An interruption between
        # the two would lose the text.
        with self._uninterrupted, self._lock:
            if self._pipe >= 0:
                self._drain()
            text = fitting_text("".join(self._take())) if self._parts else ""
            size = MESSAGE_BYTES if text.isascii() else MESSAGE_BYTES // _CHARACTER_BYTES
            for start in range(0, len(text), size):
                self._publish(self._name, text[start : start + size])
        if self._parts:
            # another thread wrote meanwhile, and found that somebody had asked for a flush: for this one
            self._dirty()

    def _drain(self) -> None:
        """Take what was written to the captured descriptor."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self._pipe, READ_BYTES)
                text = self._decoder.decode(data)
                self._parts.append(text)
                self._size += len(text)
                if len(data) < READ_BYTES:
                    return

    def forget(self) -> None:
        """In a process that was just forked, drop what the parent will publish."""
        self._take()
        self._lock = threading.RLock()

    def _take(self) -> list[str]:
        """Remove and return what has gathered; what another thread adds meanwhile stays."""
        parts = self._parts[:]
        del self._parts[: len(parts)]
        self._size = 0
        return parts

    def _flush_in_fork(self) -> None:
        """In a process the visitor forked, write to the captured descriptor: the parent publishes it."""
        data = "".join(self._take()).encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]


class _Bytes(io.RawIOBase):
    """The ``buffer`` of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes as UTF-8 text, replacing what is not."""
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "replace"))
        return len(raw)

    def flush(self) -> None:
        """Publish what has gathered."""
        self._stream.flush()


class Ticker:
    """A thread that flushes streams `TICK_SECONDS` after one became dirty."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._wake = threading.Lock()
        self._wake.acquire()
        self._pause = threading.Event()
        self._started = False

    def start(self) -> None:
        """Start the thread; only in a kernel, never before a fork."""
        self._started = True
        threading.Thread(target=self._run, name="stream ticker", daemon=True).start()

    def wake(self) -> None:
        """Ask for a flush within a tick."""
        if self._started and self._wake.locked():
            try:
                self._wake.release()
            except RuntimeError:
                # Another thread released it between the two lines.
                return

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            self._pause.wait(TICK_SECONDS)
            self._flush()
