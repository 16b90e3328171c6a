"""``/static/``: the built front end, read once and kept in memory while it does not change."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import stat
from typing import TYPE_CHECKING

import attrs

from appliance.errors import NotFound
from appliance.web.http import Call, Headers, Response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Exactly the kinds of file that the front end is made of; anything else is a download.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}

#: Bytes of files kept in memory; a larger front end is read from the disk each time.
MAX_KEPT_BYTES = 67_108_864

#: Largest file.
MAX_FILE_BYTES = 33_554_432

#: A name with the hash of the content in it never changes; the others are asked for again each time, and answered 304.
_HASHED = re.compile(r"[.-](?=[0-9A-Za-z_]*[0-9])[0-9A-Za-z_]{8,}\.(?:js|mjs|css|map|wasm|woff2|png|svg)$")
IMMUTABLE = "public, max-age=31536000, immutable"

#: The scripts that pages of others name for ever: a page with several cells, and the next page, need not ask again.
EMBEDDED = ("embedded_cell.js", "embedded_sagecell.js")
SHORT = "public, max-age=300"

#: Which name, with a hash in it, each file has now; written by the build.
NAMES_FILE = "assets.json"

#: What the build has put beside a file, by the name that browsers accept it under (RFC 9110, section 8.4); best first.
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
REVALIDATE = "public, max-age=0, must-revalidate"

#: Everything a kernel sent is shown in this file, in an opaque origin: `'self'` matches nothing there, so the origin
#: is spelled out. What it may fetch are blobs, which never leave the frame that made them: it offers them as files.
#: There is no `frame-ancestors`: even its `*` keeps out pages without an origin of their own, which may have cells as
#: well. The sandbox holds also when the file is opened by itself. See "Front end and output frame" in ARCHITECTURE.md.
FRAME_FILE = "output_frame.html"
_FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src {origin} blob: 'unsafe-inline' 'unsafe-eval'; "
    "style-src {origin} 'unsafe-inline'; img-src data: blob:; media-src data: blob:; font-src {origin} data:; "
    "connect-src blob:; form-action 'none'; base-uri 'none'"
)

#: Any other file, opened by itself, may do nothing.
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@+-]{0,127}")


def accepts(header: str, encoding: str) -> bool:
    """Return whether an Accept-Encoding names an encoding without forbidding it (RFC 9110, section 12.5.3)."""
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name == encoding:
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False


@attrs.frozen
class _File:
    """A file as it was when it had this time and size."""

    version: tuple[int, int]
    body: bytes
    etag: str


class StaticFiles:
    """The handlers, and their addresses."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._files: dict[str, _File] = {}
        self._kept_bytes = 0

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        script = re.compile(r"/(?P<name>embedded_cell|embedded_sagecell)\.js")
        return (
            Route(re.compile("/static/(?P<name>.+)"), {"GET": self.send}, any_origin=True),
            Route(script, {"GET": self.redirect}, any_origin=True),
        )

    async def redirect(self, call: Call, name: str) -> Response:
        """Send a page that embeds a script from its short address to the script."""
        headers = (("Location", f"/static/{name}.js"), ("Cache-Control", "public, max-age=3600"))
        return Response(301, b"", "text/plain; charset=utf-8", headers)

    async def send(self, call: Call, name: str) -> Response:
        """Send a file of the front end."""
        file, encoding = self._encoded(name, call.request.getHeader("accept-encoding") or "")
        policy = _FRAME_POLICY.format(origin=call.url) if name == FRAME_FILE else _FILE_POLICY
        headers: Headers = (
            ("Cache-Control", IMMUTABLE if _HASHED.search(name) else SHORT if name in EMBEDDED else REVALIDATE),
            ("Content-Security-Policy", policy),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            ("ETag", file.etag),
            ("Vary", "Accept-Encoding"),
            *((("Content-Encoding", encoding),) if encoding else ()),
        )
        kind = CONTENT_TYPES.get(pathlib.PurePosixPath(name).suffix, "application/octet-stream")
        if file.etag in (tag.strip().removeprefix("W/") for tag in call.etag.split(",")):
            return Response(304, b"", kind, headers)
        return Response(200, file.body, kind, headers)

    def current_name(self, name: str) -> str:
        """Return the name, with a hash in it, of a file of the front end; its own where the build has noted none."""
        try:
            names = json.loads(self._file(NAMES_FILE).body)
            return str(names.get(name, name))
        except (NotFound, ValueError, AttributeError):
            return name

    def _encoded(self, name: str, accepted: str) -> tuple[_File, str]:
        """Return a file, or what the build compressed it to if the browser takes that; raises `NotFound`."""
        for encoding, suffix in _ENCODINGS:
            if accepts(accepted, encoding):
                try:
                    return self._file(name + suffix), encoding
                except NotFound:
                    continue
        return self._file(name), ""

    def _file(self, name: str) -> _File:
        """Return a file below the root; raises `NotFound`, also for what is reached through a link."""
        if not all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
            raise NotFound
        path = self._root / name
        try:
            info = path.stat()
            version = (info.st_mtime_ns, info.st_size)
            kept = self._files.get(name)
            if kept is not None and kept.version == version:
                return kept
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE_BYTES:
                raise NotFound
            if os.path.realpath(path) != os.path.join(os.path.realpath(self._root), name):
                raise NotFound
            body = path.read_bytes()
        except (OSError, ValueError) as exc:
            raise NotFound from exc
        file = _File(version, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        if kept is not None:
            self._kept_bytes -= len(kept.body)
            del self._files[name]
        if self._kept_bytes + len(body) <= MAX_KEPT_BYTES:
            self._files[name] = file
            self._kept_bytes += len(body)
        return file
