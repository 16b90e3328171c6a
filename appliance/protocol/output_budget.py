"""What one evaluation may send to the page that asked for it: the decisions, without I/O.

A kernel is hostile, so nothing here rests on what it does to its own output. Everything is counted on our side:
bytes, messages, displays, characters of text and messages a second, for each evaluation. What passes a limit is left
out and counted; the reader is told once for each limit, and at the end how much is missing. Of text the beginning and
the end are kept: what is left out of a stream goes through a short *tail*, which comes after all as soon as the rate
allows it, or when the evaluation ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from appliance.protocol.frames import KernelFrame

#: Seconds of the message rate that may come at once: a loop that displays a few hundred things is no flood.
BURST_SECONDS = 5.0

#: Characters kept of the end of each stream.
TAIL_CHARACTERS = 20_000

#: Largest update of a display that is kept as the last one.
MAX_LAST_UPDATE_BYTES = 65_536

#: Bytes of a reply beyond which it is made shorter; the largest outcome that passes whatever came before it.
MAX_REPLY_BYTES = 1_048_576

#: Messages that put something new into the page, or change what is there.
DISPLAY_TYPES = frozenset({"display_data", "update_display_data", "execute_result"})

#: Messages of which the first of an evaluation passes whatever came before it.
OUTCOME_TYPES = frozenset({"error", "execute_result"})

STREAMS = ("stdout", "stderr")


@attrs.frozen
class OutputLimits:
    """The limits; see ``[output]`` in the configuration for each."""

    max_bytes: int
    max_messages: int
    max_displays: int
    stream_characters: int
    text_characters: int
    messages_per_second: int


@attrs.frozen
class Verdict:
    """What becomes of a message.

    ``content``: what to deliver: the message's own (the same object), a shorter one, or None to leave it out.
    ``notice``: what to say on stderr after it.
    """

    content: Mapping[str, Any] | None
    notice: str = ""


def grouped(number: int) -> str:
    """Return a number with its digits in groups of three."""
    return f"{number:,}".replace(",", " ")


def _counted(number: int, noun: str) -> str:
    return f"{grouped(number)} {noun}" + ("" if number == 1 else "s")


def shortened(text: str, limit: int) -> str:
    """Return ``text``, or its beginning and end with a line between them when it is longer than ``limit``."""
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 2, limit // 2
    left_out = f"[{_counted(len(text) - limit, 'character')} left out: the limit of one text is {grouped(limit)}.]"
    return f"{text[:head]}\n{left_out}\n{text[len(text) - tail :]}"


def _shortened_texts(content: Mapping[str, Any], names: Sequence[str], limit: int) -> tuple[dict[str, Any], int]:
    """Return the content with each named text shortened, and the characters left out.

    A list of texts that is too long becomes one text in a list.
    """
    changed = dict(content)
    left_out = 0
    for name in names:
        value = content.get(name)
        if isinstance(value, str):
            changed[name] = shortened(value, limit)
            left_out += max(0, len(value) - limit)
        elif isinstance(value, list) and all(isinstance(line, str) for line in value):
            length = sum(map(len, value)) + len(value)
            if length > limit:
                changed[name] = [shortened("\n".join(value), limit)]
                left_out += length - limit
    return changed, left_out


def shortened_content(msg_type: str, content: Mapping[str, Any], limit: int) -> tuple[Mapping[str, Any], int]:
    """Return the content of a message with texts of at most ``limit`` characters, and the characters left out.

    When there are none, it is the same object.
    """
    changed: Mapping[str, Any] = content
    left_out = 0
    if msg_type == "stream":
        changed, left_out = _shortened_texts(content, ("text",), limit)
    elif msg_type == "error":
        changed, left_out = _shortened_texts(content, ("ename", "evalue", "traceback"), limit)
    elif msg_type in DISPLAY_TYPES and isinstance(content.get("data"), dict):
        data, left_out = _shortened_texts(content["data"], ("text/plain",), limit)
        changed = {**content, "data": data}
    return (changed, left_out) if left_out else (content, 0)


def shortened_reply(content: Mapping[str, Any], limit: int) -> Mapping[str, Any]:
    """Return the content of an execute_reply with nothing in it that could be large but its texts, and those short.

    Source of the fields: Jupyter messaging, "Execution results".
    """
    changed: dict[str, Any] = {"status": "ok" if content.get("status") == "ok" else "error"}
    count = content.get("execution_count")
    changed["execution_count"] = count if type(count) is int and abs(count) < 1 << 53 else None
    changed |= {"user_expressions": {}, "payload": []}
    if changed["status"] == "error":
        texts, _ = _shortened_texts(content, ("ename", "evalue", "traceback"), limit)
        traceback = texts.get("traceback")
        lines = isinstance(traceback, list) and all(isinstance(line, str) for line in traceback)
        changed["ename"] = texts["ename"] if isinstance(texts.get("ename"), str) else ""
        changed["evalue"] = texts["evalue"] if isinstance(texts.get("evalue"), str) else ""
        changed["traceback"] = traceback if lines else []
    return changed


class MessageRate:
    """Messages a second: a bucket of tokens that fills at that rate."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._most
        self._filled_at: float | None = None

    def take(self, now: float) -> bool:
        """Return whether one more message may pass now."""
        if self._filled_at is not None:
            grown = self._tokens + max(0.0, now - self._filled_at) * self._per_second
            self._tokens = min(self._most, grown)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Tail:
    """The end of a stream: the last characters of what was left out of it."""

    def __init__(self) -> None:
        self._text = ""
        #: Characters that did not fit, since the last `take`.
        self.lost = 0

    def __bool__(self) -> bool:
        return bool(self._text)

    def add(self, text: str) -> None:
        excess = len(self._text) + len(text) - TAIL_CHARACTERS
        if excess > 0:
            self.lost += excess
            self._text = (self._text + text[-TAIL_CHARACTERS:])[-TAIL_CHARACTERS:]
        else:
            self._text += text

    def take(self) -> str:
        text = f"\n[{_counted(self.lost, 'character')} left out.]\n{self._text}" if self.lost else self._text
        self._text, self.lost = "", 0
        return text


