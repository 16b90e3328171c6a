"""``/kernel/<id>/files/NAME``: files that visitors bring to a kernel, and those that are there.

What a kernel sent away can be fetched for a time after its end, anything in its home while it lives.

What is in them is a visitor's. Opened by itself a file is a page of an origin of its own that runs no scripts, and what
no browser shows as text or picture is saved.
"""

from __future__ import annotations

import contextlib
import email.utils
import mimetypes
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater

from appliance.errors import ApplianceError, UnknownKernel
from appliance.protocol.session_files import RangeNotSatisfiableError, byte_range, is_name
from appliance.web.http import Call, Headers, Response, error_response, json_response
from appliance.web.kept_files import FileGone
from appliance.web.kernel_routes import ID
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.downloads import Downloads, OpenFile
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

    def __init__(self, kernels: Kernels, uploads: Uploads, downloads: Downloads, clock: Any) -> None:
        self._kernels = kernels
        self._uploads = uploads
        self._downloads = downloads
        self._clock = clock

    def routes(self) -> Sequence[Route]:
        """Return the address."""
        handlers = {"GET": self.send, "PUT": self.take, "POST": self.take}
        return (Route(re.compile(rf"/kernel/(?P<kernel_id>{ID})/files/(?P<name>.+)"), handlers, takes_files=True),)

    async def take(self, call: Call, kernel_id: str, name: str) -> Response:
        """Bring a file, the body as it is, to the directory in which the kernel's program runs.

        Directories in its name are made. A file of the same name is replaced.
        """
        address = await self._kernels.address(kernel_id)
        await self._uploads.bring(address, name, call.body)
        self._kernels.files.drop(address.kernel_id, name)
        return json_response({"name": name, "size": len(call.body)}, 201)

    async def send(self, call: Call, kernel_id: str, name: str) -> Response:
        """Send a file, or the part that a Range header asks for; ``?q=`` and ``?m=`` only make addresses differ."""
        if not is_name(name):
            raise FileGone
        found = await self._find(kernel_id, name)
        etag = f'"{found.changed_ns:x}-{found.size:x}"'
        kind = _type_of(name)
        disposition = "inline" if _SHOWN.fullmatch(kind) else "attachment"
        quoted = urllib.parse.quote(name.rpartition("/")[2], safe="")
        headers: Headers = (
            ("Cache-Control", "no-cache"),
            ("Accept-Ranges", "bytes"),
            ("Content-Disposition", f"{disposition}; filename*=UTF-8''{quoted}"),
            ("Content-Security-Policy", _POLICY),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            ("ETag", etag),
            ("Last-Modified", email.utils.formatdate(found.changed_ns // 10**9, usegmt=True)),
        )
        if etag in (tag.strip().removeprefix("W/") for tag in call.etag.split(",")):
            found.close()
            return Response(304, b"", kind, headers)
        wanted = call.request.getHeader("range") or ""
        if call.request.getHeader("if-range") not in (None, etag):
            wanted = ""
        try:
            part = byte_range(wanted, found.size)
        except RangeNotSatisfiableError:
            found.close()
            refusal = error_response(RangeNotSatisfiable(), 0)
            return Response(416, refusal.body, headers=(*refusal.headers, ("Content-Range", f"bytes */{found.size}")))
        if part is None:
            return Response(200, b"", kind, headers, found.part(0, found.size))
        start, stop = part
        headers = (*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{found.size}"))
        return Response(206, b"", kind, headers, found.part(start, stop - start))

    async def _find(self, kernel_id: str, name: str) -> KeptFile | OpenFile:
        """Return a file that is kept, or that the kernel has; raises `FileGone` and what `Downloads.open` does.

        While an evaluation runs here, it is waited for.
        """
        deadline = self._clock.seconds() + ARRIVAL_SECONDS
        while True:
            kernel = self._kernels.live(kernel_id)
            with contextlib.suppress(FileGone):
                return self._kernels.files.open(kernel_id if kernel is None else kernel.kernel_id, name)
            try:
                return await self._downloads.open(await self._kernels.address(kernel_id), name)
            except UnknownKernel as exc:
                raise FileGone from exc
            except FileGone:
                if kernel is None or not kernel.busy or self._clock.seconds() >= deadline:
                    raise
            await deferLater(self._clock, ARRIVAL_STEP_SECONDS, lambda: None)


def _type_of(name: str) -> str:
    """Return the media type that the end of a name says; the whole of it might be taken for a ``data:`` address."""
    return _TYPES.guess_type("./" + name.rpartition("/")[2])[0] or "application/octet-stream"
