"""A shell that speaks Sage: names, preparser, magics and rich output before the fork, a process of its own after it.

Sage's own additions to IPython do most of it (`sage.repl.ipython_extension`).
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from typing import Any

from appliance.kernel import interacts
from appliance.kernel.sage import randomness
from appliance.kernel.sage.interrupts import NativeHandler
from appliance.kernel.sage.library_interacts import install as install_interacts

#: What a preloaded module says of a kernel: that it speaks Sage.
MARK = "sage.all"

#: Cells run in the zygote, so that visitors find Maxima, GAP and PARI started, and the ways of output in memory.
WARM_CELLS = (
    "var('x'); integrate(sin(x)^2, x)",
    "libgap(1); SymmetricGroup(3).order(); pari(1)",
    "factor(2^64+1)",
    "plot(sin, 0, 1)",
    "show(x^2/2)",
    "plot3d(lambda x, y: x*y, (0, 1), (0, 1), plot_points=4)",
    "matrix(QQ, 2, [1, 2, 3, 4]).inverse()",
    "solve(x^2 == 2, x)",
)


def wanted() -> bool:
    """Return whether the environment's modules make its kernels ones of Sage."""
    return MARK in sys.modules


class Session:
    """Sage in one kernel's shell. ``names``: what cells find without an import."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        shell = kernel.shell
        # Programs of Sage's own lie beside its interpreter.
        os.environ["PATH"] = os.pathsep.join([f"{sys.prefix}/bin", os.environ.get("PATH", os.defpath)])
        self._interrupts = NativeHandler()
        install_interacts()
        before = dict(shell.user_ns)
        with warnings.catch_warnings():
            # said of Sage's own modules, before there is a visitor
            warnings.simplefilter("ignore")
            importlib.import_module("sage.repl.ipython_extension").SageJupyterCustomizations(shell)
        from appliance.kernel.sage import display

        display.install(shell)
        shell.compile.shows_what_was_written = True
        self.names: dict[str, Any] = {
            name: value for name, value in shell.user_ns.items() if name not in before or before[name] is not value
        }
        for name in ("In", "Out", "exit", "quit", "get_ipython"):
            self.names.pop(name, None)
        self.names |= interacts.NAMES

    def begin(self) -> None:
        """In a fork: make what forks must not share this one's own."""
        _own_directories()
        randomness.reseed()
        self._kernel.publisher.native_handler = self._interrupts


def _own_directories() -> None:
    """Make directories for Sage's files; those of the zygote are not in this kernel's root."""
    os.makedirs(sys.modules["sage.env"].DOT_SAGE, exist_ok=True)
    module = sys.modules["sage.misc.temporary_file"]
    module.TMP_DIR_FILENAME_BASE._finalizer.detach()
    module.TMP_DIR_FILENAME_BASE = tempfile.TemporaryDirectory(prefix="sage_")  # type: ignore[attr-defined]