class OutputBudget:
    """What is left of one evaluation's limits."""

    def __init__(self, limits: OutputLimits) -> None:
        self._limits = limits
        self._rate = MessageRate(limits.messages_per_second)
        self._bytes = 0
        self._messages = 0
        self._displays = 0
        self._characters = 0
        self._outcomes: set[str] = set()
        self._told: set[str] = set()
        self._tails = {name: _Tail() for name in STREAMS}
        self._last_update: KernelFrame | None = None
        self._left_out_messages = 0
        self._left_out_characters = 0

    def admit(self, frame: KernelFrame, now: float) -> Verdict:
        """Decide what becomes of a message on iopub."""
        limits = self._limits
        content: Mapping[str, Any] = frame.content
        size = frame.size
        kind = frame.msg_type
        text = content.get("text") if kind == "stream" else None
        if size > limits.text_characters:
            content, left_out = shortened_content(kind, content, limits.text_characters)
            size -= left_out
        limit = self._passed(kind, size)
        if limit is None and not self._rate.take(now):
            limit = f"{grouped(limits.messages_per_second)} messages a second"  # streams are held back instead
        if kind in OUTCOME_TYPES and kind not in self._outcomes and (limit is None or size <= MAX_REPLY_BYTES):
            # what an evaluation came to is shown after any amount of output
            self._outcomes.add(kind)
            limit = None
        if isinstance(text, str) and content.get("name") in STREAMS:
            return self._admit_stream(content, text, size, limit)
        if limit is not None:
            self._left_out_messages += 1
            if kind == "update_display_data" and size <= MAX_LAST_UPDATE_BYTES:
                self._last_update = frame
            return Verdict(None, self._notice(limit))
        self._charge(kind, size)
        if kind == "update_display_data":
            self._last_update = None
        return Verdict(content)

    def _admit_stream(self, content: Mapping[str, Any], text: str, size: int, limit: str | None) -> Verdict:
        limits = self._limits
        name = content["name"]
        tail = self._tails[name]
        if limit is not None:
            tail.add(text)
            return Verdict(None, self._notice(limit))
        shown = self._take(tail) + content["text"] if tail else content["text"]
        room = limits.stream_characters - self._characters
        self._charge("stream", size)
        self._characters += len(shown)
        if len(shown) <= room:
            unchanged = shown is text and set(content) == {"name", "text"}
            return Verdict(content if unchanged else {"name": name, "text": shown})
        tail.add(shown[room:])
        notice = self._notice(f"{grouped(limits.stream_characters)} characters of text")
        return Verdict({"name": name, "text": shown[:room]} if room > 0 else None, notice)

    def release(self, now: float) -> list[tuple[str, str]]:
        """Return the text, by stream, that only the rate held back and that may come now."""
        return [
            (name, self._take(tail))
            for name, tail in self._tails.items()
            if tail and self._passed("stream", 0) is None and self._rate.take(now)
        ]

    def close(self) -> tuple[list[tuple[str, str]], KernelFrame | None]:
        """Return what is to be said at the end: texts, by stream, and the last state of what was updated too often."""
        for tail in self._tails.values():
            self._left_out_characters += tail.lost
            tail.lost = 0
        parts = []
        if self._left_out_characters:
            parts.append(_counted(self._left_out_characters, "character"))
        if self._left_out_messages:
            parts.append(_counted(self._left_out_messages, "message"))
        ends = [(name, tail.take()) for name, tail in self._tails.items() if tail]
        last_update, self._last_update = self._last_update, None
        self._left_out_characters = self._left_out_messages = 0
        if not parts:
            return ends, last_update
        following = " Its end follows." if ends else ""
        notice = f"\n[Left out of this output: {' and '.join(parts)}.{following}]\n"
        return [("stderr", notice), *ends], last_update

    def _take(self, tail: _Tail) -> str:
        """Take a tail that goes into the middle of the output."""
        self._left_out_characters += tail.lost
        return tail.take()

    def _passed(self, kind: str, size: int) -> str | None:
        """Return the limit of the whole evaluation that a message would pass, in words."""
        limits = self._limits
        if self._bytes + size > limits.max_bytes:
            return f"{grouped(limits.max_bytes)} bytes"
        if self._messages >= limits.max_messages:
            return f"{grouped(limits.max_messages)} messages"
        if kind in DISPLAY_TYPES and self._displays >= limits.max_displays:
            return f"{grouped(limits.max_displays)} displayed results"
        if kind == "stream" and self._characters >= limits.stream_characters:
            return f"{grouped(limits.stream_characters)} characters of text"
        return None

    def _charge(self, kind: str, size: int) -> None:
        self._bytes += size
        self._messages += 1
        if kind in DISPLAY_TYPES:
            self._displays += 1

    def _notice(self, limit: str) -> str:
        """Return the sentence for a limit, the first time it is passed."""
        if limit in self._told:
            return ""
        self._told.add(limit)
        return f"\n[Output is limited to {limit} for one evaluation: what is above that is left out.]\n"
