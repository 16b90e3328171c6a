"""ipykernel's IPython kernel, driven by a loop of our own.

It keeps ipykernel's shell, display hooks, comms and request handlers, and replaces what is slow or needs threads: the
IOPub thread (`publisher`), the output streams (`streams`), the shell-channel thread, tornado's loop, the 0.5 ms sleep
after each cell. ipykernel's private names used here are those of the exact version pinned in the environment's lock.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import linecache
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from ipykernel.compiler import XCachingCompiler
from ipykernel.ipkernel import IPythonKernel
from ipykernel.jsonutil import json_clean
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.async_helpers import _asyncio_runner, _pseudo_sync_runner
from IPython.core.error import UsageError
from traitlets import Type

from appliance.kernel import hidden_checks
from appliance.kernel.formatting import CellDisplayFormatter
from appliance.kernel.interacts.sage_face import UPDATE, UPDATE_REPLY, speaks_sage, update
from appliance.kernel.jupyter_message import KEEP_SECONDS
from appliance.kernel.publisher import Publisher
from appliance.kernel.session_files import SessionFiles, leaves_some, names_files
from appliance.kernel.streams import Stream, Ticker
from appliance.kernel.string_decorators import StringDecorators, resolved
from appliance.kernel.study_aids import StudyAids
from appliance.zygote import sandbox

#: Messages taken from the shell socket before they are run; the rest waits in ZeroMQ.
MAX_QUEUED_MESSAGES = 100

#: Says what is in a file (`appliance.protocol.frames.SESSION_FILE`).
SESSION_FILE = "session_file"

#: Names of files that are told to be left out.
MAX_TOLD = 10

#: A cell that holds none of these words cannot await at its top level.
_ASYNC_WORDS = (b"await", b"async")


class CellCompiler(XCachingCompiler):
    """ipykernel's compiler; tracebacks show string decorators as the visitor wrote them.

    ``shows_what_was_written``: and everything else that was made into Python.
    """

    shows_what_was_written = False

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        """Return the name under which code is compiled, its lines kept for tracebacks."""
        name: str = super().cache(transformed_code, number, raw_code)
        changed = self.shows_what_was_written or "string_decorator(" in transformed_code
        if raw_code is not None and changed:
            lines = raw_code.splitlines(keepends=True)
            while lines and not lines[0].strip():
                del lines[0]
            if len(lines) == len(transformed_code.splitlines()):
                linecache.cache[name] = (len(raw_code), None, lines, name)
        return name


class CellShell(ZMQInteractiveShell):
    """ipykernel's shell on a machine without a screen."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        magics = self.magics_manager.magics
        self.input_transformers_cleanup.append(StringDecorators(magics["line"], magics["cell"]))

    def string_decorator(self, expression: str, evaluate: Callable[[], Any], words: str = "") -> Callable[[str], Any]:
        """Return what a string decorator calls with the text below it.

        ``words``: what stands behind the decorator and begins a function's text; for a cell magic, its arguments.
        """
        magic = None
        if expression in self.magics_manager.magics["cell"]:
            magic = functools.partial(self.run_cell_magic, expression, words)
        found = resolved(expression, evaluate, magic)
        if found is magic or not words:
            return found
        return lambda text: found(f"{words}\n{text}" if text else words)

    def enable_gui(self, gui: str | None = None) -> None:
        """Accept the event loops that need no screen; raise `UsageError` for the others."""
        if gui not in (None, "inline", "asyncio"):
            raise UsageError(f"there is no screen for the {gui!r} event loop here: figures are shown inline")

    def init_display_formatter(self) -> None:
        """Use the formatter with the short way."""
        formatter: Any = CellDisplayFormatter(parent=self)
        self.display_formatter = formatter
        self.configurables.append(formatter)

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        """Return what is to be shown of an error: the visitor's frames, not those of the kernel below or between."""
        kind, value, traceback = super()._get_exc_info(exc_tuple)
        node = traceback
        while node is not None and node.tb_next is not None:
            if node.tb_next.tb_frame.f_globals.get("__name__", "").startswith(("appliance.", "ipykernel.")):
                node.tb_next = self._next_of_visitor(node.tb_next)
            node = node.tb_next
        return kind, value, traceback

    def _next_of_visitor(self, node: Any) -> Any:
        """Return the first part of a traceback, from ``node`` on, that lies in a cell."""
        while node is not None and node.tb_frame.f_code.co_filename not in self.compile._filename_map:
            node = node.tb_next
        return node


