"""Files that visitors bring to kernels, and data sets that the administrator shows to them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import pathlib
import signal
import socket
import threading
import time
import uuid

import pytest

from tests.integration.kernelspecs import BASH, kernelspec, make_prefix
from tests.integration.running import Appliance, Directories, run_cellctl, wait_for
from tests.integration.sage_client import SageClient
from tests.integration.test_session_files import fetch, new_files

with_bash = pytest.mark.skipif(
    importlib.util.find_spec("bash_kernel") is None, reason="bash_kernel is not installed beside the tests"
)

CONFIG = """
[pool]
max_kernels = 8
ready = 1
[web]
max_download_bytes = 9_000_000
transfer_seconds = 8.0
max_upload_bytes = 3_000_000
max_upload_bytes_per_kernel = 5_000_000
[profile.small]
exposed = true
scratch_bytes = 1_048_576
[profile.archive]
exposed = true
data = "{data}"
[profile.other]
exposed = true
data = "{data}/sub"
"""


@pytest.fixture(scope="module")
def directories():
    own = Directories()
    data = own.base / "data"
    (data / "sub").mkdir(parents=True)
    (data / "iris.csv").write_text("a,b\n1,2\n")
    (data / "sub" / "deep.txt").write_text("deep")
    (data / "run.sh").write_text("#!/bin/sh\necho run\n")
    (data / "run.sh").chmod(0o777)
    (data / "open.txt").write_text("for everybody")
    (data / "open.txt").chmod(0o666)
    yield own
    own.remove()


@pytest.fixture(scope="module")
def server(directories):
    toml = CONFIG.format(data=directories.base / "data")
    if importlib.util.find_spec("bash_kernel") is not None:
        python = make_prefix(directories.base / "prefix")
        kernelspec(directories.base / "prefix", "bash", argv=BASH)
        toml += f'[environment.python]\n[environment.bash]\nkernelspec = "bash"\npython = "{python}"\n'
    running = Appliance(toml)
    yield running
    running.stop()


def bring(appliance, kernel_id, name, data, method="PUT", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=60)
    try:
        connection.request(method, f"/kernel/{kernel_id}/files/{name}", data, headers)
        response = connection.getresponse()
        document = json.loads(response.read())
        return response.status, document if response.status == 201 else document["error"], document.get("message")
    finally:
        connection.close()


def end(client):
    client.send("shutdown_request", {"restart": False}, channel="control")


READ = "import os\nprint(sorted(os.listdir()), open('a b.csv').read(), open('d/e/ü').read())"


def test_files_are_there_for_the_first_evaluation_and_are_not_told_of_as_new(server):
    with SageClient(server.url, timeout="0") as client:
        assert bring(server, client.kernel_id, "a%20b.csv", b"1,2\n")[:2] == (201, {"name": "a b.csv", "size": 4})
        assert bring(server, client.kernel_id, "d/e/%C3%BC", b"deep", "POST")[0] == 201
        # as curl --data-binary sends it
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert bring(server, client.kernel_id, "form", b"&" * 5000, "POST", **form)[0] == 201
        assert bring(server, client.kernel_id, "empty", b"")[0] == 201
        answer = client.run(READ + "\nopen('new', 'w').write('x')")
        assert answer.stdout == "['a b.csv', 'd', 'empty', 'form'] 1,2\n deep\n"
        assert new_files(answer) == ["new"]


def test_a_file_comes_while_its_kernel_computes_and_a_changed_one_is_told_of(server):
    with SageClient(server.url) as client:
        running = client.start(
            "import os, time\nprint('ready', flush=True)\nwhile not os.path.exists('late'): time.sleep(0.02)\n"
            "print(open('late').read())"
        )
        while client.receive()["msg_type"] != "stream":
            pass
        assert bring(server, client.kernel_id, "late", b"now")[0] == 201
        assert client.finish(running).stdout.endswith("now\n")
        assert new_files(client.run("open('late', 'a').write('!')")) == ["late"]
        assert fetch(server, client.kernel_id, "late")[2] == b"now!"
        # in its place comes another file: what is open goes on to be read
        code = "old = open('late')\nold.read(1)\nprint(os.stat('late').st_size)"
        assert client.run(code).stdout == "4\n"
        assert bring(server, client.kernel_id, "late", b"x" * 100)[0] == 201
        assert client.run("print(old.read(), os.stat('late').st_size)").stdout == "ow! 100\n"
        end(client)


def test_what_is_too_much_is_413_and_says_how_much_may_be(server):
    with SageClient(server.url) as client:
        status, code, message = bring(server, client.kernel_id, "a", bytes(3_000_001))
        assert (status, code) == (413, "file_too_large")
        assert "up to 2.9 MiB" in message
        assert bring(server, client.kernel_id, "a", bytes(3_000_000))[0] == 201
        status, code, message = bring(server, client.kernel_id, "b", bytes(2_000_001))
        assert (status, code) == (413, "files_too_large")
        assert "4.8 MiB" in message
        # what replaces a file makes room for itself
        assert bring(server, client.kernel_id, "a", bytes(2_500_000))[0] == 201
        assert bring(server, client.kernel_id, "b", bytes(2_000_001))[0] == 201
        assert client.run("print({name: os.stat(name).st_size for name in sorted(os.listdir())})").stdout == (
            "{'a': 2500000, 'b': 2000001}\n"
        )
        end(client)
    with SageClient(server.url, profile="small") as client:
        status, code, message = bring(server, client.kernel_id, "a", bytes(2_000_000))
        assert (status, code) == (413, "no_space_for_file")
        assert "1 MiB" in message
        # nothing of it is left
        assert bring(server, client.kernel_id, "a", bytes(900_000))[0] == 201
        assert client.run("print(os.listdir())").stdout == "['a']\n"
        end(client)


@pytest.mark.attack(16, "a name is a path below the home; the kernel writes it", "names of files that are brought")
@pytest.mark.parametrize(
    "name",
    ["..%2Fx", "d/..%2F..%2Fx", "%2Ftmp/x", "a//b", "a/.", "%00", "x" * 256, "y/" * 600 + "z", "%F3%A0%81%81"],
)
def test_names_that_are_none_are_refused(server, name):
    with SageClient(server.url) as client:
        status, code, _ = bring(server, client.kernel_id, name, b"bad")
        assert (status, code) == (400, "bad_file_name")
        assert client.run("print(os.listdir())").stdout == "[]\n"
        end(client)


MISLEAD = {
    "python": """
