"""Completion and help for a page, over the prefix ``complete,`` of SageMathCell's connections.

A question goes to the kernel that the page used last, if it lives and has nothing to do, so that its variables
complete; else to a kernel of the page's own, leased by the first question, counted for the page like any other, and
given back when nobody has asked for a while. Two forms of question are understood: today's messages
(``complete_request`` with code and cursor_pos, ``inspect_request``), and those of clients from before 2014
(``complete_request`` with text and line, ``object_info_request``), which are answered in their own form.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.errors import ApplianceError, InvalidMessage
from appliance.protocol.death import DeathReason
from appliance.protocol.frames import ClientMessage, decode_client_json, make_client_message, make_frame
from appliance.web.pool_client import ANY_KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.protocol.frames import KernelFrame
    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel
    from appliance.web.pool_client import Visitor, WantedKernel

log = Logger()

#: The page's own kernel is given back after this long without a question.
IDLE_SECONDS = 60.0

#: Longest wait for an answer; then an empty one is given.
ANSWER_SECONDS = 5.0

#: Questions at once; who types does not wait for more.
MAX_QUESTIONS = 8

#: Characters of code in a question.
MAX_CODE_CHARS = 65_000


def modern_question(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return type and content of a question as kernels of today understand it; raises `InvalidMessage`."""
    header, content = message.get("header"), message.get("content")
    if not isinstance(header, dict) or not isinstance(content, dict):
        raise InvalidMessage("A question has a header and a content.")
    kind = header.get("msg_type")
    if kind == "object_info_request":
        name, level = content.get("oname"), content.get("detail_level", 0)
        question = {"code": name, "cursor_pos": len(name) if isinstance(name, str) else 0, "detail_level": level}
        kind = "inspect_request"
    elif kind in ("complete_request", "inspect_request"):
        code = content.get("code")
        if code is None:
            code = content.get("line") or content.get("text")
        position = content.get("cursor_pos")
        if isinstance(code, str) and not isinstance(position, int):
            position = len(code)
        question = {"code": code, "cursor_pos": position}
        if kind == "inspect_request":
            question["detail_level"] = content.get("detail_level", 0)
    else:
        raise InvalidMessage("A question is a complete_request, an inspect_request or an object_info_request.")
    if not isinstance(question["code"], str) or len(question["code"]) > MAX_CODE_CHARS:
        raise InvalidMessage(f"A question has code of at most {MAX_CODE_CHARS} characters.")
    if question.get("detail_level", 0) not in (0, 1):
        raise InvalidMessage("detail_level is 0 or 1.")
    return str(kind), question


