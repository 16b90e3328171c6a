"""When interacts run, where their output goes, and what becomes of a run that a newer change has overtaken.

A change marks its interact as due; it runs once the message that brought the change is handled, and not at all while
a later change of the same interact waits in the socket. A run under way is given `PATIENCE_SECONDS`: until then a drag
shows what it passes. After that the first newer change ends the run by `Superseded`, wherever the visitor's code is.
"""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from appliance.kernel.interacts import model
from appliance.kernel.interacts.dynamic import Dynamics
from appliance.kernel.interacts.sage_face import SageFace, speaks_sage

if TYPE_CHECKING:
    from appliance.kernel.interacts.model import Face, Interact

#: A run shorter than this is finished although a newer change waits.
PATIENCE_SECONDS = 0.25

#: Pause between looks at the socket while a run lasts longer.
WATCH_SECONDS = 0.05

#: Interacts inside interacts; a function that makes itself an interact would go on for ever.
MAX_DEPTH = 20

#: Interacts of one kernel that a client may change; of the oldest only the picture is left.
MAX_INTERACTS = 500


class Superseded(BaseException):
    """Ends a run that a newer change has overtaken; no ``except Exception`` of a visitor catches it."""

    def __init__(self, interact: Interact) -> None:
        super().__init__("a newer change of the controls ended this run")
        self.interact = interact


class Runs:
    """The interacts of one kernel; ``kernel`` is a `CellKernel`."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.known: dict[str, Interact] = {}
        self._due: dict[str, Interact] = {}
        self._running: list[Interact] = []
        self._interruptible = False
        self._watch = _Watch(self)
        shell = kernel.shell
        self.dynamics = Dynamics(self, shell.user_ns, lambda name: name in shell.user_ns_hidden)

    # -- what interacts ask for -----------------------------------------------------------------------------------

    def face_for(self, interact: Interact) -> Face:
        """Return a face that the client understands; inside another interact, one of the same kind."""
        sage = (
            isinstance(self._running[-1].face, SageFace)
            if self._running
            else speaks_sage(self.kernel.get_parent("shell") or {})
        )
        if len(self._running) >= MAX_DEPTH:
            raise RecursionError(f"interacts are nested more than {MAX_DEPTH} deep")
        self.known[interact.id] = interact
        if len(self.known) > MAX_INTERACTS:
            self.forget(next(iter(self.known.values())))
        if self._running:
            self._running[-1].children.append(interact)
            interact.inner = True
        else:
            self.kernel.keep_alive()
        if sage:
            return SageFace(interact, self.kernel)
        from appliance.kernel.interacts.widget_face import WidgetFace

        return WidgetFace(interact, self.kernel)

    def restored(self) -> model.Saved:
        """Return what the client wants the next interact to begin with; those inside others begin as they are made."""
        return model.saved({} if self._running else self.kernel.next_saved_interact())

    def changed(self, interact: Interact) -> None:
        """Run it once the present message is handled."""
        self._due[interact.id] = interact

    def forget(self, interact: Interact) -> None:
        """Take no more changes for it."""
        interact.close()
        self.known.pop(interact.id, None)
        self._due.pop(interact.id, None)

    # -- running --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Run what is due and not overtaken; called when a message is handled."""
        overtaken: dict[str, Interact] = {}
        while self._due:
            interact = self._due.pop(next(iter(self._due)))
            if interact.id not in self.known:
                continue
            if self._is_overtaken(interact):
                overtaken[interact.id] = interact
                continue
            try:
                with contextlib.suppress(Superseded), self.kernel._interruptible():
                    self.run(interact, settling=True)
            except KeyboardInterrupt:
                self._due.clear()
        # what waits may turn out to change nothing: these are due until it is handled
        self._due.update(overtaken)
        with contextlib.suppress(KeyboardInterrupt), self.kernel._interruptible():
            self.dynamics.settle()

    def run(self, interact: Interact, *, settling: bool = False) -> None:
        """Run it now. Its errors are shown in its output and go no further."""
        old_children, interact.children = interact.children, []
        outermost = not self._running
        self._running.append(interact)
        finished = False
        try:
            interact.face.begin(list(interact.proxy._changed))
            with self._watch if outermost else contextlib.nullcontext():
                finished = self._call(interact, settling=settling)
        finally:
            self._running.pop()
            for child in old_children:
                self._forget_tree(child)
            interact.face.end()
        if finished:
            interact.completed()

    def _call(self, interact: Interact, *, settling: bool) -> bool:
        """Return whether the function came to an end of its own."""
        interact.names.pop("__warningregistry__", None)
        before, self._interruptible = self._interruptible, True
        try:
            try:
                interact.call()
            finally:
                self._interruptible = before
        except Superseded as overtaken:
            if overtaken.interact is not interact:
                raise
            self.changed(interact)
            return False
        except (KeyboardInterrupt, SystemExit):
            # in a cell they end the cell, which shows them
            if not settling:
                raise
            # Stop ends also what this run, or one before, has asked for
            self._due.clear()
            self._show_error(interact)
        except Exception:  # noqa: BLE001 - shown to the visitor
            self._show_error(interact)
        return True

    def _show_error(self, interact: Interact) -> None:
        kind, value, traceback = sys.exc_info()
        while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith("appliance."):
            traceback = traceback.tb_next
        print(f"Interact state: {interact.proxy._state()!r}")
        self.kernel.flush_streams()
        self.kernel.shell.showtraceback((kind, value, traceback), tb_offset=0)
        self.kernel.shell._last_traceback = None

    def _forget_tree(self, interact: Interact) -> None:
        for child in interact.children:
            self._forget_tree(child)
        interact.children = []
        self.forget(interact)

    # -- newer changes --------------------------------------------------------------------------------------------

    def _is_overtaken(self, interact: Interact) -> bool:
        self.kernel.read_waiting_requests()
        return any(interact.face.concerns(message) for message in self.kernel.waiting_requests())

    def look(self) -> None:
        """In the main thread, between two steps of a run: end it if a newer change waits. Raises `Superseded`."""
        if not self._interruptible:
            return
        self.kernel.read_waiting_requests()
        waiting = self.kernel.waiting_requests()
        for interact in self._running:
            if any(interact.face.concerns(message) for message in waiting):
                self.kernel.publisher.raise_between_messages(Superseded(interact))
                return