import os
os.symlink('/tmp', 'link'); os.symlink('/tmp/through', 'end'); os.symlink('/proc/1/fd', 'fds')
os.mkfifo('pipe'); open('plain', 'w').close(); os.mkdir('folder')
""",
    "bash": "ln -s /tmp link; ln -s /tmp/through end; ln -s /proc/1/fd fds; mkfifo pipe; touch plain; mkdir folder",
}
LOOK = {
    "python": "print(sorted(os.listdir('/tmp')), sorted(os.listdir()), open('end').read(), open('pipe').read())",
    "bash": "ls -d /tmp/through /tmp/x; cat end pipe",
}


@pytest.mark.attack(15, "no step of a name is a link; files are made anew", "links, pipes, directories in a kernel")
@pytest.mark.parametrize("environment", ["python", pytest.param("bash", marks=with_bash)])
def test_links_that_a_program_made_lead_nobody_astray(server, environment):
    with SageClient(server.url, environment=environment) as client:
        client.run(MISLEAD[environment])
        for name in ("link/x", "fds/7", "plain/x", "folder", "pipe/x"):
            assert bring(server, client.kernel_id, name, b"bad")[:2] == (409, "file_in_the_way"), name
        for name in ("link", "link/x", "fds/0", "fds/1", "plain/x", "folder", "pipe", "end"):
            assert fetch(server, client.kernel_id, name)[0] == 404, name
        for name in ("end", "pipe"):
            assert bring(server, client.kernel_id, name, b"good")[0] == 201
        seen = client.run(LOOK[environment])
        if environment == "python":
            assert "through" not in seen.stdout
            assert seen.stdout.endswith("good good\n")
        else:
            assert "No such file" in seen.stderr + seen.stdout
            assert seen.stdout.endswith("goodgood\n")
        end(client)


@with_bash
def test_kernels_of_other_languages_take_files_and_keep_within_the_limits(server):
    with SageClient(server.url, environment="bash") as client:
        assert bring(server, client.kernel_id, "d/words.txt", b"one\ntwo\n")[0] == 201
        assert bring(server, client.kernel_id, "big", bytes(range(256)) * 10_000)[0] == 201
        assert client.run("cat d/words.txt; wc -c <big; sha256sum big | head -c 8").stdout == (
            "one\ntwo\n2560000\n2350b445\n"
        )
        assert bring(server, client.kernel_id, "more", bytes(2_900_000))[:2] == (413, "files_too_large")
        end(client)


def run_as_cell(client, code):
    """Run code as our own cell does, which has a place for a list of files."""
    msg_id = uuid.uuid4().hex
    header = {"msg_id": msg_id, "username": "cell", "session": "s", "msg_type": "execute_request"}
    content = {"code": code, "silent": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {"widgets": True}, "content": content}
    client.socket.send(json.dumps({**message, "channel": "shell"}))
    return client.finish(msg_id)


def listed(answer):
    shown = [content["data"] for content in answer.contents("display_data")]
    return [
        (file["name"], file["size"], file["type"], base64.b64decode(file["data"]))
        for data in shown
        for file in data["application/vnd.cell-appliance.files+json"]["files"]
    ]


@with_bash
def test_a_page_is_told_what_programs_of_other_languages_left(server):
    with SageClient(server.url, environment="bash") as client:
        assert bring(server, client.kernel_id, "brought", b"x")[0] == 201
        answer = run_as_cell(client, "mkdir d; echo hi >d/a.txt; printf 1,2 >b.csv; echo done")
        assert listed(answer) == [("b.csv", 3, "text/csv", b"1,2"), ("d/a.txt", 3, "text/plain", b"hi\n")]
        kinds = [message["msg_type"] for message in answer.messages if message["channel"] == "iopub"]
        assert kinds.index("display_data") == len(kinds) - 2
        assert answer.stdout == "done\n"
        assert listed(run_as_cell(client, "echo nothing")) == []
        # whoever has no place for it is not told
        assert client.run("echo other >c.txt").contents("display_data") == []
        # a link leads nobody to what is not the program's
        assert listed(run_as_cell(client, "ln -s /etc d/etc; ln -s /etc/passwd p; echo more >brought")) == [
            ("brought", 5, "application/octet-stream", b"more\n"),
            ("c.txt", 6, "text/plain", b"other\n"),
        ]
        end(client)


def test_a_kernel_that_is_gone_takes_nothing(server):
    with SageClient(server.url) as client:
        end(client)
        wait_for("the kernel has ended", lambda: bring(server, client.kernel_id, "a", b"x")[0] == 404, 10)
    assert bring(server, "00000000-0000-4000-8000-000000000000", "a", b"x")[:2] == (404, "unknown_kernel")
    assert bring(server, "x", "a", b"x")[:2] == (404, "unknown_kernel")


#: The program takes the place of the kernel's own threads and does what it likes with who brings a file.
LIE = """
import gc, socket, time
(listener,) = [item.listener for item in gc.get_objects() if type(item).__name__ == '_Intake']
listener.setblocking(True)
print('listening', flush=True)
connection, _ = listener.accept()
{what}
"""


@pytest.mark.attack(18, "an answer is one of a few codes, its bytes are counted", "answers to who brings a file")
@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("connection.close()", 503),
        ("connection.sendall(b'x' * 100_000)", 503),
        ("connection.sendall(b'[' * 4000 + b'\\n')", 503),
        ("""connection.sendall(b'{"status": "error", "code": "<script>", "space": 1}\\n')""", 503),
        ("""connection.sendall(b'{"status": "error", "code": "no_space", "space": "many"}\\n')""", 413),
        ("""connection.sendall(b'{"status": "ok"}\\n')""", 201),
    ],
)
def test_whatever_a_kernel_answers_is_a_plain_answer_here(server, what, status):
    # stopped at the door of the control thread, the program is the only one that accepts
    steal = "import threading, appliance.kernel.channels as channels\nchannels._Intake.accept = lambda self: None\n"
    with SageClient(server.url) as client:
        client.run("x = 1")
        running = client.start(steal + LIE.format(what=what))
        message = client.receive()
        while message["msg_type"] not in ("stream", "error"):
            message = client.receive()
        assert "listening" in message["content"].get("text", ""), message
        found, code, text = bring(server, client.kernel_id, "a", bytes(100_000))
        assert found == status, (code, text)
        assert "script" not in str(text)
        client.finish(running)
        end(client)


def test_a_file_that_drips_is_given_up_and_leaves_room_for_others(server):
    with SageClient(server.url) as client, socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        head = f"PUT /kernel/{client.kernel_id}/files/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        sock.sendall(head.encode())
        started, answer = time.monotonic(), b""
        sock.settimeout(0.2)
        while b"}" not in answer:
            assert time.monotonic() - started < 20
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer += sock.recv(10_000)
        assert time.monotonic() - started > 7
        assert answer.startswith(b"HTTP/1.1 408 Request Time")
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["error"] == "file_too_slow"
        assert "within 8 seconds" in document["message"]
        assert client.run("import os; print(os.listdir('.'))").stdout == "[]\n"
        assert bring(server, client.kernel_id, "quick", b"x")[0] == 201
        end(client)


# ---- what a kernel has can be fetched while it lives

KINDS = ["python", pytest.param("bash", marks=with_bash)]


@pytest.mark.parametrize("environment", KINDS)
def test_a_file_that_was_brought_can_be_fetched_at_once(server, environment):
    with SageClient(server.url, environment=environment) as client:
        data = bytes(range(256)) * 10_000
        assert bring(server, client.kernel_id, "d/%C3%BC.txt", data)[0] == 201
        status, headers, body = fetch(server, client.kernel_id, "d/%C3%BC.txt")
        assert (status, headers["content-length"], headers["content-type"]) == (200, "2560000", "text/plain")
        assert body == data
        again = fetch(server, client.kernel_id, "d/%C3%BC.txt", **{"If-None-Match": headers["etag"]})
        assert again[0] == 304
        part = fetch(server, client.kernel_id, "d/%C3%BC.txt", Range="bytes=255-256")
        assert (part[0], part[2], part[1]["content-range"]) == (206, b"\xff\x00", "bytes 255-256/2560000")
        assert bring(server, client.kernel_id, "d/%C3%BC.txt", b"other")[0] == 201
        assert fetch(server, client.kernel_id, "d/%C3%BC.txt")[2] == b"other"
        for name in ("d", "none", "d/none", "..%2F..%2Fetc%2Fpasswd"):
            assert fetch(server, client.kernel_id, name)[0] == 404, name
        end(client)
    wait_for("the kernel has ended", lambda: fetch(server, client.kernel_id, "d/%C3%BC.txt")[0] == 404, 10)


def test_what_is_brought_takes_the_place_of_what_was_kept_of_the_program_s(server):
    with SageClient(server.url) as client:
        assert new_files(client.run("open('a', 'w').write('the program')")) == ["a"]
        assert fetch(server, client.kernel_id, "a")[2] == b"the program"
        assert bring(server, client.kernel_id, "a", b"the visitor")[0] == 201
        assert fetch(server, client.kernel_id, "a")[2] == b"the visitor"
        end(client)


MAKE_LARGE = {
    "python": "with open('large', 'wb') as file:\n    file.write(bytes(range(256)) * 30_000)",
    "bash": "head -c 7680000 /dev/urandom >large; sha256sum <large",
}


@pytest.mark.parametrize("environment", KINDS)
def test_a_kernel_for_one_evaluation_stays_for_what_is_too_large_to_come_along(server, environment):
    with SageClient(server.url, environment=environment, timeout="0") as client:
        answer = run_as_cell(client, MAKE_LARGE[environment])
        (shown,) = [content["data"] for content in answer.contents("display_data")]
        (file,) = shown["application/vnd.cell-appliance.files+json"]["files"]
        assert (file["name"], file["size"], "data" in file) == ("large", 7_680_000, False)
        status, _, body = fetch(server, client.kernel_id, "large")
        assert (status, len(body)) == (200, 7_680_000)
        if environment == "python":
            assert body == bytes(range(256)) * 30_000
        else:
            assert hashlib.sha256(body).hexdigest() == answer.stdout.split()[0]
        end(client)
    with SageClient(server.url, environment=environment, timeout="0") as client:
        run_as_cell(client, "open('small', 'w').write('x')" if environment == "python" else "echo x >small")
        assert client.receive()["content"]["execution_state"] == "dead"


def test_what_is_more_than_a_kernel_gives_is_413_and_says_what_to_do(server):
    with SageClient(server.url) as client:
        client.run("open('sparse', 'wb').truncate(20 << 20)")
        status, _, body = fetch(server, client.kernel_id, "sparse")
        assert (status, json.loads(body)["error"]) == (413, "file_too_large_to_fetch")
        assert "up to 8.6 MiB from a kernel, and this one has 20 MiB" in json.loads(body)["message"]
        end(client)


def resident_bytes(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_client_that_does_not_read_costs_no_copy_and_is_given_up(server):
    with SageClient(server.url) as client:
        client.run("open('sparse', 'wb').truncate(8_900_000)")
        before = resident_bytes(server.pid_of("web"))
        held = []
        for _ in range(3):
            sock = socket.create_connection(("127.0.0.1", server.port), 30)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            sock.sendall(f"GET /kernel/{client.kernel_id}/files/sparse HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"
            held.append(sock)
        assert fetch(server, client.kernel_id, "sparse", Range="bytes=1-1")[2] == b"\x00"
        assert client.run("print(1)").stdout == "1\n"
        assert resident_bytes(server.pid_of("web")) - before < 4_000_000
        time.sleep(9)
        for sock in held:
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while data := sock.recv(65_536):
                    received += len(data)
            assert received < 8_900_000
            sock.close()
        end(client)


#: The program serves the door for files itself, and says what it likes.
GIVE = """
import gc, json, socket
(listener,) = [item.listener for item in gc.get_objects() if type(item).__name__ == '_Intake']
listener.setblocking(True)
print('listening', flush=True)
connection, _ = listener.accept()
connection.recv(10_000)
{what}
"""

HEAD = 'connection.sendall(b\'{"status": "ok", "size": 100000, "changed": 1}\\n\'); connection.recv(100)\n'


@pytest.mark.attack(18, "an answer is bounded and its bytes are counted", "answers to who fetches a file")
@pytest.mark.parametrize(
    ("what", "status", "length"),
    [
        ("connection.close()", 503, None),
        ("connection.sendall(b'x' * 100_000)", 503, None),
        ("""connection.sendall(b'{"status": "ok", "size": 1e400, "changed": 1}\\n')""", 503, None),
        ("""connection.sendall(b'{"status": "ok", "size": -5, "changed": 1}\\n')""", 503, None),
        ("""connection.sendall(b'{"status": "ok", "size": 5, "changed": ' + b'9' * 4000 + b'}\\n')""", 503, None),
        ("""connection.sendall(b'{"status": "ok", "size": ' + b'9' * 4000 + b', "changed": 1}\\n')""", 503, None),
        ("""connection.sendall(b'{"status": "error", "code": "<script>"}\\n')""", 503, None),
        (HEAD + "connection.sendall(b'y' * 99_999); connection.close()", 200, 99_999),
        (HEAD + "connection.sendall(b'y' * 10**6)", 200, 100_000),
        ('connection.sendall(b\'{"status": "ok", "size": 5, "changed": 1}\\nHTTP/1.1 200 OK\')', 503, None),
    ],
)
def test_whatever_a_kernel_gives_is_a_file_of_the_told_size_or_a_broken_one(server, what, status, length):
    steal = "import threading, appliance.kernel.channels as channels\nchannels._Intake.accept = lambda self: None\n"
    with SageClient(server.url) as client:
        client.run("x = 1")
        running = client.start(steal + GIVE.format(what=what))
        message = client.receive()
        while message["msg_type"] not in ("stream", "error"):
            message = client.receive()
        assert "listening" in message["content"].get("text", ""), message
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"/kernel/{client.kernel_id}/files/a.png")
        answer = connection.getresponse()
        assert answer.status == status
        try:
            body = answer.read()
        except http.client.IncompleteRead as exc:
            body = exc.partial
            assert status == 200
            assert length < 100_000
        assert b"<script" not in body
        if status == 200:
            assert len(body) == length
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["content-security-policy"].startswith("sandbox")
        connection.close()
        client.send("interrupt_request", {}, channel="control")
        client.finish(running)
        assert json.loads(server.request("GET", "/environments")[2])["uploads"]
        end(client)


def test_a_client_that_stops_half_way_leaves_nothing(server):
    with SageClient(server.url) as client:
        before = threading.active_count()
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            head = f"PUT /kernel/{client.kernel_id}/files/half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            sock.sendall(head.encode() + bytes(500_000))
        assert client.run("print(os.listdir('.'))").stdout == "[]\n"
        assert threading.active_count() == before
        assert bring(server, client.kernel_id, "whole", b"x")[0] == 201
        end(client)


def test_pages_of_other_sites_may_ask_to_bring_files(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    asked = {"Origin": "https://book.example", "Access-Control-Request-Method": "PUT"}
    connection.request("OPTIONS", "/kernel/x/files/y", headers=asked)
    answer = connection.getresponse()
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Origin"] == "https://book.example"
    connection.close()


# ---- data sets

DATA = """
import os, stat
print(open('/data/iris.csv').read(), sorted(os.listdir('/data')))
def refused(what, action):
    try:
        action()
    except OSError as error:
        print(what, error.errno)
    else:
        print(what, 'done')
