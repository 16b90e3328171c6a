"""The widgets of each control, and what passes between the two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets

from appliance.kernel.interacts.choice_controls import Button, ButtonBar, Selector
from appliance.kernel.interacts.color_control import ColorSelector
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider, MultiSlider
from appliance.kernel.interacts.text_controls import Checkbox, HtmlBox, InputBox, InputGrid
from appliance.kernel.interacts.widget_control import WidgetControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.kernel.interacts.control import Control

#: Class of what was changed and not yet sent.
DIRTY = "interact-dirty"

_STYLE = {"description_width": "initial"}
_READOUT_DIGITS = 6


class ControlView:
    """``widget``: what is placed. ``triggers``: comm ids of whose messages the control's value comes."""

    def __init__(self, label: str, changed: Callable[[Any], None], *, disabled: bool) -> None:
        self.label, self._changed, self._disabled = label, changed, disabled
        self._made: list[Any] = []
        self._showing = False
        self.triggers: frozenset[str] = frozenset()
        self.widget: Any = None

    def make(self, kind: Any, **options: Any) -> Any:
        """Return a new widget, closed with the control."""
        widget = kind(**options)
        if self._disabled and widget.has_trait("disabled"):
            widget.disabled = True
        self._made.append(widget)
        return widget

    def listen(self, widget: Any, trait: str, value: Callable[[Any], Any]) -> None:
        """Take the value when the visitor changes a trait of a widget."""

        def on_change(change: Any) -> None:
            if not self.showing:
                self._changed(value(change["new"]))

        widget.observe(on_change, trait)
        self.triggers |= {widget.model_id}

    @property
    def showing(self) -> bool:
        """Whether it is the program that sets the widgets."""
        return self._showing

    def show(self, value: Any) -> None:
        """Show a value that the program set."""
        self._showing = True
        try:
            self.set(value)
        finally:
            self._showing = False

    def set(self, value: Any) -> None:
        """Set the widgets."""
        self.widget.value = value

    def labelled(self, widget: Any) -> Any:
        """Return the widget with its label before it."""
        if not self.label:
            return widget
        return self.make(ipywidgets.HBox, children=(self.make(ipywidgets.Label, value=self.label), widget))

    def close(self) -> None:
        """Close the widgets."""
        for widget in self._made:
            for part in ("layout", "style"):
                own = getattr(widget, part, None)
                if own is not None:
                    own.close()
            widget.close()


def _width(width: str) -> str | None:
    return f"{width}em" if width.isdigit() else width or None


class _Plain(ControlView):
    """A control that is one widget with the same value."""

    def __init__(self, kind: Any, value: Any, label: str, changed: Any, *, disabled: bool, **options: Any) -> None:
        super().__init__(label, changed, disabled=disabled)
        self.widget = self.make(kind, value=value, description=label, style=_STYLE, **options)
        self.listen(self.widget, "value", lambda new: new)


class _Chosen(ControlView):
    """A choice or a slider over a list: the widget's ``index`` is the value."""

    def __init__(self, kind: Any, labels: list[str], value: Any, label: str, changed: Any, **options: Any) -> None:
        super().__init__(label, changed, disabled=options.pop("disabled"))
        choices = [(text, index) for index, text in enumerate(labels)]
        self.widget = self.make(kind, options=choices, index=value, description=label, style=_STYLE, **options)
        self.listen(self.widget, "index", lambda new: list(new) if isinstance(new, tuple) else new)

    def set(self, value: Any) -> None:
        """Set the index."""
        self.widget.index = value


