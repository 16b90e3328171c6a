"""A function of ours as the function of an interact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Called:
    """A function without parameters of its own. ``names``: what expressions of visitors may use in its controls."""

    def __init__(self, function: Callable[..., None], names: dict[str, Any]) -> None:
        self._function, self.__globals__ = function, names

    def __call__(self, **controls: Any) -> None:
        """Call the function."""
        self._function(**controls)
