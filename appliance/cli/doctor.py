"""``cellctl doctor``: the layers of confinement, and what is wrong with an installed appliance, as text or as JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import attrs

from appliance import confinement
from appliance.cli import installation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.cli.installation import Trouble
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


def render_troubles(troubles: Sequence[Trouble]) -> str:
    """Return what is wrong with the installed appliance as lines."""
    lines = ["", "Installation:"]
    for trouble in troubles:
        lines += [*textwrap.wrap(trouble.what, TEXT_COLUMNS), f"  -> {trouble.advice}"]
    return "\n".join(lines if troubles else [*lines, "Units, edge and disk are well."])


def render_json(layers: Sequence[Layer], troubles: Sequence[Trouble] = ()) -> str:
    """Return the layers and what is wrong with the installed appliance as one JSON object."""
    document = {
        "ok": not any(layer.missing for layer in layers) and not troubles,
        "installation": [attrs.asdict(trouble) for trouble in troubles],
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
    """Probe this host, print the result, and return 0 if all that is required is there and nothing is wrong, else 1."""
    layers = confinement.probe(config)
    troubles = installation.examine(config)
    if as_json:
        print(render_json(layers, troubles or ()))
    else:
        print(render_table(layers))
        if troubles is not None:
            print(render_troubles(troubles))
    return 1 if troubles or any(layer.missing for layer in layers) else 0