class _Watch:
    """While a run lasts, a thread looks whether the shell socket has something to read, and wakes the main thread."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._thread: threading.Thread | None = None
        self._began = threading.Event()
        self._over = threading.Event()
        self._looked = threading.Event()

    def __enter__(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="newer changes", daemon=True)
            signal.signal(signal.SIGURG, self._on_signal)
            self._thread.start()
        self._over.clear()
        self._began.set()

    def __exit__(self, *_: object) -> None:
        self._began.clear()
        self._over.set()
        self._looked.set()

    def _on_signal(self, *_: object) -> None:
        self._looked.set()
        self._runs.look()

    def _watch(self) -> None:
        main = threading.main_thread().ident or 0
        descriptor = self._runs.kernel.shell_descriptor
        while True:
            self._began.wait()
            if self._over.wait(PATIENCE_SECONDS):
                continue
            while not self._over.wait(WATCH_SECONDS):
                readable, _, _ = select.select([descriptor], [], [], WATCH_SECONDS)
                if readable and not self._over.is_set():
                    self._looked.clear()
                    signal.pthread_kill(main, signal.SIGURG)
                    self._looked.wait()


_runs: Runs | None = None


def install(kernel: Any) -> Runs:
    """Make ``kernel`` the one whose cells make interacts."""
    global _runs
    _runs = Runs(kernel)
    return _runs


def interact(function: Any = None, *arguments: Any, **options: Any) -> Any:
    """Make an interact of a function: as ``@interact``, ``@interact(...)`` or ``interact(function, ...)``."""
    if _runs is None:
        raise RuntimeError("interacts need a kernel of this server")
    runs = _runs
    if callable(function):
        return model.build(runs, function, *arguments, **options)
    if function is not None:
        arguments = (function, *arguments)
    return lambda decorated: model.build(runs, decorated, *arguments, **options)
