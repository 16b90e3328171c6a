"""What a page is told of an evaluation beside its output, if it asks for it: for who learns to program.

- A program of Python 2 that does not compile: how to convert it (`python2`).
- With ``explain`` in the metadata of the request, a language: what its error means (`explanation`).
- With ``variables``: what the program's names are bound to (`variables`); also with a silent request.
"""

from __future__ import annotations

import contextlib
from typing import Any

from appliance.kernel import explanation, python2, variables


class StudyAids:
    """Tells of the evaluations of one kernel; ``kernel`` is a `CellKernel`."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def tell(self, code: str, error: BaseException | None) -> None:
        """Display what the present request asks for, behind the output of ``code``, which ended with ``error``.

        An interrupt ends it, and nothing else.
        """
        metadata = (self._kernel.get_parent("shell") or {}).get("metadata", {})
        if metadata.get("widgets") is not True:
            return
        with contextlib.suppress(KeyboardInterrupt):
            if isinstance(error, SyntaxError):
                self._offer(code)
            language = explanation.wanted(metadata)
            if error is not None and language is not None:
                self._explain(error, language)
            if metadata.get("variables") is True:
                self._list()

    def _offer(self, code: str) -> None:
        changes = python2.edits(code, self._compiles)
        if changes:
            self._kernel.publish_display(python2.offer(code, changes))

    def _compiles(self, code: str) -> bool:
        shell = self._kernel.shell
        try:
            compile(shell.transform_cell(code), "<converted>", "exec")
        except (SyntaxError, ValueError):
            return False
        return True

    def _explain(self, error: BaseException, language: str) -> None:
        own = self._kernel.shell._next_of_visitor(error.__traceback__)
        parts = explanation.explained(error, own or error.__traceback__, language)
        if parts is not None:
            self._kernel.publish_display(explanation.display(parts))

    def _list(self) -> None:
        shell = self._kernel.shell
        hidden = shell.user_ns_hidden

        def is_own(name: str, value: Any) -> bool:
            return name in hidden and hidden[name] is value

        self._kernel.publish_display(variables.display(variables.listed(shell.user_ns, is_own)))
