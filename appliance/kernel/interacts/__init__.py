"""Interacts: functions whose parameters are controls on the page (`@interact`).

`NAMES` are what cells find without an import, as in SageMathCell.
"""

from __future__ import annotations

from typing import Any

from appliance.kernel.interacts import compatibility
from appliance.kernel.interacts.choice_controls import Button, ButtonBar, Selector, UpdateButton
from appliance.kernel.interacts.color_control import ColorSelector
from appliance.kernel.interacts.guess import automatic_control
from appliance.kernel.interacts.runs import Runs, install, interact
from appliance.kernel.interacts.slider_controls import ContinuousSlider, DiscreteSlider, MultiSlider
from appliance.kernel.interacts.text_controls import Checkbox, ExpressionBox, HtmlBox, InputBox, InputGrid

CONTROLS = (
    Checkbox,
    InputBox,
    ExpressionBox,
    InputGrid,
    Selector,
    DiscreteSlider,
    ContinuousSlider,
    MultiSlider,
    ColorSelector,
    Button,
    ButtonBar,
    HtmlBox,
    UpdateButton,
)

NAMES: dict[str, Any] = {
    "interact": interact,
    "automatic_control": automatic_control,
    **{control.__name__: control for control in CONTROLS},
    **{function.__name__: function for function in compatibility.FUNCTIONS},
}

__all__ = ["CONTROLS", "NAMES", "Runs", "install", "interact"]
