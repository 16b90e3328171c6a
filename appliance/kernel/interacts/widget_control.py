"""Any widget with a value as a control: the way to controls that are not among the thirteen."""

from __future__ import annotations

import sys
from typing import Any

from appliance.kernel.interacts.control import Control


def is_widget(value: Any) -> bool:
    """Return whether this is a widget that has a value."""
    ipywidgets = sys.modules.get("ipywidgets")
    return ipywidgets is not None and isinstance(value, ipywidgets.DOMWidget) and value.has_trait("value")


class WidgetControl(Control):
    """A widget of ipywidgets, anywidget or any other library; the function receives its value."""

    def __init__(self, widget: Any, label: str | None = None) -> None:
        self.widget = widget
        #: While the widget takes a value that the program or a link set, and not the visitor.
        self.setting = False
        super().__init__(widget.value, label)

    def constrained(self, value: Any) -> Any:
        """Have the widget take the value. Raises traitlets' `TraitError`."""
        self.setting = True
        try:
            self.widget.value = value
        finally:
            self.setting = False
        return self.widget.value

    def bookmarked(self, value: Any) -> Any:
        """Return it as it is: only setting the widget would tell whether it takes it."""
        return value

    def message(self) -> dict[str, Any]:
        """Describe it to clients that show no widgets."""
        return {"control_type": "html_box", "value": "This control needs a page that shows Jupyter widgets."}
