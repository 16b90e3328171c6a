"""``sys._sage_``: the object that clients and programs of SageMathCell expect in a kernel."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from ipykernel.jsonutil import json_clean

from appliance.kernel.interacts import sage_face
from appliance.zygote import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable


class SageApi:
    """Answers the user expression that such clients send with each evaluation, and what programs call."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        #: Files that were offered, and when each had been changed last.
        self.sent_files: dict[str, float] = {}

    @property
    def namespace(self) -> dict[str, Any]:
        """The names of the visitor's program."""
        names: dict[str, Any] = self._kernel.shell.user_ns
        return names

    def new_files(self, root: str = "") -> str:
        """Offer the files that are new or changed, in the reply's payload; return the text that clients ask for."""
        for name in self._kernel.offer_files():
            with contextlib.suppress(OSError):
                self.sent_files[name] = os.stat(os.path.join(sandbox.HOME, name)).st_mtime
        return ""

    def update_interact(self, interact_id: str, name: str | None = None, value: Any = None) -> None:
        """Set a control and run its interact; without a name only run it. Raises `ValueError`."""
        values = {} if name is None else {name: value}
        sage_face.update(self._kernel.runs, {"interact_id": interact_id, "values": values, "update_last": name is None})
        self._kernel.runs.settle()

    def display_message(self, data: dict[str, Any] | str) -> None:
        """Display forms of an object by MIME type, or a text."""
        self._kernel.publish_display({"text/plain": data} if isinstance(data, str) else data)

    def stream_message(self, stream: str, data: str) -> None:
        """Print to ``stdout`` or ``stderr``."""
        print(data, end="", file=sys.stderr if stream == "stderr" else sys.stdout)

    def javascript(self, code: str) -> None:
        """Run JavaScript in the frame of the output."""
        self._kernel.publish_display({"application/javascript": code, "text/plain": "JavaScript code"})

    def clear(self, changed: list[str]) -> None:
        """Clear the output."""
        self._kernel.publish_display({"application/sage-clear": {"changed": changed}, "text/plain": "Clear display"})

    def threejs(self, picture: Any) -> None:
        """Show a three-dimensional picture of Sage's by three.js."""
        picture.show(viewer="threejs")

    def register_handler(self, kind: str, handler: Callable[[Any, list[bytes], dict[str, Any]], Any]) -> None:
        """Have ``handler(stream, identities, message)`` called for messages of type ``kind`` that clients send."""
        self._kernel.shell_handlers[kind] = handler

    def send_message(
        self, stream: Any, kind: str, content: dict[str, Any], parent: dict[str, Any], ident: Any = None
    ) -> None:
        """Send a message: to the client on ``stream`` as a handler was given it, to all where that is None."""
        session, publisher = self._kernel.session, self._kernel.publisher
        session.send(publisher if stream is None else stream, kind, json_clean(content), parent, ident=ident)

    def reset_kernel_timeout(self, timeout: float) -> None:
        """Ask the server to keep the kernel although its evaluations end; the server has limits of its own."""
        if timeout > 0:
            self._kernel.keep_alive()


def install(kernel: Any) -> None:
    """Put the object where clients look for it."""
    sys._sage_ = SageApi(kernel)  # type: ignore[attr-defined]
