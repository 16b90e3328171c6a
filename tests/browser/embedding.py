"""A web site of another origin, as those that embed cells are."""

import http.server
import threading
from types import TracebackType
from typing import Self


class ForeignSite:
    """Serves pages that a test makes, on a port of its own."""

    def __init__(self) -> None:
        pages: dict[str, str] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((body or "").encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server
                pass

        self._pages = pages
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def publish(self, head: str, body: str) -> str:
        """Publish a page; returns its address."""
        return self.publish_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Course notes</title>'
            f'<link rel="icon" href="data:,">{head}</head><body>{body}</body></html>'
        )

    def publish_text(self, text: str) -> str:
        """Publish a whole document; returns its address."""
        self._pages["/"] = text
        return f"http://{self.host}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
