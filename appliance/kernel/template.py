"""The kernel that every fork of a zygote becomes: built and warmed once, started by `Template.run` in the fork."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from appliance.kernel import interacts, network, open_files, sage_api
from appliance.kernel.sage import library_interacts, session

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

#: Cells run in the zygote, so that forks find the code paths of a first cell already in memory.
_WARM_CELLS = (
    "1+1",
    "print('warm')",
    "raise ValueError('warm')",
    "import matplotlib.pyplot as plt; _f = plt.figure(); _f.gca().plot([1, 2]); plt.close(_f)",
    "import warnings; warnings.warn('warm')",
)

#: Completed and explained in the zygote: jedi reads the descriptions of Python's builtins, half a second of work, only
#: once then.
_WARM_QUESTIONS = ("pri", "import mat", "print")

#: Requests gone through in the fork, as a visitor's would be: each page of memory that a first request writes to has to
#: be copied (fork(2)), and that should have happened before a visitor waits for it.
_REHEARSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("kernel_info_request", {}),
    (
        "execute_request",
        {"code": "1+1", "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False},
    ),
)


class Template:
    """A built kernel, its modules and its warm shell."""

    def __init__(self, kernel: Any, start: Callable[..., None], sage: Any = None) -> None:
        self._kernel = kernel
        self._start = start
        self._sage = sage
        self._files = open_files.remember()

    def run(self, listeners: list[int], birth: socket.socket, *, egress: bool = False) -> None:
        """Become a kernel in this fork and serve until killed.

        ``listeners``: bound and listening Unix sockets in the order shell, iopub, stdin, control, hb, files.
        ``birth``: gives ``{"kernel_id", "key"}`` and is told ``{"ready": true}``. ``egress``: there is a proxy.
        """
        open_files.reopen(self._files)
        letter = json.loads(birth.recv(4096))
        _reseed()
        _clean_process()
        if self._sage is not None:
            self._sage.begin()
        if egress:
            network.start()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        sys.stdout, sys.stderr = self._kernel.stdout, self._kernel.stderr
        self._start(self._kernel, loop, listeners, kernel_id=letter["kernel_id"], key=bytes.fromhex(letter["key"]))
        _rehearse(self._kernel)
        birth.send(b'{"ready": true}')
        birth.close()
        while True:
            # a task passes what interrupted or left it on through the loop (asyncio.Task), which goes on where it was
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                loop.run_forever()


def build(preload: list[str], warm_up: list[str]) -> Template:
    """Import ``preload``, build the kernel and run warm-up cells. No thread, loop or ZeroMQ context comes to be.

    Raises `RuntimeError` for a cell of ``warm_up`` that fails.
    """
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    # the page draws plotly's figures; plotly would take this kernel for something that cannot
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")
    os.environ["IPYTHONDIR"] = "/tmp/ipython"  # noqa: S108 - the zygote's own tmpfs
    os.environ["MPLCONFIGDIR"] = "/tmp/matplotlib"  # noqa: S108
    # debugpy costs 100 ms in a fork and memory in all; kernels offer no debugger.
    debugger = types.ModuleType("ipykernel.debugger")
    debugger._is_debugpy_available = False  # type: ignore[attr-defined]
    debugger.Debugger = object  # type: ignore[attr-defined]
    sys.modules["ipykernel.debugger"] = debugger
    for module in preload:
        importlib.import_module(module)
    from traitlets.config import Config

    from appliance.kernel import channels
    from appliance.kernel.cell_kernel import CellKernel
    from appliance.kernel.exercise import Exercises
    from appliance.kernel.interacts.color_control import color_class
    from appliance.kernel.wire import KernelSession

    config = Config()
    config.HistoryManager.enabled = False
    config.Session.key = b""

    kernel = CellKernel.instance(config=config, session=KernelSession(config=config, username="visitor"))
    kernel.runs = interacts.install(kernel)
    if "ipywidgets" in sys.modules:
        importlib.import_module("appliance.kernel.interacts.widget_face")
    sage_api.install(kernel)
    dynamics = kernel.runs.dynamics
    own = {
        "Color": color_class(),
        "exercise": Exercises(kernel).exercise,
        "dynamic": dynamics.dynamic,
        "dynamic_expression": dynamics.dynamic_expression,
        "dynamicexpression": dynamics.dynamic_expression,  # as SageMathCell's source spells it
    }
    sage = session.Session(kernel) if session.wanted() else None
    names = {**(sage.names if sage else {}), "sys": sys, "os": os, **interacts.NAMES, **own}
    if sage:
        names["interact"] = library_interacts.interact
        warm_up = [*session.WARM_CELLS, *warm_up]
    kernel.shell.user_ns.update(names)
    kernel.shell.user_ns_hidden.update(names)
    if "matplotlib" in sys.modules:
        kernel.shell.enable_matplotlib("inline")
    with contextlib.redirect_stdout(kernel.stdout), contextlib.redirect_stderr(kernel.stderr):
        for cell in _WARM_CELLS:
            _run_silently(kernel, cell)
        for cell in warm_up:
            reply = _run_silently(kernel, cell)
            if reply["status"] != "ok":
                raise RuntimeError(f"warm_up: {cell!r} ended with {reply['ename']}: {reply['evalue']}")
    for code in _WARM_QUESTIONS:
        kernel.do_complete(code, len(code))
        # Sage makes memory for its explanations that forks would share
        if sage is None:
            kernel.do_inspect(code, len(code))
    kernel.shell.reset(new_session=True)
    kernel.shell.user_ns.update(names)
    if threading.active_count() != 1:
        raise RuntimeError(f"threads before the fork: {[thread.name for thread in threading.enumerate()]}")
    return Template(kernel, channels.start, sage)


def _run_silently(kernel: Any, code: str) -> dict[str, Any]:
    """Run a cell through the same path as a visitor's, publishing nothing and counting nothing; return its reply."""
    from IPython.core.async_helpers import _pseudo_sync_runner

    publisher, kernel.publisher._socket = kernel.publisher._socket, None
    try:
        reply: dict[str, Any] = _pseudo_sync_runner(kernel.do_execute(code, silent=False, store_history=False))
        kernel.flush_streams()
        return reply
    finally:
        kernel.publisher._socket = publisher
        kernel.shell.execution_count = 1


