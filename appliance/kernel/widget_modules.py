"""Front ends that widgets bring along as text (anywidget's ``_esm``): a large one goes to a page once in an evaluation.

Plotly's has five million characters, and an interact may make a figure in every run. The page keeps what it got under
a key. A frame that was not there when it came asks the widget for its whole state (Jupyter widgets' messaging protocol,
``request_state``), and gets the text with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

#: Characters of a front end that is worth a key.
LEAST_CHARACTERS = 50_000

#: Front ends remembered in an evaluation; others go each time.
MAX_MODULES = 100

#: Name of the key in a widget's state.
KEY = "_module_key"


class WidgetModules:
    """Which front ends the page has that the evaluation belongs to."""

    def __init__(self) -> None:
        self._sent: set[str] = set()

    def forget(self) -> None:
        """Start with a page that has none."""
        self._sent.clear()

    def shortened(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is sent to open a widget: its front end with a key, or the key alone if the page has it."""
        data = content.get("data")
        state = data.get("state") if isinstance(data, Mapping) else None
        module = state.get("_esm") if isinstance(state, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(state, Mapping) or not isinstance(module, str):
            return content
        if len(module) < LEAST_CHARACTERS:
            return content
        key = hashlib.sha256(module.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        changed = {**state, KEY: key}
        if key in self._sent:
            del changed["_esm"]
        elif len(self._sent) < MAX_MODULES:
            self._sent.add(key)
        return {**content, "data": {**data, "state": changed}}
