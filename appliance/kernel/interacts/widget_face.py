"""Interacts as trees of ipywidgets, for every client that shows Jupyter widgets.

The output of a run goes into an ``Output`` widget by its ``msg_id``: the client puts what answers that message there.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from appliance.kernel.interacts.layout import BOOKMARKS, OUTPUT
from appliance.kernel.interacts.widget_controls import ControlView, view_of

if TYPE_CHECKING:
    from appliance.kernel.interacts.layout import Row
    from appliance.kernel.interacts.model import Interact

#: Bookmarks of one interact: each is a button.
MAX_BOOKMARKS = 100

_CLASS = re.compile(r"[^A-Za-z0-9_-]+")


def _is_json(value: Any) -> bool:
    """Return whether a link can hold a value: those of widgets from other libraries may be anything."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


class Frame(ipywidgets.VBox):  # type: ignore[misc]
    """The whole interact. ``interact``: what the client needs for permalinks and for places outside of it."""

    interact = traitlets.Dict().tag(sync=True)


class WidgetFace:
    """One interact as widgets."""

    def __init__(self, interact: Interact, kernel: Any) -> None:
        self._interact, self._kernel = interact, kernel
        self._views: dict[str, ControlView] = {}
        self._nested = False
        self._output = ipywidgets.Output()
        self._bookmarks = ipywidgets.HBox([])
        self._bookmarked: list[tuple[str, dict[str, Any]]] = []
        self._frame = Frame([])
        self._made: list[Any] = [self._output, self._bookmarks, self._frame]
        self._closed = False

    def show(self, interact: Interact) -> None:
        """Build the widgets and display them."""
        for name in interact.controls:
            self._add_view(name)
        self._arrange()
        self._describe()
        self._kernel.publish_display(
            {
                "text/plain": "Interact",
                "application/vnd.jupyter.widget-view+json": {
                    "version_major": 2,
                    "version_minor": 0,
                    "model_id": self._frame.model_id,
                },
            }
        )

    def begin(self, changed: list[str]) -> None:
        """Direct the output into the widget; what is there stays until the first of it."""
        self._kernel.flush_streams()
        header = (self._kernel.get_parent("shell") or {}).get("header", {})
        self._output.msg_id = header.get("msg_id", "")
        self._kernel.publish_clear(wait=True)
        self._before = self._kernel.session.outputs

    def end(self) -> None:
        """Let the output go where it went before."""
        self._kernel.flush_streams()
        if self._kernel.session.outputs == self._before:
            self._kernel.publish_clear(wait=False)
        if not self._closed:
            self._output.msg_id = ""
            self._describe()

    def value_set(self, name: str, path: tuple[int, ...] = ()) -> None:
        """Set the widget."""
        self._views[name].show(self._interact.controls[name].value)

    def control_added(self, name: str) -> None:
        """Add a row."""
        self._add_view(name)
        self._arrange()

    def control_removed(self, name: str) -> None:
        """Take the widget away."""
        view = self._views.pop(name)
        self._arrange()
        view.close()

    def bookmarked(self, name: str, values: dict[str, Any]) -> None:
        """Add a button that sets the values and runs once."""
        if len(self._bookmarks.children) >= MAX_BOOKMARKS:
            raise ValueError(f"an interact has at most {MAX_BOOKMARKS} bookmarks")
        if any(name == other for other, _ in self._bookmarked):
            return
        self._bookmarked.append((name, values))
        button = ipywidgets.Button(description=name)

        def press(_: object) -> None:
            for key, value in values.items():
                if key in self._interact.controls:
                    self._interact.set_value(key, value)
            self._interact.request_run()

        button.on_click(press)
        self._made.append(button)
        self._bookmarks.children = (*self._bookmarks.children, button)
        self._arrange()
        self._describe()

    def concerns(self, message: dict[str, Any]) -> bool:
        """Return whether this is a change of a control that runs the function."""
        if message["header"]["msg_type"] != "comm_msg":
            return False
        content = message["content"]
        data = content.get("data")
        if not isinstance(data, dict) or data.get("method") not in ("update", "custom"):
            return False
        comm_id, controls = content.get("comm_id"), self._interact.controls
        return any(controls[name].update and comm_id in view.triggers for name, view in self._views.items())

    def close(self) -> None:
        """Close the widgets: the client takes them off the page."""
        if self._closed:
            return
        self._closed = True
        for view in self._views.values():
            view.close()
        for widget in self._made:
            widget.close()

    def _add_view(self, name: str) -> None:
        interact = self._interact

        def changed(value: Any) -> None:
            interact.receive({name: value})

        self._views[name] = view_of(interact.controls[name], interact.label(name), changed, interact.readonly)
        self._views[name].widget.add_class(f"interact-{_CLASS.sub('-', name)}")

    def _arrange(self) -> None:
        shown = {name: view.widget for name, view in self._views.items()}
        if self._interact.output:
            shown[OUTPUT] = self._output
        laid = [row for row in self._interact.rows if any(name in shown for name, _ in row)]
        named = {name for row in laid for name, _ in row}
        elsewhere = self._interact.locations or {}
        added: list[Row] = [
            [(name, 1)] for name in self._interact.controls if name not in named and name not in elsewhere
        ]
        moved: list[Row] = [[(name, 1)] for name in elsewhere if name in shown and name != BOOKMARKS]
        output_first = next((place for place, row in enumerate(laid) if any(n == OUTPUT for n, _ in row)), len(laid))
        laid[output_first:output_first] = added
        rows = [self._row(row, shown) for row in [*laid, *moved]]
        if self._bookmarks.children:
            rows.insert(0, self._bookmarks)
        old, self._frame.children = self._frame.children, tuple(rows)
        for row in old:
            if row not in rows and row in self._made:
                self._made.remove(row)
                row.layout.close()
                row.close()

    def _row(self, row: Any, shown: dict[str, Any]) -> Any:
        if len(row) == 1 and row[0][0] in shown:
            return shown[row[0][0]]
        children = []
        for name, width in row:
            widget = shown.get(name) if name is not None else ipywidgets.HTML()
            if widget is None:
                continue
            widget.layout.flex = f"{width} 1 0%"
            children.append(widget)
            if name is None:
                self._made.append(widget)
        box = ipywidgets.HBox(children)
        self._made.append(box)
        return box

    def _describe(self) -> None:
        """Tell the client what a permalink would hold."""
        controls = self._interact.controls
        state = {
            name: control.value for name, control in controls.items() if control.lasting and _is_json(control.value)
        }
        self._frame.interact = {
            "id": self._interact.id,
            "inner": self._interact.inner,
            "state": state,
            "bookmarks": [{"name": name, "state": values} for name, values in self._bookmarked],
        }
