"""The pages that are measured: one embeds a cell of the appliance, one a cell of Thebe; both are of another site."""

from __future__ import annotations

import functools
import http.server
import json
import pathlib
import threading
from typing import TYPE_CHECKING, Any, Self

from benchmarks.contest import CODE
from benchmarks.server import PLAIN

if TYPE_CHECKING:
    from types import TracebackType

HERE = pathlib.Path(__file__).resolve().parent

#: The bundle that Thebe's authors publish.
THEBE = HERE / "node_modules" / "thebe" / "lib"

#: What both pages do: note when the button was pressed and released, and the first frame after output is there.
_CLOCK = """
window.samples = {};
document.addEventListener('click', (event) => { samples.click ??= event.timeStamp; }, true);
window.seen = () => {
  if (samples.click === undefined || samples.output !== undefined) return;
  samples.output = performance.now();
  requestAnimationFrame(() => { samples.painted = performance.now(); });
};
"""


def _page(head: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Course notes</title>'
        f'<link rel="icon" href="data:,"><script>{_CLOCK}</script>{head}</head><body>{body}</body></html>'
    )


def appliance_page(root: str) -> str:
    """Return a page with a cell; its output frame tells the page when something is shown."""
    return _page(
        f'<script src="{root}/static/embedded_cell.js"></script>'
        "<script>addEventListener('message', (event) => { if (event.data?.type === 'shown') seen(); });</script>",
        f"<code-cell>{CODE}</code-cell>",
    )


def dragged_page(root: str, code: str) -> str:
    """Return a page with a cell that holds ``code``."""
    return _page(f'<script src="{root}/static/embedded_cell.js"></script>', f"<code-cell>{code}</code-cell>")


def thebe_page(root: str, *, bootstrap: bool) -> str:
    """Return a page with a cell of Thebe; with ``bootstrap`` it starts its kernel when it is loaded."""
    options = {
        "bootstrap": bootstrap,
        "useBinder": False,
        "requestKernel": True,
        "kernelOptions": {"name": PLAIN, "kernelName": PLAIN},
        "serverSettings": {"baseUrl": root, "token": "", "appendToken": False},
        "savedSessionOptions": {"enabled": False},
        "mountActivateWidget": False,
        "mountStatusWidget": False,
    }
    watching = """
    new MutationObserver(() => {
      const output = document.querySelector('.jp-OutputArea-output');
      if (output && output.textContent.trim() === '2') seen();
    }).observe(document, {childList: true, subtree: true, characterData: true});
    """
    return _page(
        f'<script type="text/x-thebe-config">{json.dumps(options)}</script>'
        '<link rel="stylesheet" href="/thebe/thebe.css"><script src="/thebe/index.js"></script>'
        f"<script>{watching}</script>",
        f'<pre data-executable="true" data-language="python">{CODE}</pre>',
    )


class Site:
    """A web site on a port of its own, with Thebe's bundle below ``/thebe/``."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        pages = self.pages

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path not in pages:
                    self.path = self.path.removeprefix("/thebe")
                    super().do_GET()
                    return
                body = pages[self.path].encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server
                pass

        handler = functools.partial(Handler, directory=str(THEBE))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
