"""A context in which signal handlers do not raise: what would be lost halfway is done first."""

from __future__ import annotations

import threading


class Uninterrupted:
    """While it lasts in the main thread, where signal handlers run, interruptions wait for its end; may be nested."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting: BaseException | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._depth -= 1
        if not self._depth and self._waiting is not None:
            interruption, self._waiting = self._waiting, None
            raise interruption

    @property
    def entered(self) -> bool:
        """Whether this is the main thread and within: what asks before it enters is called by a signal handler."""
        return self._depth > 0 and threading.current_thread() is threading.main_thread()

    def interrupt(self, interruption: BaseException) -> None:
        """In a signal handler: raise ``interruption`` now or when the context ends."""
        if self._depth:
            self._waiting = interruption
        else:
            self._waiting = None
            raise interruption
