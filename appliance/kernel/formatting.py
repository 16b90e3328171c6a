"""IPython's display formatter with a short way for plain values.

A number or a text has one representation, text/plain, unless visitor's code registered another for its type. IPython
asks a dozen formatters all the same, a fifth of the time of a short cell.
"""

from __future__ import annotations

from typing import Any

from IPython.core.formatters import DisplayFormatter

#: Types that have no representation but text, unless someone registers one. Exactly these: subclasses may have more.
PLAIN_TYPES = frozenset({int, float, complex, bool, str, bytes})


class CellDisplayFormatter(DisplayFormatter):
    """Formats plain values as text at once, everything else as IPython does."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> Any:
        """Return (data by MIME type, metadata by MIME type) for ``obj``."""
        kind = type(obj)
        if kind in PLAIN_TYPES and include is None and exclude is None and not self._is_registered(kind):
            return {"text/plain": self.formatters["text/plain"](obj)}, {}
        return super().format(obj, include, exclude)

    def _is_registered(self, kind: type) -> bool:
        by_name = ("builtins", kind.__name__)
        formatters = self.formatters
        for formatter in (self.ipython_display_formatter, self.mimebundle_formatter, *formatters.values()):
            if formatter is formatters["text/plain"]:
                continue
            if kind in formatter.type_printers or object in formatter.type_printers:
                return True
            if by_name in formatter.deferred_printers:
                return True
        return False