class _Buttons(ControlView):
    """Buttons in rows: of a selector one is down, of a bar none stays down."""

    def __init__(self, control: Selector | ButtonBar, label: str, changed: Any, *, disabled: bool) -> None:
        super().__init__(label, changed, disabled=disabled)
        self._stays = isinstance(control, Selector)
        kind = ipywidgets.ToggleButton if self._stays else ipywidgets.Button
        width = _width(control.width) or "auto"
        self._buttons = [self.make(kind, description=text, layout={"width": width}) for text in control.value_labels]
        for index, button in enumerate(self._buttons):
            if self._stays:
                button.observe(self._on_toggle(index), "value")
            else:
                button.on_click(self._on_click(index))
        self.triggers = frozenset(button.model_id for button in self._buttons)
        columns = f"repeat({control.ncols}, max-content)"
        grid = self.make(
            ipywidgets.GridBox, children=self._buttons, layout={"grid_template_columns": columns, "grid_gap": "0.2em"}
        )
        self.widget = self.labelled(grid)
        if self._stays:
            self.show(control.value)

    def _on_toggle(self, index: int) -> Any:
        def toggled(_: object) -> None:
            if not self._showing:
                self.show(index)
                self._changed(index)

        return toggled

    def _on_click(self, index: int) -> Any:
        def clicked(_: object) -> None:
            self._changed(index)

        return clicked

    def set(self, value: Any) -> None:
        """Have one button down."""
        if self._stays:
            for index, button in enumerate(self._buttons):
                button.value = index == value


class _Button(ControlView):
    def __init__(self, control: Button, label: str, changed: Any, *, disabled: bool) -> None:
        super().__init__(label, changed, disabled=disabled)
        width = _width(control.width) or "auto"
        button = self.make(ipywidgets.Button, description=control.text, layout={"width": width})
        button.on_click(lambda _: changed(True))
        self.triggers = frozenset({button.model_id})
        self.widget = self.labelled(button)

    def set(self, value: Any) -> None:
        """Show nothing: a press is over at once."""


class _Grid(ControlView):
    """Entries that are marked until the button below sends them all."""

    def __init__(self, control: InputGrid, label: str, changed: Any, *, disabled: bool) -> None:
        super().__init__(label, changed, disabled=disabled)
        self._sent = control.value
        width = f"{control.width + 3}ch" if control.width else None
        self._rows = [
            [self._entry(row, column, width) for column in range(control.ncols)] for row in range(control.nrows)
        ]
        entries = [entry for row in self._rows for entry in row]
        columns = f"repeat({control.ncols}, max-content)"
        grid = self.make(ipywidgets.GridBox, children=entries, layout={"grid_template_columns": columns})
        submit = self.make(ipywidgets.Button, description="Submit")
        submit.on_click(self._submit)
        self.triggers = frozenset({submit.model_id})
        self.widget = self.labelled(self.make(ipywidgets.VBox, children=(grid, submit)))

    def _entry(self, row: int, column: int, width: str | None) -> Any:
        entry = self.make(ipywidgets.Text, value=self._sent[row][column], layout={"width": width})

        def on_change(change: Any) -> None:
            (entry.remove_class if change["new"] == self._sent[row][column] else entry.add_class)(DIRTY)

        entry.observe(on_change, "value")
        return entry

    def _submit(self, _: object) -> None:
        values = [[entry.value for entry in row] for row in self._rows]
        self._changed(values)
        self._mark_sent(values)

    def _mark_sent(self, values: list[list[str]]) -> None:
        self._sent = [list(row) for row in values]
        for row in self._rows:
            for entry in row:
                entry.remove_class(DIRTY)

    def set(self, value: Any) -> None:
        """Show rows as sent."""
        self._sent = [list(row) for row in value]
        for row, values in zip(self._rows, value, strict=True):
            for entry, text in zip(row, values, strict=True):
                entry.value = text
        self._mark_sent(value)


class _Multi(ControlView):
    """Vertical sliders side by side."""

    def __init__(self, control: MultiSlider, label: str, changed: Any, *, disabled: bool) -> None:
        super().__init__(label, changed, disabled=disabled)
        self._values = list(control.value)
        self._trait = "index" if control.values else "value"
        self._sliders = []
        for place, value in enumerate(control.value):
            options: dict[str, Any] = {"orientation": "vertical", "readout": control.display_values}
            if control.values:
                choices = [(repr(choice), index) for index, choice in enumerate(control.values[place])]
                slider = self.make(ipywidgets.SelectionSlider, options=choices, index=value, **options)
            else:
                low, high = control.interval[place]
                options |= _steps(control.stepsize[place])
                slider = self.make(ipywidgets.FloatSlider, value=value, min=low, max=high, **options)
            self.listen(slider, self._trait, self._with(place))
            self._sliders.append(slider)
        self.widget = self.labelled(self.make(ipywidgets.HBox, children=self._sliders))

    def _with(self, place: int) -> Any:
        def values(new: Any) -> list[Any]:
            self._values[place] = new
            return list(self._values)

        return values

    def set(self, value: Any) -> None:
        """Set each slider."""
        self._values = list(value)
        for slider, entry in zip(self._sliders, value, strict=True):
            setattr(slider, self._trait, entry)


