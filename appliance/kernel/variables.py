"""The variables of a session, for a page that lists them: name, type, size and the beginning of the repr of each.

A visitor's class may do anything when it is asked for its repr or its length. So each question has a limit of time,
what it prints is not shown, and what it raises is the answer.
"""

from __future__ import annotations

import contextlib
import io
import math
import reprlib
import signal
import types
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What the list is displayed as, to clients that know it.
MIME = "application/vnd.cell-appliance.variables+json"

#: Variables that are listed; further ones are counted.
MAX_LISTED = 200

MAX_NAME_CHARACTERS = 100
MAX_TYPE_CHARACTERS = 60
MAX_REPR_CHARACTERS = 120

#: Time in which one value says what it is, and in which all of them do.
VALUE_SECONDS = 0.25
ALL_SECONDS = 2.0

#: Integers of more bits are told by their number of digits: writing them out takes the square of that.
MAX_INTEGER_BITS = 2_048

#: Entries of a container whose own repr is asked for; lists, dicts and sets themselves are shown by their beginning.
MAX_ENTRIES = 1_000

#: Between the sides of a shape.
TIMES = " \N{MULTIPLICATION SIGN} "

#: Modules whose objects show their beginning and end, however large they are.
_SHORTENED_BY_THEMSELVES = ("numpy", "pandas", "xarray", "torch", "polars")

_NO_VARIABLES = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)


class _TooLong(BaseException):
    """A value takes too long to say what it is; no ``except Exception`` of a visitor catches it."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of the list. ``size``: a length or a shape, "" where there is none."""

    name: str
    type: str
    size: str
    value: str


class _Repr(reprlib.Repr):
    """Shows the beginning of what is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.fillvalue = 3, "…"
        self.maxstring = self.maxother = self.maxlong = MAX_REPR_CHARACTERS
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 20
        self.maxdict = 10

    def repr_int(self, x: int, level: int) -> str:
        """Show an integer, or how long it is."""
        bits = x.bit_length()
        if bits > MAX_INTEGER_BITS:
            return f"{'-' if x < 0 else ''}… ({math.ceil(bits * math.log10(2))} digits)"
        return super().repr_int(x, level)

    def repr_instance(self, x: Any, level: int) -> str:
        """Show what is no container of Python's own by its own repr, unless it may be endless."""
        shortens = type(x).__module__.split(".")[0] in _SHORTENED_BY_THEMSELVES
        if not shortens and hasattr(type(x), "__len__") and len(x) > MAX_ENTRIES:
            return "…"
        return repr(x)

    def repr_str(self, x: str, level: int) -> str:
        """Show the beginning of a text."""
        return repr(x[: self.maxstring]) + ("…" if len(x) > self.maxstring else "")

    def repr_bytes(self, x: bytes, level: int) -> str:
        """Show the beginning of bytes."""
        return repr(bytes(x[: self.maxstring])) + ("…" if len(x) > self.maxstring else "")

    repr_bytearray = repr_bytes


_REPR = _Repr()


def listed(names: dict[str, Any], own: Callable[[str, Any], bool]) -> dict[str, Any]:
    """Return what a page shows of a program's variables; ``own``: whether a name is one of the kernel's.

    ``{"variables": [Variable…], "more": number}``. Raises `KeyboardInterrupt` when the visitor stops it.
    """
    with _limited(ALL_SECONDS) as left:
        found = [(name, value) for name, value in list(names.items()) if _is_variable(name, value, own)]
        found.sort(key=lambda pair: (pair[0].lower(), pair[0]))
        variables = [_described(name, value, left) for name, value in found[:MAX_LISTED]]
    return {"variables": [asdict(each) for each in variables], "more": max(0, len(found) - MAX_LISTED)}


def display(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the display of a list, by MIME type."""
    return {MIME: shown, "text/plain": "Variables"}


def _is_variable(name: Any, value: Any, own: Callable[[str, Any], bool]) -> bool:
    if not isinstance(name, str) or name.startswith("_") or own(name, value):
        return False
    # asked of the type itself: ``__class__`` is whatever a visitor says
    return not issubclass(type(value), _NO_VARIABLES)


def _described(name: str, value: Any, left: Callable[[], float]) -> Variable:
    kind = _asked(lambda: _type_name(value), left, "?")
    size = _asked(lambda: _size(value), left, "")
    text = _asked(lambda: " ".join(_REPR.repr(value).split()), left, None)
    return Variable(
        _cut(name, MAX_NAME_CHARACTERS),
        _cut(kind, MAX_TYPE_CHARACTERS),
        _cut(size, 60),
        _cut(text, MAX_REPR_CHARACTERS),
    )


def _asked(question: Callable[[], str], left: Callable[[], float], otherwise: str | None) -> str:
    """Return the answer, or ``otherwise``, or, if that is None, why there is none."""
    seconds = min(VALUE_SECONDS, left())
    if seconds <= 0:
        return "…" if otherwise is None else otherwise
    try:
        with _alarm(seconds):
            answer = question()
        return answer if type(answer) is str else str.__str__(answer)
    except KeyboardInterrupt:
        raise
    except _TooLong:
        return "(takes too long to show)" if otherwise is None else otherwise
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a visitor's repr included
        return f"({type.__getattribute__(type(exc), '__name__')} in repr)" if otherwise is None else otherwise


def _type_name(value: Any) -> str:
    kind = type(value)
    module = str(type.__getattribute__(kind, "__module__"))
    name = str(type.__getattribute__(kind, "__name__"))
    return name if module in ("builtins", "__main__") else f"{module.split('.')[0]}.{name}"


def _size(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(side, int) for side in shape):
        return TIMES.join(str(int(side)) for side in shape)
    return str(len(value)) if hasattr(type(value), "__len__") else ""


def _cut(text: str, characters: int) -> str:
    """Return the beginning of a text, which may be of any kind of character, as JSON can carry it."""
    shown = text if len(text) <= characters else f"{text[: characters - 1]}…"
    return shown.encode("utf-8", "replace").decode()


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[Callable[[], float]]:
    """While it lasts, nothing that is printed is shown; give how many seconds are left."""
    import time

    deadline = time.monotonic() + seconds
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield lambda: deadline - time.monotonic()


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` after a time, and again until it is heard. A timer of the visitor's own goes on afterwards."""

    def ring(*_: object) -> None:
        raise _TooLong

    handler = signal.signal(signal.SIGALRM, ring)
    try:
        before = signal.setitimer(signal.ITIMER_REAL, seconds, VALUE_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *before)
    finally:
        signal.signal(signal.SIGALRM, handler)