def old_object_info(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an inspect_reply as the object_info_reply that old clients wait for."""
    data = content.get("data")
    text = data.get("text/plain", "") if isinstance(data, dict) else ""
    return {"name": name, "found": bool(content.get("found")), "docstring": text, "ismagic": False, "isalias": False}


class _Asker:
    """A client of a kernel that waits for one reply."""

    def __init__(self, msg_id: str) -> None:
        self._msg_id = msg_id
        self.done: Deferred[Mapping[str, Any]] = Deferred()

    def deliver(self, frame: KernelFrame) -> None:
        """Take the reply."""
        if frame.channel == "shell" and frame.parent_id == self._msg_id:
            self.answer(frame.content)

    def answer(self, content: Mapping[str, Any]) -> None:
        """Be done, unless that is the case already."""
        if not self.done.called:
            self.done.callback(content)

    def close(self, code: int) -> None:
        """Be done without an answer: the kernel has ended."""
        self.answer({"status": "error", "ename": "KernelDied", "evalue": "The kernel ended.", "traceback": []})

    def tick(self) -> None:
        """Do nothing."""

    def move(self, successor: LiveKernel) -> None:
        """Be done without an answer: the kernel was asked that is gone."""
        self.close(0)


class _Keeper:
    """A client of the page's own kernel that asks nothing: between two questions the kernel is not left."""

    def deliver(self, frame: KernelFrame) -> None:
        """Do nothing."""

    def close(self, code: int) -> None:
        """Do nothing: the next question finds that the kernel is gone."""

    def tick(self) -> None:
        """Do nothing."""

    def move(self, successor: LiveKernel) -> None:
        """Do nothing: the next question leases another kernel."""


class Completer:
    """The questions of one page."""

    def __init__(
        self,
        kernels: Kernels,
        visitor: Visitor,
        now: Callable[[], str],
        send: Callable[[str], None],
        wanted: WantedKernel = ANY_KERNEL,
    ) -> None:
        self._kernels = kernels
        self._visitor = visitor
        self._now = now
        self._send = send
        self._wanted = wanted
        self._own: LiveKernel | None = None
        self._leasing: list[Deferred[LiveKernel]] | None = None
        self._idle: Any = None
        self._open = 0
        self._closed = False

    def ask(self, text: str, kernel: LiveKernel | None) -> None:
        """Take a question; raises `InvalidMessage`. ``kernel``: whose variables are likely to be meant."""
        message = decode_client_json(text)
        if not isinstance(message, dict):
            raise InvalidMessage("A question is a JSON object.")
        kind, content = modern_question(message)
        header = message["header"]
        if not isinstance(header.get("msg_id"), str) or not 0 < len(header["msg_id"]) <= 128:
            raise InvalidMessage("header.msg_id must be a string of 1 to 128 characters.")
        if self._open >= MAX_QUESTIONS:
            raise InvalidMessage("Too many questions at once.")
        self._open += 1
        self._kernels.background(self._answer(header, kind, content, kernel))

    def close(self) -> None:
        """Give the page's own kernel back."""
        self._closed = True
        self._give_back()

    async def _answer(
        self, header: dict[str, Any], kind: str, content: dict[str, Any], kernel: LiveKernel | None
    ) -> None:
        try:
            reply = await self._reply(kind, content, kernel)
        except ApplianceError as exc:
            reply = {"status": "error", "ename": exc.code, "evalue": exc.message, "traceback": []}
        finally:
            self._open -= 1
        if self._closed:
            return
        if header["msg_type"] == "object_info_request":
            reply = old_object_info(content["code"], reply)
        try:
            frame = self._frame(header, reply)
        except ValueError:
            # JSON has no infinity, but a kernel may have said 1e999
            told = {
                "status": "error",
                "ename": "InvalidReply",
                "evalue": "The kernel's answer is none.",
                "traceback": [],
            }
            frame = self._frame(header, told)
        self._send(frame.text.decode("utf-8"))

    def _frame(self, header: dict[str, Any], reply: Mapping[str, Any]) -> KernelFrame:
        """Return the answer to a question. Raises `ValueError` when it cannot be written as JSON."""
        return make_frame(
            "shell",
            header["msg_type"].replace("_request", "_reply"),
            reply,
            parent={key: value for key, value in header.items() if isinstance(value, str)},
            msg_id=f"{header['msg_id'][:100]}_reply",
            session="complete",
            date=self._now(),
        )

    async def _reply(self, kind: str, content: dict[str, Any], kernel: LiveKernel | None) -> Mapping[str, Any]:
        if kernel is None or kernel.execution_state != "idle":
            kernel = await self._own_kernel()
        else:
            kernel.check_room()
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "username": "",
            "session": "complete",
            "date": self._now(),
            "version": "5.3",
        }
        message: ClientMessage = make_client_message(header, content)
        asker = _Asker(header["msg_id"])
        number = kernel.add_client(asker)
        nothing = {"status": "error", "ename": "TimeoutError", "evalue": "No answer in time.", "traceback": []}
        timeout = self._kernels.clock.callLater(ANSWER_SECONDS, asker.answer, nothing)
        kernel.client_message(number, message)
        try:
            return await asker.done
        finally:
            if timeout.active():
                timeout.cancel()
            kernel.remove_client(number)

    async def _own_kernel(self) -> LiveKernel:
        """Return the page's own kernel; raises what `Kernels.lease` does."""
        if self._own is not None and self._kernels.live(self._own.kernel_id) is self._own:
            self._stay()
            return self._own
        if self._leasing is not None:
            waiting: Deferred[LiveKernel] = Deferred()
            self._leasing.append(waiting)
            return await waiting
        self._leasing = []
        try:
            kernel = await self._kernels.lease("visitor", IDLE_SECONDS, self._wanted, self._visitor)
        except ApplianceError as exc:
            waiters, self._leasing = self._leasing, None
            for waiting in waiters:
                waiting.errback(exc)
            raise
        self._own = kernel
        kernel.add_client(_Keeper())
        waiters, self._leasing = self._leasing, None
        for waiting in waiters:
            waiting.callback(kernel)
        if self._closed:
            self._give_back()
        else:
            self._stay()
        return kernel

    def _stay(self) -> None:
        """Keep the kernel for another while."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._kernels.clock.callLater(IDLE_SECONDS, self._idle_over)

    def _idle_over(self) -> None:
        self._idle = None
        self._give_back()

    def _give_back(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        own, self._own = self._own, None
        if own is not None:
            own.stop(DeathReason.RELEASED)
