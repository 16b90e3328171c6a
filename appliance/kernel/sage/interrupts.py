"""SIGINT while Sage computes in C: cysignals' handler jumps out of the computation, Python's would wait for its end.

cysignals installs a handler in C, and one of Python's that the first calls when no such computation runs. The kernel's
handler takes the place of the second only: the first is saved as sigaction(2) describes it, and put back whenever
Python has replaced it.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
from collections.abc import Callable
from types import FrameType

#: More than a struct sigaction has on any machine.
_ACTION_BYTES = 256

Handler = Callable[[int, FrameType | None], object]


class NativeHandler:
    """cysignals' way to handle SIGINT."""

    def __init__(self) -> None:
        self._sigaction = ctypes.CDLL(None, use_errno=True).sigaction
        self._action = ctypes.create_string_buffer(_ACTION_BYTES)
        before = signal.getsignal(signal.SIGINT)
        importlib.import_module("cysignals").init_cysignals()
        self._forget = signal.getsignal(signal.SIGINT)
        self._sigaction(signal.SIGINT, None, self._action)
        signal.signal(signal.SIGINT, before)

    def install(self, handler: Handler) -> None:
        """Have ``handler`` called, by Python, for a SIGINT that does not end a computation in C."""

        def called(number: int, frame: FrameType | None) -> None:
            try:
                # else the next computation in C would be interrupted by it
                if callable(self._forget):
                    self._forget(number, frame)
            except KeyboardInterrupt:
                pass
            handler(number, frame)

        signal.signal(signal.SIGINT, called)
        self._sigaction(signal.SIGINT, self._action, None)