class _Foreign(ControlView):
    """A widget that the author of the program made."""

    def __init__(self, control: WidgetControl, label: str, changed: Any, *, disabled: bool) -> None:
        super().__init__(label, changed, disabled=disabled)
        self._control = control
        self.listen(control.widget, "value", lambda new: new)
        self.widget = self.labelled(control.widget)

    @property
    def showing(self) -> bool:
        """Whether it is the control that sets the widget."""
        return self._control.setting

    def set(self, value: Any) -> None:
        """Leave it to the control, which has set it."""


def _steps(step: float) -> dict[str, Any]:
    """Return step and number format of a float slider: as many digits as a step changes."""
    digits = min(max(-math.floor(math.log10(step)), 0), _READOUT_DIGITS)
    return {"step": step, "readout_format": f".{digits}f"}


def view_of(control: Control, label: str, changed: Callable[[Any], None], readonly: bool) -> ControlView:
    """Return the widgets of a control; ``changed`` is called with each value in transit that the visitor makes."""
    common: dict[str, Any] = {"label": label, "changed": changed, "disabled": readonly}
    value = control.value
    if isinstance(control, Checkbox):
        return _Plain(ipywidgets.Checkbox, value, indent=False, **common)
    if isinstance(control, InputBox):
        layout = {"width": f"{control.width + 3}ch", "max_width": "100%"} if control.width else {}
        common |= {"continuous_update": control.keypress, "layout": layout}
        if control.height > 1:
            return _Plain(ipywidgets.Textarea, value, rows=control.height, **common)
        return _Plain(ipywidgets.Text, value, **common)
    if isinstance(control, HtmlBox):
        return _Plain(ipywidgets.HTML, value, **common)
    if isinstance(control, ColorSelector):
        return _Plain(ipywidgets.ColorPicker, value, concise=control.hide_input, **common)
    if isinstance(control, ContinuousSlider):
        kind = ipywidgets.FloatRangeSlider if control.range_slider else ipywidgets.FloatSlider
        low, high = control.interval
        common |= {"min": low, "max": high, "readout": control.display_value, **_steps(control.stepsize)}
        return _Plain(kind, value, **common)
    if isinstance(control, DiscreteSlider):
        kind = ipywidgets.SelectionRangeSlider if control.range_slider else ipywidgets.SelectionSlider
        return _Chosen(kind, [repr(each) for each in control.values], value, readout=control.display_value, **common)
    return _other_view(control, common)


def _other_view(control: Control, common: dict[str, Any]) -> ControlView:
    if isinstance(control, ButtonBar) or (isinstance(control, Selector) and control.selector_type == "button"):
        return _Buttons(control, **common)
    if isinstance(control, Selector) and control.selector_type == "radio":
        orientation = "horizontal" if control.nrows == 1 else "vertical"
        labels = control.value_labels
        return _Chosen(ipywidgets.RadioButtons, labels, control.value, orientation=orientation, **common)
    if isinstance(control, Selector):
        return _Chosen(ipywidgets.Dropdown, control.value_labels, control.value, **common)
    if isinstance(control, Button):
        return _Button(control, **common)
    if isinstance(control, InputGrid):
        return _Grid(control, **common)
    if isinstance(control, MultiSlider):
        return _Multi(control, **common)
    if isinstance(control, WidgetControl):
        return _Foreign(control, **common)
    raise TypeError(f"{type(control).__name__} is no kind of control that can be shown")
