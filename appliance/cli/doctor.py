"""``cellctl doctor``: the layers of confinement as a table or as JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from appliance import confinement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.config import Config
    from appliance.confinement import Layer

#: Width of the table's last column.
TEXT_COLUMNS = 76


def render_table(layers: Sequence[Layer]) -> str:
    """Return the layers as lines: name, state, detail, and what to do about those that are not on."""
    name_width = max(len(layer.name) for layer in layers)
    state_width = max(len(layer.state.value) for layer in layers)
    indent = " " * (name_width + state_width + 4)
    lines = []
    for layer in layers:
        detail = layer.detail + (" [required]" if layer.missing else "")
        text = textwrap.wrap(detail, TEXT_COLUMNS) or [""]
        lines.append(f"{layer.name:<{name_width}}  {layer.state.value:<{state_width}}  {text[0]}")
        lines += [indent + more for more in text[1:]]
        if layer.advice and layer.state is not confinement.State.ON:
            lines += [indent + more for more in textwrap.wrap(f"-> {layer.advice}", TEXT_COLUMNS)]
    missing = [layer.name for layer in layers if layer.missing]
    lines.append("")
    if missing:
        lines.append(f"Kernels cannot be confined here. Missing: {', '.join(missing)}.")
    else:
        lines.append("Everything that is required to confine kernels works here.")
    return "\n".join(lines)


def render_json(layers: Sequence[Layer]) -> str:
    """Return the layers as one JSON object."""
    document = {
        "ok": not any(layer.missing for layer in layers),
        "layers": [
            {
                "name": layer.name,
                "state": layer.state.value,
                "required": layer.required,
                "detail": layer.detail,
                "advice": layer.advice,
            }
            for layer in layers
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def run(config: Config, *, as_json: bool) -> int:
    """Probe this host, print the result, and return 0 if everything required is there, else 1."""
    layers = confinement.probe(config)
    print(render_json(layers) if as_json else render_table(layers))
    return 1 if any(layer.missing for layer in layers) else 0
