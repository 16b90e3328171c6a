"""The few of Jupyter's messages that the relay makes and understands (Jupyter messaging, "The wire protocol")."""

from __future__ import annotations

import datetime
import json
import uuid

from appliance.signature import Signer

DELIMITER = b"<IDS|MSG>"

#: Asked of the server (``kernel_timeout``) for a kernel that the page has a use for; the server has limits of its own.
KEEP_SECONDS = 86_400

#: Version of the messaging protocol that the relay's own requests follow.
PROTOCOL_VERSION = "5.3"

#: Topic or routing parts before the delimiter.
MAX_TOPIC_PARTS = 8


class Requests:
    """Makes signed messages of one session."""

    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key)
        self._session = uuid.uuid4().hex

    def message(self, msg_type: str, content: dict[str, object], parent: bytes = b"{}") -> tuple[str, list[bytes]]:
        """Return the id and the parts of a message. ``parent``: the header of the request that it is about, as JSON."""
        msg_id = uuid.uuid4().hex
        header = {
            "msg_id": msg_id,
            "msg_type": msg_type,
            "session": self._session,
            "username": "cell-relay",
            "date": datetime.datetime.now(datetime.UTC).isoformat(),
            "version": PROTOCOL_VERSION,
        }
        parts = [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()]
        return msg_id, [DELIMITER, self._signer.sign(parts), *parts]


def body(parts: list[bytes]) -> list[bytes]:
    """Return a message without its topic or routing parts: delimiter, signature and the rest; empty when it is none."""
    try:
        return parts[parts.index(DELIMITER, 0, MAX_TOPIC_PARTS + 1) :]
    except ValueError:
        return []


def _field(parts: list[bytes], number: int, name: str) -> object:
    """Return a field of one of the JSON parts (2 header, 3 parent header, 5 content), or None."""
    try:
        return json.loads(body(parts)[number])[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def parent_of(parts: list[bytes]) -> object:
    """Return the id of the request that a message belongs to, or None."""
    return _field(parts, 3, "msg_id")


def state_of(parts: list[bytes]) -> object:
    """Return the execution state that a status message tells, or None when it is no status message."""
    return _field(parts, 5, "execution_state") if _field(parts, 2, "msg_type") == "status" else None


def is_idle(parts: list[bytes]) -> bool:
    """Return whether a message says that the kernel is idle."""
    return state_of(parts) == "idle"