class _Sink:
    """Takes the place of a socket."""

    def send(self, part: Any, flags: int = 0) -> None:
        """Drop a part of a message."""

    def send_multipart(self, parts: Sequence[Any], flags: int = 0) -> None:
        """Drop a message."""


def _rehearse(kernel: Any) -> None:
    """Take requests the whole way from parts to parts, between sockets that nobody hears, and leave no trace."""
    publisher, shell_socket = kernel.publisher._socket, kernel._shell_socket
    kernel.publisher._socket = kernel._shell_socket = _Sink()
    try:
        for kind, content in _REHEARSED:
            kernel.run_request([b"", *kernel.session.serialize(kernel.session.msg(kind, content))])
    finally:
        kernel.publisher._socket, kernel._shell_socket = publisher, shell_socket
        kernel.publisher.memory.clear()
        kernel.set_parent([], {})
        kernel.session.digest_history.clear()
        kernel.shell.execution_count = 1


def _reseed() -> None:
    """Make this fork's randomness its own; forks share every generator's state and every key otherwise."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(int.from_bytes(os.urandom(4), "little"))
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)
    sympy_random = sys.modules.get("sympy.core.random")
    if sympy_random is not None:
        sympy_random.seed(int.from_bytes(os.urandom(8), "little"))


def _clean_process() -> None:
    """Leave nothing of the zygote in what the visitor sees."""
    from appliance.zygote import sandbox, staging

    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    sys.path[:] = ["", *(entry for entry in sys.path if entry not in ("", staging.CODE, os.sep))]
    os.environ["HOME"] = sandbox.HOME
    os.environ["IPYTHONDIR"] = f"{sandbox.HOME}/.ipython"
    os.environ["MPLCONFIGDIR"] = f"{sandbox.HOME}/.config/matplotlib"
    sys.argv = [""]
