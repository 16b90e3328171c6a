"""Interacts for clients of SageMathCell: ``application/sage-interact*`` and ``sagenb.interact.update_interact``.

Such a client puts what carries ``interact_id`` in its metadata into the output of that interact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appliance.kernel.interacts.model import Interact
    from appliance.kernel.interacts.runs import Runs

UPDATE = "sagenb.interact.update_interact"
UPDATE_REPLY = "sagenb.interact.update_interact_reply"

#: The user expression that such clients send with each evaluation.
_FILES = "_sagecell_files"


def speaks_sage(parent: dict[str, Any]) -> bool:
    """Return whether the client whose request this is shows these messages, and no widgets."""
    if parent.get("header", {}).get("msg_type") == UPDATE:
        return True
    expressions = parent.get("content", {}).get("user_expressions")
    shows_widgets = parent.get("metadata", {}).get("widgets") is True
    return isinstance(expressions, dict) and _FILES in expressions and not shows_widgets


class SageFace:
    """One interact at such a client."""

    def __init__(self, interact: Interact, kernel: Any) -> None:
        self._interact, self._kernel = interact, kernel
        self._outer: list[dict[str, Any]] = []

    def show(self, interact: Interact) -> None:
        """Send controls and layout."""
        self._say(
            "",
            "Sage Interact",
            {
                "new_interact_id": interact.id,
                "controls": {name: self._described(name) for name in interact.controls},
                "layout": interact.rows,
                "locations": interact.locations,
                "readonly": interact.readonly,
            },
        )

    def begin(self, changed: list[str]) -> None:
        """Clear the output; what follows carries the interact's id."""
        self._kernel.flush_streams()
        session = self._kernel.session
        self._outer.append(session.output_metadata)
        session.output_metadata = {"interact_id": self._interact.id}
        self._display({"application/sage-clear": {"changed": changed}, "text/plain": "Clear display"})

    def end(self) -> None:
        """Give what follows the id it had before."""
        self._kernel.flush_streams()
        self._kernel.session.output_metadata = self._outer.pop()

    def value_set(self, name: str, path: tuple[int, ...] = ()) -> None:
        """Send a value, or one entry of it."""
        value = self._interact.controls[name].value
        for index in path:
            value = value[index]
        place = {"index": list(path)} if path else {}
        self._say("-update", "Sage Interact Update", {"control": name, "value": value, **place})

    def control_added(self, name: str) -> None:
        """Send a new control."""
        control = self._described(name)
        self._say("-new-control", f"New interact control {name}", {"name": name, "control": control})

    def control_removed(self, name: str) -> None:
        """Say that a control is gone."""
        self._say("-del-control", f"Deleting interact control {name}", {"name": name})

    def bookmarked(self, name: str, values: dict[str, Any]) -> None:
        """Send a bookmark."""
        self._say("-bookmark", f"Creating bookmark {name}", {"name": name, "values": values})

    def concerns(self, message: dict[str, Any]) -> bool:
        """Return whether this is a change of a control that runs the function."""
        content = message["content"]
        if message["header"]["msg_type"] != UPDATE or content.get("interact_id") != self._interact.id:
            return False
        values, controls = content.get("values"), self._interact.controls
        named = values if isinstance(values, dict) else {}
        return content.get("update_last") is True or any(name in controls and controls[name].update for name in named)

    def close(self) -> None:
        """Leave it to the client, which forgets interacts with the output that they stand in."""

    def _described(self, name: str) -> dict[str, Any]:
        control = self._interact.controls[name]
        return {**control.message(), "label": self._interact.label(name), "update": control.update}

    def _say(self, kind: str, text: str, content: dict[str, Any]) -> None:
        named = content if not kind else {"interact_id": self._interact.id, **content}
        self._display({f"application/sage-interact{kind}": named, "text/plain": text})

    def _display(self, data: dict[str, Any]) -> None:
        self._kernel.publish_display(data)


def update(runs: Runs, content: dict[str, Any]) -> None:
    """Do what a client's message says: run for each of ``values``, or once for all with ``update_last``.

    Raises `ValueError` for an interact that is not there and for values that a control cannot hold.
    """
    interact_id, values = content.get("interact_id"), content.get("values", {})
    interact = runs.known.get(interact_id) if isinstance(interact_id, str) else None
    if interact is None:
        raise ValueError(f"there is no interact {interact_id!r} in this kernel")
    if not isinstance(values, dict):
        raise ValueError(f"values must be an object of names and values, not {values!r}")
    if content.get("update_last") is True:
        interact.receive(values, run=False)
        runs.changed(interact)
        return
    for name, value in values.items():
        interact.receive({name: value})
        runs.settle()
