"""Files that programs left, as a browser fetches them."""

from __future__ import annotations

import io
import urllib.parse

import pytest

from appliance.config import Config
from appliance.web.downloads import FileNotGiven
from appliance.web.file_routes import ARRIVAL_SECONDS, FileRoutes
from appliance.web.file_sending import CHUNK_BYTES, STALL_SECONDS
from appliance.web.kept_files import FileGone, KeptFile, KeptFiles
from appliance.web.uploads import Uploads
from tests.unit.web.fakes import Client
from tests.unit.web.running import run
from tests.unit.web.serving import Answer, Connection, ask
from tests.unit.web.test_kernels import message

ID = "00000000-0000-4000-8000-000000000000"
TEXT = b"0123456789"


@pytest.fixture
def kept(tmp_path, world):
    files = KeptFiles(tmp_path, seconds=60, max_bytes=10**9, max_kernel_bytes=10**9, now=lambda: 0.0)
    files.keep(ID, "d/a b.txt", TEXT)
    world.kernels.files = files
    return files


class Homes:
    """The homes of kernels that live."""

    def __init__(self):
        self.files = {}
        self.error = FileGone

    async def open(self, address, name):
        if name not in self.files:
            raise self.error
        return KeptFile(io.BytesIO(self.files[name]), len(self.files[name]), 10**18)


@pytest.fixture
def homes():
    return Homes()


@pytest.fixture
def routes(kept, world, homes):
    return FileRoutes(world.kernels, Uploads(Config(), world.clock), homes, world.clock).routes()


ADDRESS = f"/kernel/{ID}/files/d/a%20b.txt"


def test_a_file_is_sent_to_any_page_and_runs_nothing(routes):
    answer = ask(routes, "GET", f"{ADDRESS}?q=3", ("Origin: null",))
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["access-control-allow-origin"] == "null"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''a%20b.txt"
    assert "GMT" in answer.headers["last-modified"]


@pytest.mark.parametrize(
    ("name", "disposition"),
    [("a.html", "attachment"), ("a.js", "attachment"), ("a", "attachment"), ("a.svg", "inline"), ("a.png", "inline")],
)
def test_what_is_more_than_a_picture_or_text_is_saved(routes, kept, name, disposition):
    kept.keep(ID, name, b"x")
    answer = ask(routes, "GET", f"/kernel/{ID}/files/{name}")
    assert answer.headers["content-disposition"].partition(";")[0] == disposition


@pytest.mark.parametrize(
    ("wanted", "body", "content_range"),
    [("bytes=0-3", b"0123", "bytes 0-3/10"), ("bytes=8-", b"89", "bytes 8-9/10"), ("bytes=-2", b"89", "bytes 8-9/10")],
)
def test_a_part_of_a_file(routes, wanted, body, content_range):
    answer = ask(routes, "GET", ADDRESS, (f"Range: {wanted}",))
    assert (answer.status, answer.body) == (206, body)
    assert answer.headers["content-range"] == content_range
    assert answer.headers["content-length"] == str(len(body))


def test_several_parts_are_the_whole(routes):
    answer = ask(routes, "GET", ADDRESS, ("Range: bytes=0-1,4-5",))
    assert (answer.status, answer.body) == (200, TEXT)


def test_a_part_beyond_the_end(routes):
    answer = ask(routes, "GET", ADDRESS, ("Range: bytes=10-",))
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */10"


def test_a_file_that_has_not_changed_is_not_sent_again(routes, kept):
    etag = ask(routes, "GET", ADDRESS).headers["etag"]
    assert ask(routes, "GET", ADDRESS, (f"If-None-Match: {etag}",)).status == 304
    assert ask(routes, "GET", ADDRESS, ("Range: bytes=0-0", f"If-Range: {etag}")).status == 206
    kept.keep(ID, "d/a b.txt", b"other")
    assert ask(routes, "GET", ADDRESS, (f"If-None-Match: {etag}",)).body == b"other"
    assert ask(routes, "GET", ADDRESS, ("Range: bytes=0-0", f"If-Range: {etag}")).body == b"other"