import subprocess
refused('make', lambda: open('/data/new', 'w'))
refused('change', lambda: open('/data/open.txt', 'w'))
refused('remove', lambda: os.unlink('/data/open.txt'))
refused('touch', lambda: os.utime('/data/open.txt'))
refused('run', lambda: subprocess.run(['/data/run.sh']))
flags = os.statvfs('/data').f_flag
print(all(flags & flag for flag in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC)))
print(os.listdir('/run/data') if os.path.isdir('/run/data') else [])
"""


def test_a_cell_reads_the_data_sets_of_its_profile_and_cannot_change_them(server, directories):
    with SageClient(server.url, profile="archive") as client:
        lines = client.run(DATA).stdout.splitlines()
        end(client)
    assert lines == [
        "a,b",
        "1,2",
        " ['iris.csv', 'open.txt', 'run.sh', 'sub']",
        "make 30",
        "change 30",
        "remove 30",
        "touch 30",
        "run 13",
        "True",
        "[]",
    ]
    assert (directories.base / "data" / "open.txt").read_text() == "for everybody"


def test_other_profiles_see_their_own_data_or_none(server):
    list_them = "print(sorted(os.listdir('/data')) if os.path.isdir('/data') else [], os.listdir('/run/data'))"
    with SageClient(server.url, profile="other") as client:
        assert client.run(list_them).stdout == "['deep.txt'] []\n"
        end(client)
    with SageClient(server.url) as client:
        assert client.run(list_them).stdout == "[] []\n"
        end(client)


LOCK = "import fcntl\nfile = open('/data/iris.csv')\nfcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\nprint('locked')"


@pytest.mark.skipif(os.geteuid() != 0, reason="without overlays, files that two kernels see are the same")
@pytest.mark.attack(12, "data sets have inodes of each kernel's own", "locks on a file of a data set")
def test_a_lock_that_one_kernel_has_on_a_data_set_another_does_not_see(server):
    with SageClient(server.url, profile="archive") as one, SageClient(server.url, profile="archive") as other:
        assert one.run(LOCK).stdout == "locked\n"
        assert other.run(LOCK).stdout == "locked\n"
        # the same within one kernel is refused
        again = one.run("other = open('/data/iris.csv')\nfcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)")
        assert again.reply["ename"] == "BlockingIOError"
        for client in (one, other):
            end(client)


def test_data_that_is_missing_is_told_before_anything_starts(directories):
    toml = f'[profile.archive]\ndata = "{directories.base}/none"\n'
    file = directories.write_config(toml, "missing.toml")
    expected = f"profile.archive.data: {directories.base}/none cannot be looked at (No such file or directory)"
    for command in (["config", "check"], ["serve"]):
        done = run_cellctl(*command, "--config", str(file))
        assert done.returncode == 78, done
        assert expected in done.stderr + done.stdout
    looked = run_cellctl("doctor", "--config", str(file), "--json")
    assert looked.returncode == 1
    (layer,) = [layer for layer in json.loads(looked.stdout)["layers"] if layer["name"] == "data sets"]
    assert expected in layer["detail"]


def test_files_come_to_a_kernel_whose_web_role_is_another(directories, server):
    # the web role that is asked does not know the kernel: another has it, and keeps it
    with SageClient(server.url) as client:
        os.kill(server.pid_of("web"), signal.SIGKILL)
        wait_for("the web role is back", server._answers, 20)
        assert bring(server, client.kernel_id, "a", b"x")[0] == 201
        client.socket.close()
        client.connect()
        assert client.run("print(open('a').read())").stdout == "x\n"
        end(client)
