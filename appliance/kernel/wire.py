"""jupyter_client's Session with a short way for the messages that a kernel sends all the time.

A cell sends five or more messages, most of them small, all with the same parent. `KernelSession.send` packs each part
once with an encoder made beforehand, keeps the packed parent of the running cell, and signs in one call. What is
special (buffers, a header of the caller's) goes the ordinary way. `KernelSession.deserialize` leaves dates as they
came, since nothing here reads them. Format: Jupyter messaging, "The Wire Protocol".
"""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_client._version import protocol_version
from jupyter_client.jsonutil import json_default
from jupyter_client.session import DELIM, Session, extract_header

from appliance.kernel.bounds import fitting_content
from appliance.kernel.widget_modules import WidgetModules
from appliance.signature import Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_encode = json.JSONEncoder(default=json_default, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode
_encode_ascii = json.JSONEncoder(default=json_default, allow_nan=False, separators=(",", ":")).encode


def pack(value: Any) -> bytes:
    """Return ``value`` as JSON in UTF-8; what UTF-8 cannot carry (lone surrogates) is escaped."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        return _encode_ascii(value).encode()


#: Messages that put something into the output of a cell.
OUTPUT_TYPES = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error"})


#: Those that hold one object in several forms.
DISPLAY_TYPES = frozenset({"display_data", "update_display_data", "execute_result"})

#: Key of the metadata that holds buffers as text.
BUFFERS = "buffers"


def _from_text(metadata: dict[str, Any]) -> list[memoryview]:
    """Return the buffers in a message's metadata. Raises `ValueError`, `TypeError`."""
    texts = metadata.get(BUFFERS)
    if not isinstance(texts, list):
        return []
    return [memoryview(base64.b64decode(text, validate=True)) for text in texts]


class KernelSession(Session):
    """A session whose key, id and process id are set anew after a fork by `adopt`.

    ``output_metadata``: metadata of all output. ``outputs``: how many of `OUTPUT_TYPES` were sent. ``buffers_as_text``:
    the client is a page of ours, whose connection carries JSON only: buffers travel in base64 in the metadata, in both
    directions. ``modules``: the front ends of widgets that this page has.
    ``prepare_display``: returns what is sent of the forms of a displayed object.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pack=pack, **kwargs)
        self.output_metadata: dict[str, Any] = {}
        self.outputs = 0
        self.buffers_as_text = False
        self.modules = WidgetModules()
        self.prepare_display: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
        self._forget()

    def adopt(self, session_id: str, key: bytes) -> None:
        """Become the session of this process."""
        self.session = session_id
        self.key = key
        self.pid = os.getpid()
        self.digest_history.clear()
        self._forget()

    def _forget(self) -> None:
        self._raw_key = bytes(self.key)
        self._signer = Signer(self._raw_key)
        self._numbers = itertools.count(1)
        # other numbers than those of the ordinary way
        self._prefix = f"{self.session}_{self.pid}_s"
        self._header_end = (
            f'","username":{_encode(self.username)},"session":"{self.session}","version":"{protocol_version}"}}'
        )
        self._parent_header: Any = None
        self._packed_parent = b"{}"

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> dict[str, Any]:
        """Return the message in parts that begin with the signature. Raises `ValueError`, `TypeError`, `KeyError`."""
        if not content or not copy or not self._raw_key or len(msg_list) < 5:
            return super().deserialize(msg_list, content, copy)
        signature = msg_list[0]
        if not hmac.compare_digest(signature, self._signer.sign(msg_list[1:5])):
            raise ValueError("Invalid signature")
        header, parent_header, metadata, body = (
            {} if part == b"{}" else _decode(part.decode()) for part in msg_list[1:5]
        )
        if not str(header.get("version", "")).startswith("5."):
            return super().deserialize(msg_list, content, copy)
        if signature in self.digest_history:
            raise ValueError("Duplicate signature")
        self._add_digest(signature)
        buffers = [memoryview(part) for part in msg_list[5:]] or _from_text(metadata)
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": parent_header,
            "metadata": metadata,
            "content": body,
            "buffers": buffers,
        }

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        """Send a message; return it only on the ordinary way, on the short one ``{"content": content}``."""
        if buffers and self.buffers_as_text:
            metadata = {**(metadata or {}), BUFFERS: [base64.b64encode(buffer).decode("ascii") for buffer in buffers]}
            buffers = None
        if msg_or_type == "comm_open" and self.buffers_as_text:
            content = self.modules.shortened(content)
        whole = type(msg_or_type) is dict and not msg_or_type.get("buffers")
        special = buffers or header is not None or not (whole or type(msg_or_type) is str)
        if special or stream is None or not self._raw_key:
            return super().send(stream, msg_or_type, content, parent, ident, buffers, track, header, metadata)
        if self.pid != os.getpid():
            # A process that visitor's code forked has no part in the conversation.
            return None
        if whole:
            kind = msg_or_type["msg_type"]
            content, parent, metadata = msg_or_type["content"], msg_or_type["parent_header"], msg_or_type["metadata"]
            head = pack(msg_or_type["header"])
        else:
            kind = msg_or_type
            head = (
                f'{{"msg_id":"{self._prefix}{next(self._numbers)}","msg_type":"{msg_or_type}",'
                f'"date":"{datetime.now(UTC).isoformat()}{self._header_end}'
            ).encode()
        if kind in OUTPUT_TYPES:
            self.outputs += 1
            if kind in DISPLAY_TYPES and self.prepare_display is not None:
                content = {**content, "data": self.prepare_display(content["data"])}
            if self.output_metadata:
                metadata = {**(metadata or {}), **self.output_metadata}
        # a message as parent and its bare header come by turns; the header is one object
        parent_header = parent.get("header", parent) if parent else None
        if parent_header is not self._parent_header:
            self._packed_parent = pack(extract_header(parent)) if parent else b"{}"
            self._parent_header = parent_header
        parts = [
            head,
            self._packed_parent,
            pack(metadata) if metadata else b"{}",
            pack(fitting_content(kind, content) or {}),
        ]
        signature = self._signer.sign(parts)
        idents = [ident] if isinstance(ident, bytes) else ident or []
        stream.send_multipart([*idents, DELIM, signature, *parts])
        return {"content": content}
