"""Rich output of Sage: pictures, formulas and scenes as a cell can show them, without anything from elsewhere."""

from __future__ import annotations

import functools
import html
import importlib
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Sage has no type information, and is not there when this is checked.
    Backend: Any = object
    catalog: Any = None
else:
    from sage.repl.rich_output import output_catalog as catalog
    from sage.repl.rich_output.backend_ipython import BackendIPythonNotebook as Backend

#: Pixels that a scene is high.
SCENE_HEIGHT = 400


class CellBackend(Backend):  # type: ignore[misc]
    """Sage's backend for notebooks, for output that is shown offline in a frame without an origin."""

    def _repr_(self) -> str:
        return "browser cell"

    def supported_output(self) -> set[Any]:
        """Return the kinds of output; Jmol's needs Java's applets or files of its own on the server."""
        kinds: set[Any] = super().supported_output() - {catalog.OutputSceneJmol}
        return kinds

    def displayhook(self, plain_text: Any, rich_output: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (data by MIME type, metadata)."""
        if isinstance(rich_output, catalog.OutputSceneThreejs):
            document = html.escape(_with_scripts(rich_output.html.get_str()))
            frame = (
                f'<iframe srcdoc="{document}" style="border: 0; width: 100%; height: {SCENE_HEIGHT}px" '
                f'sandbox="allow-scripts" title="three-dimensional picture"></iframe>'
            )
            return {"text/html": frame, "text/plain": plain_text.text.get_str()}, {}
        formatted: tuple[dict[str, Any], dict[str, Any]] = super().displayhook(plain_text, rich_output)
        return formatted

    def threejs_offline_scripts(self) -> str:
        """Return where the library belongs; it is put in when the scene is shown, once it is known to be."""
        return _PLACE


_PLACE = "<!-- three.js -->"


def _with_scripts(document: str) -> str:
    return document.replace(_PLACE, f"<script>{_threejs()}</script>", 1)


@functools.cache
def _threejs() -> str:
    """Return Sage's three.js."""
    feature = importlib.import_module("sage.features.threejs").Threejs()
    text = pathlib.Path(feature.absolute_filename()).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")


def install(shell: Any) -> None:
    """Make it what Sage shows objects by."""
    manager = importlib.import_module("sage.repl.rich_output").get_display_manager()
    manager.switch_backend(CellBackend(), shell=shell)
    _threejs()
