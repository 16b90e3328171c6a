"""Where the controls and the output of an interact stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT = "_output"
BOOKMARKS = "_bookmarks"

#: One row: names with their widths relative to each other; None is a gap.
Row = list[tuple[str | None, int]]


def arranged(names: Sequence[str], layout: Any, placed: set[str], *, output: bool) -> list[Row]:
    """Return the rows of ``layout`` and one row for each name that it leaves out; ``placed`` stand elsewhere.

    ``layout``: rows of names or of (name, width), or a dict with rows under top, left, right, bottom. Raises
    `ValueError` naming what is wrong with it.
    """
    seen = set(placed)
    rows: list[Row] = []
    for given in _rows(layout, output=output):
        if isinstance(given, str) or not isinstance(given, list | tuple):
            raise ValueError(f"a row of a layout is a list of names, not {given!r}")
        row: Row = []
        for item in given:
            name, width = item if isinstance(item, list | tuple) and len(item) == 2 else (item, 1)
            if name is not None and name not in names and name != OUTPUT:
                raise ValueError(f"the layout names {name!r}, which is no control of this interact")
            if name in seen:
                raise ValueError(f"duplicate item {name} in layout")
            if name is not None:
                seen.add(name)
            row.append((name, _width(width)))
        rows.append(row)
    rows += [[(name, 1)] for name in names if name not in seen]
    if output and OUTPUT not in seen:
        rows.append([(OUTPUT, 1)])
    return rows


def _width(width: Any) -> int:
    try:
        number = int(width)
    except (TypeError, ValueError):
        number = 0
    if number <= 0:
        raise ValueError(f"a width in a layout is a positive number, not {width!r}")
    return number


def _rows(layout: Any, *, output: bool) -> list[Any]:
    if layout is None:
        return []
    if not isinstance(layout, dict):
        return list(layout)
    unknown = sorted(set(layout) - {"top", "left", "right", "bottom"})
    if unknown:
        raise ValueError(f"a layout has top, left, right and bottom, not {unknown[0]!r}")
    rows = [row for side in ("top", "left", "right") for row in layout.get(side, [])]
    return [*rows, *([[OUTPUT]] if output else []), *layout.get("bottom", [])]


def located(names: Sequence[str], locations: Any) -> dict[str, str] | None:
    """Return the selector of the element that takes each name, None if there are none.

    ``locations``: True or a prefix (elements whose id is the prefix and the name), or a dict. Raises `ValueError`.
    """
    if locations is None or locations is False:
        return None
    if locations is True:
        locations = ""
    every = (*names, OUTPUT, BOOKMARKS)
    if isinstance(locations, str):
        return {name: f"#{locations}{name}" for name in every}
    if not isinstance(locations, dict):
        raise ValueError(f"locations is True, a prefix or a dict of selectors, not {locations!r}")
    unknown = sorted(str(name) for name in locations if name not in every)
    if unknown:
        raise ValueError(f"locations names {unknown[0]!r}, which is no control of this interact")
    return {name: str(selector) for name, selector in locations.items()}
