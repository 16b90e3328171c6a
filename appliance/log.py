"""Logging of every process: events with fields, to the journal under systemd, else one line each on standard error.

`start` sends everything there: `twisted.logger` events, the standard library's `logging`, and warnings.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

from systemd import journal
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.logger import LogEvent

#: Longest line or journal field; a longer one is cut, so that a hostile value cannot fill the log.
MAX_TEXT_CHARACTERS = 16_384

#: Most fields of one event that go to the journal.
MAX_FIELDS = 32

_LEVELS: dict[str, Any] = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}

_FACTORY_FORMATS = ("Starting factory {factory!r}", "Stopping factory {factory!r}")

#: syslog(3) priorities, as journald wants them.
_PRIORITIES = {
    LogLevel.debug: journal.LOG_DEBUG,
    LogLevel.info: journal.LOG_INFO,
    LogLevel.warn: journal.LOG_WARNING,
    LogLevel.error: journal.LOG_ERR,
    LogLevel.critical: journal.LOG_CRIT,
}

#: What could end a line, drive a terminal, or show a line as another: C0 and C1 controls, Unicode's line separators,
#: and its marks without width or for the direction of text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def kernel_name(kernel_id: str) -> str:
    """Return a name of a kernel for logs: its id is what lets a client in, so it is never written down."""
    return hashlib.blake2b(kernel_id.encode(), digest_size=4).hexdigest()


def escape(text: str) -> str:
    """Return ``text`` on one line that no terminal takes for commands, cut to `MAX_TEXT_CHARACTERS`."""
    if len(text) > MAX_TEXT_CHARACTERS:
        text = text[:MAX_TEXT_CHARACTERS] + "…"
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    try:
        traceback: str = failure.getTraceback()
    except Exception as exc:  # noqa: BLE001 - an error in a failure's own repr must not lose the event
        traceback = f"(its traceback cannot be shown: {type(exc).__name__})"
    return "\n" + traceback.rstrip()


def journal_text(event: LogEvent) -> str:
    """Return what ``MESSAGE`` holds: the event on one line, then its traceback, if it has one, in lines with an indent.

    Readers of the journal print lines and controls as they are (journalctl --output=cat), or pass them on to syslog.
    """
    lines = [escape(formatEvent(event)), *(f"    {escape(line)}" for line in _traceback(event).splitlines()[1:])]
    return "\n".join(lines)[:MAX_TEXT_CHARACTERS]


@implementer(ILogObserver)
class LineObserver:
    """Writes each event as one line: time, level, namespace, message, and a traceback with escaped newlines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """Write ``event``; a reader that went away ends nothing."""
        level = event.get("log_level", LogLevel.info)
        when = formatTime(event.get("log_time"), "%Y-%m-%dT%H:%M:%S%z")
        line = f"{when} {level.name:<5} {event.get('log_namespace', '-')}: {formatEvent(event)}{_traceback(event)}"
        try:
            self._stream.write(escape(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def journal_fields(event: LogEvent) -> dict[str, str]:
    """Return the event's own fields as journal fields: ``kernel_id`` becomes ``CELL_KERNEL_ID``.

    Only text and numbers: a journal is for reading, not for object dumps. Source: systemd.journal-fields(7).
    """
    fields: dict[str, str] = {}
    for key, value in event.items():
        name = key.upper()
        if key.startswith("log_") or not isinstance(value, str | int | float):
            continue
        if re.fullmatch(r"[A-Z][A-Z0-9_]{0,58}", name) and len(fields) < MAX_FIELDS:
            fields[f"CELL_{name}"] = escape(str(value))[:MAX_TEXT_CHARACTERS]
    return fields


@implementer(ILogObserver)
class JournalObserver:
    """Sends each event to journald with its fields."""

    def __init__(self, role: str, send: Callable[..., Any] = journal.send) -> None:
        self._role = role
        self._send = send

    def __call__(self, event: LogEvent) -> None:
        """Send ``event``; a journal that does not answer ends nothing."""
        fields = journal_fields(event)
        level = event.get("log_level", LogLevel.info)
        try:
            self._send(
                journal_text(event),
                PRIORITY=str(_PRIORITIES.get(level, journal.LOG_INFO)),
                SYSLOG_IDENTIFIER=f"cell-{self._role}",
                CELL_ROLE=self._role,
                CELL_NAMESPACE=str(event.get("log_namespace", "-")),
                **fields,
            )
        except OSError:
            return


class _ToTwisted(logging.Handler):
    """Passes a record of the standard library's logging on as an event."""

    def emit(self, record: logging.LogRecord) -> None:
        level = LogLevel.debug
        for threshold, name in (
            (logging.INFO, LogLevel.info),
            (logging.WARNING, LogLevel.warn),
            (logging.ERROR, LogLevel.error),
            (logging.CRITICAL, LogLevel.critical),
        ):
            if record.levelno >= threshold:
                level = name
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - a caller's wrong format string must not raise in the caller
            self.handleError(record)
            return
        Logger(namespace=record.name).emit(level, "{text}", text=text)


def connected_to_journal(environ: Mapping[str, str], fd: int) -> bool:
    """Return whether ``fd`` is the stream to the journal that systemd named in ``JOURNAL_STREAM`` (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(fd)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def _no_factories(event: LogEvent) -> Any:
    """Drop what Twisted says in the name of each factory when it is first or last used."""
    says = event.get("log_format")
    return PredicateResult.no if says in _FACTORY_FORMATS else PredicateResult.maybe


def observer(role: str, level: str, stream: TextIO, environ: Mapping[str, str]) -> ILogObserver:
    """Return the observer for this process: the journal's if standard error leads there, else lines on ``stream``."""
    try:
        to_journal = connected_to_journal(environ, stream.fileno())
    except (OSError, ValueError):
        to_journal = False
    target = JournalObserver(role) if to_journal else LineObserver(stream)
    predicate = LogLevelFilterPredicate(_LEVELS[level])
    predicates: list[Any] = [predicate]
    if level == "info":
        # At this level Twisted reports each port and connection it opens and closes.
        for namespace in ("log_legacy", "twisted"):
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
        predicates.append(_no_factories)
    return FilteringLogObserver(target, predicates)


def start(role: str, level: str, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send the events of this process to the journal or to ``stream`` (default: standard error).

    ``level`` is one of `appliance.config.LOG_LEVELS`. Call it once, before the reactor runs.
    """
    target = observer(role, level, stream if stream is not None else sys.stderr, environ)
    globalLogBeginner.beginLoggingTo([target], redirectStandardIO=False)
    root = logging.getLogger()
    root.handlers[:] = [_ToTwisted()]
    root.setLevel(getattr(logging, "WARNING" if level == "warn" else level.upper()))
    logging.captureWarnings(capture=True)