class CellKernel(IPythonKernel):
    """One kernel: built in the zygote, brought to life in a fork by `start_in`."""

    shell_class = Type(CellShell)
    compiler_class = Type(CellCompiler)
    # ipykernel types both as optional; a kernel has them from its construction on.
    session: Any
    shell: Any

    def __init__(self, **kwargs: Any) -> None:
        self.publisher = Publisher()
        super().__init__(iopub_socket=self.publisher, log=logging.getLogger("kernel"), **kwargs)
        self._queue: collections.deque[tuple[list[bytes], dict[str, Any]]] = collections.deque()
        self._running = False
        self._abort = False
        self._saved_interacts: tuple[str, int] = ("", 0)
        #: The interacts of visitors' programs; set when the kernel is built.
        self.runs: Any = None
        self.shell_handlers[UPDATE] = self.update_interact
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = functools.partial(self._call_back, self.shell_handlers[kind])
        self._aids = StudyAids(self)
        self._files = SessionFiles(sandbox.HOME)
        self.session.prepare_display = self._with_files
        self._ticker = Ticker(self.flush_streams)
        self.stdout, self.stderr = (
            Stream(name, descriptor, self._publish_stream, self._ticker.wake, self.publisher.uninterrupted)
            for name, descriptor in (("stdout", 1), ("stderr", 2))
        )
        # A process that visitor's code forks must not say again what this one has still to say.
        os.register_at_fork(before=self.flush_streams, after_in_child=self._forget_streams)

    # -- life -------------------------------------------------------------------------------------------------

    def start_in(self, loop: asyncio.AbstractEventLoop, shell_socket: Any) -> list[tuple[int, Stream]]:
        """Serve ``shell_socket`` (a zmq.ROUTER) on ``loop``; return the captured pipes and their streams."""
        self._loop = loop
        self.shell_stream = None
        self._shell_socket = shell_socket
        pipes = [(stream.adopt(), stream) for stream in (self.stdout, self.stderr)]
        self.publisher.install_interrupt_handler()
        self._ticker.start()
        loop.add_reader(shell_socket.fd, self.read_shell)
        # An edge may have passed before the descriptor was watched.
        loop.call_soon(self.read_shell)
        return pipes

    def read_shell(self) -> None:
        """Take messages from the shell socket and run them in order."""
        import zmq

        while len(self._queue) < MAX_QUEUED_MESSAGES and self._shell_socket.EVENTS & zmq.POLLIN:
            self._enqueue(self._shell_socket.recv_multipart(zmq.NOBLOCK))
            if not self._running:
                self._run_queue()

    def run_request(self, frames: list[bytes]) -> None:
        """Run a request given as the parts of a message."""
        self._enqueue(frames)
        self._run_queue()

    def _enqueue(self, frames: list[bytes]) -> None:
        idents, parts = self.session.feed_identities(frames)
        try:
            message = self.session.deserialize(parts)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not a message for us
            return
        self._queue.append((idents, message))

    def _run_queue(self) -> None:
        while self._queue and not self._running:
            idents, message = self._queue.popleft()
            header = message["header"]
            if header["msg_type"] == "execute_request" and self._may_await(message):
                self._running = True
                task = self._loop.create_task(self._handle(idents, message))
                task.add_done_callback(self._task_done)
            else:
                _pseudo_sync_runner(self._handle(idents, message))

    @staticmethod
    def _may_await(message: dict[str, Any]) -> bool:
        code = str(message["content"].get("code", "")).encode("utf-8", "replace")
        return any(word in code for word in _ASYNC_WORDS)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._running = False
        if not task.cancelled():
            task.exception()
        self._run_queue()
        self._loop.call_soon(self.read_shell)

    async def _handle(self, idents: list[bytes], message: dict[str, Any]) -> None:
        """Run one request between busy and idle (Jupyter messaging, "Kernel status")."""
        self.set_parent(idents, message)
        self._publish_status("busy", "shell")
        kind = message["header"]["msg_type"]
        if kind == "execute_request":
            self.session.buffers_as_text = message["metadata"].get("widgets") is True
            self.session.modules.forget()  # each evaluation has an output frame of its own
        if kind == "execute_request" and self._abort:
            self._send_abort_reply(self._shell_socket, message, idents)
        else:
            handler = self.shell_handlers.get(kind)
            if handler is not None:
                with self._outlived(kind):
                    result = handler(self._shell_socket, idents, message)
                    if isinstance(result, Coroutine):
                        await result
        if self.runs is not None:
            with self._outlived("interact"):
                self.runs.settle()
        self.flush_streams()
        self._publish_status("idle", "shell")
        if self._abort and not self._queue:
            self._abort = False
        if self.shell.exit_now:
            os._exit(0)

    @contextlib.contextmanager
    def _outlived(self, what: str) -> Iterator[None]:
        """Tell of what goes wrong with a request, and go on: a kernel outlives it."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            pass
        except Exception as exc:  # noqa: BLE001 - whatever it is
            print(f"{what}: {exc!r}", file=self.stderr)

    # -- requests ---------------------------------------------------------------------------------------------

    async def execute_request(self, stream: Any, ident: list[bytes], parent: dict[str, Any]) -> None:
        """Run a cell and reply (Jupyter messaging, "Execute")."""
        content = parent["content"]
        code = str(content["code"])
        silent = bool(content.get("silent", False))
        store_history = bool(content.get("store_history", not silent))
        if not silent:
            self._publish_execute_input(code, parent, self.execution_count)
        reply = await self.do_execute(
            code, silent, store_history, content.get("user_expressions"), bool(content.get("allow_stdin", False))
        )
        if not silent and parent["metadata"].get("widgets") is True:
            self._show_files()
        self.flush_streams()
        self.session.send(stream, "execute_reply", json_clean(reply), parent, ident=ident)
        if not silent and reply["status"] == "error" and content.get("stop_on_error", True):
            self.read_waiting_requests()
            self._abort = bool(self._queue)

    @property
    def shell_descriptor(self) -> int:
        """The descriptor that is readable when something arrives for the shell socket (zmq_getsockopt(3), ZMQ_FD)."""
        descriptor: int = self._shell_socket.fd
        return descriptor

    def waiting_requests(self) -> list[dict[str, Any]]:
        """Return the requests that are read and not yet handled."""
        return [message for _, message in self._queue]

    def next_saved_interact(self) -> dict[str, Any]:
        """Return what the client wants the next interact of this cell to begin with.

        It comes with the evaluation, in metadata ``interacts``: for each interact in order of creation
        ``{"state": {...}, "bookmarks": [{"name", "state"}]}``, both of which may be missing.
        """
        parent = self.get_parent("shell") or {}
        message_id = parent.get("header", {}).get("msg_id", "")
        last_id, number = self._saved_interacts
        number = number + 1 if last_id == message_id else 0
        self._saved_interacts = (message_id, number)
        saved = parent.get("metadata", {}).get("interacts")
        entry = saved[number] if isinstance(saved, list) and number < len(saved) else None
        return entry if isinstance(entry, dict) else {}

    def read_waiting_requests(self) -> None:
        """Queue what already waits in the socket: after an error those executions are aborted."""
        import zmq

        while len(self._queue) < MAX_QUEUED_MESSAGES and self._shell_socket.EVENTS & zmq.POLLIN:
            self._enqueue(self._shell_socket.recv_multipart(zmq.NOBLOCK))

    def _call_back(self, handler: Callable[..., object], *arguments: Any) -> None:
        """Handle a message of a comm, whose callbacks are visitors' code; show what ends them."""
        try:
            with self._interruptible():
                handler(*arguments)
        except (KeyboardInterrupt, SystemExit) as exc:
            # widgets show other errors themselves
            lines = self.shell._next_of_visitor(exc.__traceback__)
            self.shell.showtraceback((type(exc), exc, lines), exception_only=lines is None)

    def update_interact(self, stream: Any, ident: list[bytes], parent: dict[str, Any]) -> None:
        """Take what a client of SageMathCell says of an interact, run that, and reply."""
        reply: dict[str, Any] = {"status": "ok"}
        try:
            update(self.runs, parent["content"])
            self.runs.settle()
        except Exception as exc:  # noqa: BLE001 - the client is told
            reply = {"status": "error", "ename": type(exc).__name__, "evalue": str(exc), "traceback": []}
            self.session.send(self.publisher, "error", reply, parent, ident=self._topic("error"))
        expressions = parent["content"].get("user_expressions")
        reply["user_expressions"] = self.shell.user_expressions(expressions) if isinstance(expressions, dict) else {}
        reply["payload"] = self.shell.payload_manager.read_payload()
        self.shell.payload_manager.clear_payload()
        self.flush_streams()
        self.session.send(stream, UPDATE_REPLY, json_clean(reply), parent, ident=ident)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: object = None,
        cell_id: object = None,
    ) -> dict[str, Any]:
        """Run ``code`` in the shell; return the content of an execute_reply."""
        shell = self.shell
        self._forward_input(allow_stdin)
        shell._last_traceback = None
        shell._last_traceback_during_displayhook = False
        error: BaseException | None
        try:
            with self._interruptible():
                result = await self._run_cell(code, silent, store_history)
                if result.success and not silent:
                    self._run_checks()
                error = result.error_before_exec or result.error_in_exec
                self._aids.tell(code, error)
            failed = not result.success or getattr(shell, "_last_traceback_during_displayhook", False)
        except (KeyboardInterrupt, asyncio.CancelledError):
            # it met what is done before or after the visitor's code, of which the shell tells nothing
            failed, error = True, KeyboardInterrupt()
            shell.showtraceback((KeyboardInterrupt, error, None), exception_only=True)
        finally:
            self._restore_input()
        reply: dict[str, Any] = {"status": "error" if failed else "ok", "execution_count": shell.execution_count - 1}
        if failed:
            reply["ename"] = type(error).__name__
            reply["evalue"] = str(error)
            reply["traceback"] = shell._last_traceback or []
            reply["user_expressions"] = {}
        else:
            reply["user_expressions"] = shell.user_expressions(user_expressions) if user_expressions else {}
        reply["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        return reply

    def _show_files(self) -> None:
        """Bring what the program wrote to a page that has a place for it; stay for what is too large for that."""
        shown = self._files.display()
        if shown is None:
            return
        self.publish_display(shown)
        if leaves_some(shown):
            self.keep_alive()

    def offer_files(self) -> list[str]:
        """Send what the program wrote to the server, for a client of SageMathCell; name and return it."""
        parent = self.get_parent("shell") or {}
        if not speaks_sage(parent):
            return []

        def send(name: str, data: bytes) -> None:
            self._send_file(self._shell_socket.forgetful, name, data, self._shell_parent_ident.get())

        sent, left = self._files.send_changed(send)
        if sent:
            self.shell.payload_manager.write_payload({"new_files": sent}, single=False)
        if left:
            print(f"[Too large or too many to be kept: {', '.join(left[:MAX_TOLD])}]", file=self.stderr)
        return sent

    def file_brought(self, name: str) -> None:
        """Take note, in whichever thread, of a file that the visitor brought: the page knows of it."""
        self._files.note(name)

    def _with_files(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is displayed, with the files that it names where the client can have them."""
        if not names_files(data):
            return data
        if not speaks_sage(self.get_parent("shell") or {}):
            return self._files.with_linked(data)
        topic = self._topic(SESSION_FILE)
        self._files.send_linked(data, lambda name, file: self._send_file(self.publisher.forgetful, name, file, topic))
        return data

    def _send_file(self, socket: Any, name: str, data: bytes, ident: Any) -> None:
        content = {"name": name.encode("utf-8", "replace").decode()}
        self.session.send(socket, SESSION_FILE, content, self.get_parent("shell"), ident=ident, buffers=[data])

    def _run_checks(self) -> None:
        """Run the checks that came with the evaluation, and show their verdicts."""
        checks = hidden_checks.wanted((self.get_parent("shell") or {}).get("metadata", {}))
        if not checks:
            return
        shell = self.shell

        def compiled(code: str) -> Any:
            return compile(shell.transform_cell(code), "<check>", "exec")

        with contextlib.suppress(KeyboardInterrupt):
            verdicts = [hidden_checks.judged(title, code, shell.user_ns, compiled) for title, code in checks]
            self.publish_display(hidden_checks.shown(verdicts))

    async def _run_cell(self, code: str, silent: bool, store_history: bool) -> Any:
        """Run a cell once transformed; await only what must be."""
        shell = self.shell
        transformed, problem = code, None
        try:
            transformed = shell.transform_cell(code)
        except Exception:  # noqa: BLE001 - the shell reports it as the cell's error
            problem = sys.exc_info()
        arguments = {
            "store_history": store_history,
            "silent": silent,
            "transformed_cell": transformed,
            "preprocessing_exc_tuple": problem,
        }
        result = None
        try:
            if (
                self._running
                and shell.loop_runner is _asyncio_runner
                and shell.should_run_async(code, transformed_cell=transformed, preprocessing_exc_tuple=problem)
            ):
                task = asyncio.ensure_future(shell.run_cell_async(code, **arguments))
                with self._cancel_on_interrupt(task):
                    result = await task
            else:
                result = _pseudo_sync_runner(shell.run_cell_async(code, **arguments))
        finally:
            shell.events.trigger("post_execute")
            if not silent:
                shell.events.trigger("post_run_cell", result)
        return result

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        before = self.publisher.interruptible
        try:
            self.publisher.interruptible = True
            yield
        finally:
            self.publisher.interruptible = before

    @contextlib.contextmanager
    def _cancel_on_interrupt(self, task: asyncio.Future[Any]) -> Iterator[None]:
        """While awaiting, SIGINT cancels the cell's task instead of raising inside the event loop.

        A step that another task is just taking is interrupted as well: it may never come to an end.
        """

        def cancel(*_: object) -> None:
            current = asyncio.current_task(self._loop)
            if current is not task:
                self._loop.call_soon_threadsafe(task.cancel)
            if current is not None:
                self.publisher.on_interrupt(signal.SIGINT, None)

        signal.signal(signal.SIGINT, cancel)
        try:
            yield
        finally:
            self.publisher.install_interrupt_handler()

    # -- output -----------------------------------------------------------------------------------------------

    def flush_streams(self) -> None:
        """Publish gathered output."""
        self.stdout.flush()
        self.stderr.flush()

    def publish_display(self, data: dict[str, Any]) -> None:
        """Display forms of one object, by MIME type, behind what was printed before."""
        self.flush_streams()
        self._publish("display_data", {"data": json_clean(data), "metadata": {}, "source": "sagecell"})

    def publish_clear(self, *, wait: bool) -> None:
        """Clear the output, or with ``wait`` when the next comes (Jupyter messaging, "Clear output")."""
        self._publish("clear_output", {"wait": wait})

    def keep_alive(self) -> None:
        """Ask the server to keep this kernel although its evaluations end: there is something on the page to use."""
        self._publish("kernel_timeout", {"timeout": KEEP_SECONDS})

    def _publish(self, kind: str, content: dict[str, Any]) -> None:
        self.session.send(self.publisher, kind, content, self.get_parent("shell"), ident=self._topic(kind))

    def _forget_streams(self) -> None:
        self.stdout.forget()
        self.stderr.forget()

    def _publish_stream(self, name: str, text: str) -> None:
        if self.publisher.attached:
            self.session.send(
                self.publisher,
                "stream",
                {"name": name, "text": text},
                parent=self.shell.parent_header,
                ident=self._topic(f"stream.{name}"),
            )