def test_an_empty_file(routes, kept):
    kept.keep(ID, "empty.txt", b"")
    answer = ask(routes, "GET", f"/kernel/{ID}/files/empty.txt")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize("name", ["d", "x", "..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "d//a%20b.txt", "%00"])
def test_what_is_not_there(routes, name):
    answer = ask(routes, "GET", f"/kernel/{ID}/files/{name}")
    assert answer.status == 404
    assert b"no_such_file" in answer.body or b"not_found" in answer.body


def test_a_file_of_no_kernel(routes):
    assert ask(routes, "GET", "/kernel/x/files/a").status == 404


def test_a_client_that_does_not_read_costs_no_copy_of_the_file(routes, kept, world):
    kept.keep(ID, "big", bytes(10**6))
    connection = Connection(routes, clock=world.clock)
    channel, written = connection.channel, connection.transport.write
    connection.transport.write = lambda data: (written(data), len(data) > 1000 and channel.pauseProducing())
    connection.send(f"GET /kernel/{ID}/files/big HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    received = 0
    while not received or connection.transport.value():
        step = len(connection.received())
        assert step <= 2 * CHUNK_BYTES
        received += step
        if received < 10**6:
            channel.resumeProducing()
    assert received > 10**6
    connection.send(f"GET /kernel/{ID}/files/big HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    world.clock.advance(STALL_SECONDS + 1)
    assert connection.transport.disconnecting
    connection.lose()


def test_a_file_is_waited_for_while_its_evaluation_runs(routes, kept, world):
    kernel = run(world.kernels.lease("visitor", 60.0))
    number = kernel.add_client(Client())
    connection = Connection(routes, clock=world.clock)
    request = f"GET /kernel/{kernel.kernel_id}/files/late HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    connection.send(request)
    assert b" 404 " in connection.received().partition(b"\r\n")[0]
    kernel.client_message(number, message())
    connection.send(request)
    assert connection.received() == b""
    kept.keep(kernel.kernel_id, "late", b"here")
    world.clock.pump([0.05] * 2)
    assert Answer(connection.received()).body == b"here"
    connection.send(request.replace(b"late", b"never"))
    world.clock.pump([0.05] * int(ARRIVAL_SECONDS / 0.05 + 2))
    assert b" 404 " in connection.received().partition(b"\r\n")[0]


def test_what_is_not_kept_is_had_from_a_kernel_that_lives(routes, kept, world, homes):
    kernel = run(world.kernels.lease("visitor", 60.0))
    address = f"/kernel/{kernel.kernel_id}/files/a.txt"
    assert ask(routes, "GET", address).status == 404
    homes.files["a.txt"] = TEXT
    answer = ask(routes, "GET", address, ("Range: bytes=2-3",))
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, b"23", "bytes 2-3/10")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert ask(routes, "GET", address).headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    kept.keep(kernel.kernel_id, "a.txt", b"kept")
    assert ask(routes, "GET", address).body == b"kept"
    homes.error = FileNotGiven
    answer = ask(routes, "GET", address.replace("a.txt", "b"))
    assert (answer.status, "retry-after" in answer.headers) == (503, True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("data:text/html,x", None),
        ("data:image/svg+xml,x.png", "image/png"),
        ("http://x/a.html", "text/html"),
        ("d.png/a", None),
    ],
)
def test_the_type_is_that_of_the_end_of_the_name(routes, kept, name, kind):
    kept.keep(ID, name, b"x")
    answer = ask(routes, "GET", f"/kernel/{ID}/files/{urllib.parse.quote(name)}")
    if "//" in name:
        assert answer.status == 404
        return
    assert answer.headers["content-type"] == (kind or "application/octet-stream")
