"""``/kernel/<id>/files/NAME``: files that visitors bring to a kernel, and those that programs left.

The latter can be fetched for a time after their kernels' end.

What is in them is a visitor's. Opened by itself a file is a page of an origin of its own that runs no scripts, and what
no browser shows as text or picture is saved.
"""

from __future__ import annotations

import email.utils
import mimetypes
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater

from appliance.errors import ApplianceError
from appliance.protocol.session_files import RangeNotSatisfiableError, byte_range, is_name
from appliance.web.http import Call, FilePart, Headers, Response, error_response, json_response
from appliance.web.kept_files import FileGone
from appliance.web.kernel_routes import ID
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.kept_files import KeptFile
    from appliance.web.kernels import Kernels
    from appliance.web.uploads import Uploads

#: A client may have heard of a file before it is here: while the evaluation runs, it is waited for as long.
ARRIVAL_SECONDS = 2.0
ARRIVAL_STEP_SECONDS = 0.05

_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"

_SHOWN = re.compile(r"image/(?:png|jpeg|gif|webp|svg\+xml)|text/(?:plain|csv)|audio/.+|video/.+")

_TYPES = mimetypes.MimeTypes()


class RangeNotSatisfiable(ApplianceError):
    """The range that was asked for is not within the file."""

    code = "range_not_satisfiable"
    http_status = 416


class FileRoutes:
    """The handlers, and their address."""

    def __init__(self, kernels: Kernels, uploads: Uploads, clock: Any) -> None:
        self._kernels = kernels
        self._uploads = uploads
        self._clock = clock

    def routes(self) -> Sequence[Route]:
        """Return the address."""
        handlers = {"GET": self.send, "PUT": self.take, "POST": self.take}
        return (Route(re.compile(rf"/kernel/(?P<kernel_id>{ID})/files/(?P<name>.+)"), handlers, takes_files=True),)

    async def take(self, call: Call, kernel_id: str, name: str) -> Response:
        """Bring a file, the body as it is, to the directory in which the kernel's program runs.

        Directories in its name are made. A file of the same name is replaced.
        """
        await self._uploads.bring(await self._kernels.address(kernel_id), name, call.body)
        return json_response({"name": name, "size": len(call.body)}, 201)

    async def send(self, call: Call, kernel_id: str, name: str) -> Response:
        """Send a file, or the part that a Range header asks for; ``?q=`` and ``?m=`` only make addresses differ."""
        if not is_name(name):
            raise FileGone
        kept = await self._find(kernel_id, name)
        etag = f'"{kept.changed_ns:x}-{kept.size:x}"'
        kind = _TYPES.guess_type(name)[0] or "application/octet-stream"
        disposition = "inline" if _SHOWN.fullmatch(kind) else "attachment"
        quoted = urllib.parse.quote(name.rpartition("/")[2], safe="")
        headers: Headers = (
            ("Cache-Control", "no-cache"),
            ("Accept-Ranges", "bytes"),
            ("Content-Disposition", f"{disposition}; filename*=UTF-8''{quoted}"),
            ("Content-Security-Policy", _POLICY),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            ("ETag", etag),
            ("Last-Modified", email.utils.formatdate(kept.changed_ns // 10**9, usegmt=True)),
        )
        if etag in (tag.strip().removeprefix("W/") for tag in call.etag.split(",")):
            kept.file.close()
            return Response(304, b"", kind, headers)
        wanted = call.request.getHeader("range") or ""
        if call.request.getHeader("if-range") not in (None, etag):
            wanted = ""
        try:
            part = byte_range(wanted, kept.size)
        except RangeNotSatisfiableError:
            kept.file.close()
            refusal = error_response(RangeNotSatisfiable(), 0)
            return Response(416, refusal.body, headers=(*refusal.headers, ("Content-Range", f"bytes */{kept.size}")))
        if part is None:
            return Response(200, b"", kind, headers, FilePart(kept.file, 0, kept.size))
        start, stop = part
        headers = (*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{kept.size}"))
        return Response(206, b"", kind, headers, FilePart(kept.file, start, stop - start))

    async def _find(self, kernel_id: str, name: str) -> KeptFile:
        """Return a file, waiting for it while its evaluation runs here; raises `FileGone`."""
        deadline = self._clock.seconds() + ARRIVAL_SECONDS
        while True:
            kernel = self._kernels.live(kernel_id)
            try:
                return self._kernels.files.open(kernel_id if kernel is None else kernel.kernel_id, name)
            except FileGone:
                if kernel is None or not kernel.busy or self._clock.seconds() >= deadline:
                    raise
            await deferLater(self._clock, ARRIVAL_STEP_SECONDS, lambda: None)
