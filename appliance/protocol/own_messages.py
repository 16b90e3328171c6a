"""Messages that the server itself says in a session, in the kernel's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.protocol import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.protocol.frames import KernelFrame


class OwnMessages:
    """Makes messages of one session; ``now`` returns ISO 8601 time."""

    def __init__(self, kernel_id: str, now: Callable[[], str]) -> None:
        self.kernel_id = kernel_id
        self._now = now
        self._made = 0

    def frame(
        self,
        channel: str,
        msg_type: str,
        content: Mapping[str, Any],
        parent: Mapping[str, Any],
        msg_id: str = "",
    ) -> KernelFrame:
        """Return a message of our own; ``msg_id``: that of the kernel's which it takes the place of."""
        self._made += 1
        return frames.make_frame(
            channel,
            msg_type,
            content,
            parent=parent,
            msg_id=msg_id or f"{self.kernel_id}_{self._made}",
            session=self.kernel_id,
            date=self._now(),
        )

    def idle(self, header: Mapping[str, Any]) -> KernelFrame:
        """Return the status message that ends a request."""
        return self.frame("iopub", "status", {"execution_state": "idle"}, header)

    def notice(self, header: Mapping[str, Any], text: str) -> KernelFrame:
        """Return a line on stderr."""
        return self.stream(header, "stderr", text)

    def stream(self, header: Mapping[str, Any], name: str, text: str, msg_id: str = "") -> KernelFrame:
        """Return text on a stream."""
        return self.frame("iopub", "stream", {"name": name, "text": text}, header, msg_id)

    def failure(self, header: Mapping[str, Any], ename: str, sentence: str) -> KernelFrame:
        """Return a reply that tells why an evaluation failed."""
        content: dict[str, Any] = {
            "status": "error",
            "ename": ename,
            "evalue": sentence,
            "traceback": [],
            "execution_count": None,
            "user_expressions": {},
            "payload": [],
        }
        return self.frame("shell", "execute_reply", content, header)

    def failed(self, header: Mapping[str, Any], ename: str, sentence: str) -> list[KernelFrame]:
        """Return the messages that end an evaluation that failed."""
        return [self.failure(header, ename, sentence), self.idle(header)]
