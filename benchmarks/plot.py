"""A plot of a few series as SVG: a logarithmic axis below, one from zero on the left, nothing but text and lines."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 60

#: Told apart by people who do not tell red from green (Okabe and Ito, "Color Universal Design").
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.a{stroke:#999;fill:none}.g{stroke:#e4e4e4}"
    "path.s{fill:none;stroke-width:2.5}rect{fill:#fff}"
)


def _step(most: float) -> float:
    """Return the distance of lines that divides ``most`` into three to seven parts."""
    power = 10.0 ** math.floor(math.log10(most / 3))
    return max(factor * power for factor in (1, 2, 5) if most / (factor * power) >= 3)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def svg(title: str, below: str, left: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a plot of ``series``: points (x above 0, y from 0 on) by the name of each."""
    points = [point for found in series.values() for point in found]
    first, last = (math.log10(bound(x for x, _ in points)) for bound in (min, max))
    step = _step(max(y for _, y in points))
    top = step * math.ceil(max(y for _, y in points) / step)

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(x) - first) / (last - first)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}"/>',
        _text(WIDTH / 2, 22, title),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, below),
        f'<g transform="rotate(-90)">{_text(-(TOP + HEIGHT - BOTTOM) / 2, 18, left)}</g>',
    ]
    for number in range(round(top / step) + 1):
        y = up(number * step)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{number * step:g}", "end"))
    for power in range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1):
        parts.append(
            _text(across(10.0**power), HEIGHT - BOTTOM + 20, f"{10**power:,}" if power >= 0 else f"{10.0**power:g}")
        )
    parts.append(f'<path class="a" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    for number, (name, found) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in found)
        parts.append(f'<path class="s" stroke="{colour}" d="M{line}"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="4" fill="{colour}"/>' for x, y in found]
        place = TOP + 14 + 18 * number
        parts.append(f'<path class="s" stroke="{colour}" d="M{LEFT + 16} {place - 4}h22"/>')
        parts.append(_text(LEFT + 46, place, name, "start"))
    return "".join([*parts, "</svg>\n"])
