"""Lines 15 to 18: what the host does with what a kernel left, named or said."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse

import psutil
import pytest

from appliance.pool.records import Directories, Record
from tests.escape.altered import altered
from tests.escape.scene import Scene, end_kernel
from tests.integration.running import SLOWNESS, run_cellctl, wait_for
from tests.integration.running import Directories as ServedDirectories
from tests.integration.sage_client import SageClient
from tests.integration.test_many_requests import kernel_processes

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="looks into processes of other accounts")


@pytest.fixture
def scene(appliance):
    scene = Scene(appliance)
    yield scene
    scene.close()


# --- line 15

PLANT = r"""
import os, stat, threading
victim = {victim!r}
names = ("shell", "iopub", "stdin", "control", "hb", "record.json", "leased", "zygote.sock", "pool.sock", "x")
for place in ("/tmp", "/var/tmp", "/dev/shm", os.getcwd()):
    os.chdir(place)
    for name in names:
        os.symlink(victim, name)
    os.mkfifo("fifo")
    os.makedirs("deep/" * 200)
    os.chmod("deep", 0)
    os.mkdir("one"); os.symlink(os.path.dirname(victim), "two")
refused = []
for what in (
    lambda: os.link("/usr/bin/env", "/tmp/hard"),
    lambda: os.link("/etc/passwd", "/tmp/hard"),
    lambda: os.mknod("/tmp/device", 0o600 | stat.S_IFBLK, os.makedev(254, 0)),
    lambda: os.symlink(victim, "/run/x"),
    lambda: os.rename("/tmp", "/tmp2"),
):
    try: what(); refused.append("done")
    except OSError as exc: refused.append(type(exc).__name__)
def swap():
    # what a check sees as a directory is a link when it is used
    while True:
        for a, b in (("one", "three"), ("two", "one"), ("one", "two"), ("three", "one")):
            try: os.rename(a, b)
            except OSError: pass
for _ in range(2): threading.Thread(target=swap, daemon=True).start()
print(refused)
"""


@root_only
@pytest.mark.attack(15, "nothing of a cell has a name on the host", "plant links, pipes and swapping directories")
def test_links_pipes_and_swapping_directories_lead_the_host_nowhere(scene, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("whole")
    before = victim.stat()
    answer = scene.attacker.run(PLANT.format(victim=str(victim)))
    assert answer.stdout, answer.reply
    assert "done" not in answer.stdout
    scratch = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if "scratch" in line]
    assert scratch == []
    started = time.monotonic()
    end_kernel(scene.appliance, scene.attacker)
    wait_for(
        "the kernel is gone", lambda: not (scene.appliance.config.kernels_path / scene.attacker.kernel_id).exists(), 5
    )
    assert time.monotonic() - started < 5 * SLOWNESS  # 800 directories deep or not, they vanish with their mount
    assert victim.read_text() == "whole"
    assert victim.stat()[:6] == before[:6]
    scene.attacker = SageClient(scene.appliance.url)


@root_only
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see what the roles open")
@pytest.mark.attack(15, "the roles open, change and delete in their own directories only", "follow the host's hands")
def test_what_the_roles_open_in_a_kernels_life_is_their_own(scene, tmp_path):
    trace = tmp_path / "trace"
    pids = [str(scene.appliance.pid_of(role)) for role in ("pool", "web")]
    command = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(trace)]
    watching = subprocess.Popen([*command, *(word for pid in pids for word in ("-p", pid))])
    try:
        wait_for("strace is attached", lambda: _traced(pids), 10)
        client = SageClient(scene.appliance.url)
        assert client.run(PLANT.format(victim="/etc/passwd")).stdout
        end_kernel(scene.appliance, client)
        directory = scene.appliance.config.kernels_path / client.kernel_id
        wait_for("the kernel is gone", lambda: not directory.exists(), 5)
        wait_for("its directory was removed under strace", lambda: client.kernel_id in trace.read_text(), 5)
    finally:
        watching.terminate()
        watching.wait()
    calls = [line for line in trace.read_text().splitlines() if '"' in line]
    config = scene.appliance.config
    strange = [line for line in calls if not _own(line.split('"')[1], (config.kernels_path, config.files_path), line)]
    assert calls
    assert strange == []


def _traced(pids: list[str]) -> bool:
    return all("TracerPid:\t0\n" not in pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids)


def _own(path: str, directories: tuple[pathlib.Path, ...], line: str) -> bool:
    if path.startswith("/proc/") or any(pathlib.Path(path).is_relative_to(own) for own in directories):
        return True
    # names below an open directory, and Python's own modules and the clock's zone, which are read
    below = "AT_FDCWD" not in line and ("unlinkat" in line or "AT_EMPTY_PATH" in line)
    return below or path.startswith(("/usr/", "/etc/localtime", "/sys/fs/cgroup"))


@pytest.mark.attack(15, "O_NOFOLLOW, names below an open directory", "a link instead of a kernel's directory or file")
def test_a_link_in_place_of_a_directory_or_a_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in ("shell", "record.json", "kept"):
        (victim / name).write_text("whole")
    root = pathlib.Path(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))  # names of sockets have little room
    directories = Directories(root)
    record = Record("00000000-0000-4000-8000-000000000001", 1000, "python", "default", b"key")
    (root / record.kernel_id).symlink_to(victim)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        directories.remove(record.kernel_id)
    with pytest.raises(FileExistsError):
        directories.create(record)
    (root / record.kernel_id).unlink()
    for listener in directories.create(record):
        listener.close()
    for name in ("shell", "record.json"):
        (root / record.kernel_id / name).unlink()
        (root / record.kernel_id / name).symlink_to(victim / name)
    directories.remove(record.kernel_id)  # the control: what it made itself goes away
    assert not (root / record.kernel_id).exists()
    assert {path.name: path.read_text() for path in victim.iterdir()} == {
        "shell": "whole", "record.json": "whole", "kept": "whole",
    }  # fmt: skip
    root.rmdir()


# --- line 16

STRANGE_NAMES = (
    "../../../../etc/passwd", "..%2f..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/page.html", "%252e%252e/x", ".%00./x",
    "embedded_cell.js%00.png", "embedded_cell.js%0d%0aSet-Cookie:%20a=b", "%ff%fe", "%0a", "a" * 6000,
    "%3cscript%3ealert(1)%3c/script%3e", "./embedded_cell.js", "//etc/passwd", "fonts", "fonts/", "embedded_cell.js/",
    "fonts/../embedded_cell.js", "..;/x", "\\..\\x", "embedded_cell.js~", ".npmrc", "-", "con",
)  # fmt: skip


@pytest.mark.parametrize("name", STRANGE_NAMES, ids=lambda name: name[:40])
@pytest.mark.attack(16, "names are matched, not resolved", "a strange name of a file")
def test_a_strange_name_finds_no_file(appliance, name):
    status, headers, body = appliance.request("GET", f"/static/{name}")
    assert status in (400, 404)
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    assert set(json.loads(body)) == {"error", "message"}
    assert "<script>" not in body.decode()
    assert appliance.request("GET", "/static/embedded_cell.js")[0] == 200


#: Names that a program can give its files; a component has 255 bytes at most.
MADE_NAMES = (
    "one\ntwo", "a\r\nSet-Cookie: a=b", "a..%2f..%2fx", "%2e%2e", "<img src=x onerror=alert(1)>", "a\"; b=\"c.html",
    "\u202egnp.exe", "x" * 255, "a\tb", "\x1b[31mred", " ", "~", "a\\..\\b", "C:x",
)  # fmt: skip

MAKE_NAMED = """
import os
names = {names!r}
for name in names:
    open(name, 'w').write('<script>alert(1)</script>')
open(b'\\xff\\xfe', 'w').write('no text')
deep = '/'.join(['d' * 200] * 15)
os.makedirs(deep)
open(deep + '/x', 'w').write('deep')
"""


@pytest.mark.attack(
    16, "served as attachments, names encoded; the rest is not served", "a strange name of a cell's file"
)
def test_a_strange_name_of_a_cells_file_is_served_safely_or_not_at_all(appliance):
    with SageClient(appliance.url) as client:
        answer = client.run(MAKE_NAMED.format(names=MADE_NAMES))
        assert answer.reply["status"] == "ok", answer.reply
        told = [name for payload in answer.reply["payload"] for name in payload.get("new_files", ())]
        assert client.run("print(1)").stdout == "1\n"
        assert set(told) >= {"<img src=x onerror=alert(1)>", "x" * 255, "a..%2f..%2fx"}
        for name in told:
            address = f"/kernel/{client.kernel_id}/files/{urllib.parse.quote(name, errors='surrogateescape')}"
            status, headers, body = appliance.request("GET", address)
            assert status in (200, 400, 404), (name, status)
            assert "set-cookie" not in headers
            assert headers["x-content-type-options"] == "nosniff"
            if status == 200:
                assert body in (b"<script>alert(1)</script>", b"deep", b"no text"), name
                assert headers["content-disposition"].startswith("attachment")
                assert headers["content-security-policy"].startswith("sandbox")
                assert headers["content-disposition"].isprintable()
        for name in ("<img src=x onerror=alert(1)>", "x" * 255, "a..%2f..%2fx"):
            assert appliance.request("GET", f"/kernel/{client.kernel_id}/files/{urllib.parse.quote(name)}")[0] == 200
        end_kernel(appliance, client)


#: Names that a program takes for its files so that they are served as something else than what their end says.
NAMED_TYPES = {
    "data:text/html,x": "application/octet-stream",
    "data:image/svg+xml,x": "application/octet-stream",
    "data:text/html;charset=x,y.png": "image/png",
    "x.html": "text/html",
    "x.svg": "image/svg+xml",
    "x.xhtml": "application/octet-stream",
    "x.xml": "text/xml",
}


@pytest.mark.parametrize("while_it_lives", [True, False], ids=["from the kernel", "kept"])
@pytest.mark.attack(16, "types follow the end of a name; pages run nothing", "a name that says a type of its own")
def test_a_name_chooses_no_type_and_no_page_runs_scripts(appliance, while_it_lives):
    write = "import os\nfor name in {}:\n    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)\n"
    write += "    open(name, 'w').write('<script xmlns=\"http://www.w3.org/1999/xhtml\">alert(1)</script>')"
    with SageClient(appliance.url) as client:
        code = write.format(list(NAMED_TYPES))
        if while_it_lives:  # as who asks for no files does: nothing is sent away
            code = f"get_ipython().kernel.offer_files = lambda: []\n{code}"
        assert client.run(code).reply["status"] == "ok"
        for name, kind in NAMED_TYPES.items():
            status, headers, body = appliance.request(
                "GET", f"/kernel/{client.kernel_id}/files/{urllib.parse.quote(name)}"
            )
            assert (status, b"alert" in body) == (200, True), name
            assert headers["content-type"] == kind
            assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert kind.startswith("image/") or headers["content-disposition"].startswith("attachment")
        end_kernel(appliance, client)


FETCH_ASTRAY = """
import os, threading
os.makedirs('real/d'); open('real/d/x', 'w').write('mine'); open('plain', 'w').write('mine')
os.symlink({victim!r}, 'd'); os.symlink(os.path.join({victim!r}, 'x'), 'x'); os.symlink('/etc/passwd', 'passwd')
os.symlink('/proc/self/environ', 'environ'); os.symlink('/proc/1', 'init'); os.mkfifo('pipe')
def swap():
    while True:
        for a, b in (('real/d', 'real/e'), ('d', 'real/d'), ('real/d', 'd'), ('real/e', 'real/d')):
            try: os.rename(a, b)
            except OSError: pass
threading.Thread(target=swap, daemon=True).start()
"""


@pytest.mark.attack(15, "the kernel opens it, each step below the one before", "fetch a file through a swapped link")
def test_what_is_fetched_from_a_kernel_is_its_own(scene, tmp_path):
    victim = pathlib.Path(tempfile.mkdtemp(prefix="ct-", dir="/var/tmp"))
    victim.chmod(0o755)
    (victim / "x").write_text("of the host")
    try:
        scene.attacker.run(FETCH_ASTRAY.format(victim=str(victim)))
        files = f"/kernel/{scene.attacker.kernel_id}/files"
        assert scene.appliance.request("GET", f"{files}/plain")[2] == b"mine"
        for name in ("x", "passwd", "environ", "init/environ", "init/root/etc/passwd", "pipe", "d/x"):
            status, _, body = scene.appliance.request("GET", f"{files}/{name}")
            assert (status, b"of the host" in body) in ((404, False), (200, False)), name
            assert status == 404 or body == b"mine", name
        found = {scene.appliance.request("GET", f"{files}/real/d/x")[2] for _ in range(200)}
        assert b"mine" in found
        assert all(body == b"mine" or b"no_such_file" in body for body in found)
    finally:
        shutil.rmtree(victim)


@pytest.mark.attack(15, "what is removed is emptied first", "hold the memory of kept files by reading slowly")
def test_files_that_nobody_finds_any_more_hold_no_memory_of_the_host(scene):
    import socket

    def kept_bytes():
        used = os.statvfs(scene.appliance.config.files_path)
        return (used.f_blocks - used.f_bfree) * used.f_frsize

    before, held = kept_bytes(), []
    files = f"/kernel/{scene.attacker.kernel_id}/files"
    for number in range(12):
        code = f"open('a', 'wb').write(bytes([{number}]) * 8_000_000)"
        scene.attacker.run(code)
        sock = socket.create_connection(("127.0.0.1", scene.appliance.port), 30)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(f"GET {files}/a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 200"
        held.append(sock)
    assert kept_bytes() - before < 40_000_000
    for sock in held:
        sock.close()


@pytest.mark.attack(16, "links of the front end's folder are refused", "a link in the folder of static files")
def test_a_link_in_the_folder_of_static_files_is_not_served(tmp_path):
    from appliance.errors import NotFound
    from appliance.web.static import StaticFiles

    root = tmp_path / "static"
    root.mkdir()
    (root / "real.js").write_text("1")
    (tmp_path / "secret.js").write_text("secret")
    (root / "link.js").symlink_to(tmp_path / "secret.js")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.js")
    files = StaticFiles(root)
    assert files._file("real.js").body == b"1"
    for name in ("link.js", "folder/secret.js", "pipe.js"):
        with pytest.raises(NotFound):
            files._file(name)


# --- line 17

STEPS = (
    "close inherited descriptors", "new session", "cgroup", "namespaces", "mounts", "host name", "loopback", "limits",
    "bounding capabilities", "account", "capabilities", "no new privileges", "landlock", "selinux",
    "memory of no process", "seccomp", "check",
)  # fmt: skip
FAIL_AT = {
    "zygote/sandbox.py": {
        "    for name, step in steps(uid, limits, confinement, keep_fds, access or Access()):\n"
        "        try:\n            step()\n": '    with open("/run/code/fail", encoding="ascii") as file:\n'
        "        fail = file.read()\n"
        "    for name, step in steps(uid, limits, confinement, keep_fds, access or Access()):\n"
        "        try:\n"
        "            if fail == name:\n"
        '                raise OSError("made to fail")\n'
        "            step()\n"
    },
    # the file itself and not a copy: it says another step each time
    "zygote/staging.py": {
        "    if egress:\n        tree.bind(egress, EGRESS)\n": "    if egress:\n        tree.bind(egress, EGRESS)\n"
        '    tree.bind(str(_PACKAGE / "zygote" / "fail"), f"{CODE}/fail")\n'
    },
}


@root_only
@pytest.mark.attack(17, "a step that fails ends the fork", "each step of the set-up fails")
def test_a_kernel_of_which_any_step_failed_is_not_dealt():
    with altered(FAIL_AT, {"zygote/fail": b""}) as (appliance, package):
        text = (package / "zygote" / "sandbox.py").read_text()
        assert re.findall(r'^        \("([a-z ]+)", (?=lambda|os\.|linux\.|_)', text, re.MULTILINE) == list(STEPS)

        for step in STEPS:
            wait_for("kernels start", appliance.evaluates, 20)
            (package / "zygote" / "fail").write_text(step)
            line = f"could not be set up: {step}: made to fail"
            # whoever asks now takes what is ready; what would replace it is not made
            status, _, body = appliance.request("POST", "/kernel")
            if status == 200:
                appliance.request("DELETE", f"/kernel/{json.loads(body)['id']}")
            wait_for(f"{step} fails", lambda: line in appliance.text(), 20)  # noqa: B023
            wait_for("no kernel is there", lambda: kernel_processes(appliance) == [], 5)
            (package / "zygote" / "fail").write_text("")
        wait_for("kernels start again", appliance.evaluates, 20)


#: A step taken out, and what the last one then says.
LEFT_OUT = {
    '("account", lambda: _setup_account(uid))': "check: the account was not dropped",
    '("capabilities", linux.clear_capabilities)': "check: Cap",
    '("bounding capabilities", lambda: linux.drop_bounding_capabilities(confinement.last_capability))': "check: CapBnd",
    '("seccomp", lambda: linux.load_seccomp(confinement.seccomp_program))': "check: seccomp",
}


@root_only
@pytest.mark.parametrize("step", LEFT_OUT)
@pytest.mark.attack(17, "the last step reads back what the others did", "a step of the set-up is left out")
def test_a_kernel_of_which_a_step_was_left_out_is_not_dealt(step):
    nothing = re.sub(r", .*", ", lambda: None)", step, count=1)
    changes = {step: nothing}
    if step.startswith('("capabilities"'):
        # a change of account empties the sets that count, too: keep them (PR_SET_KEEPCAPS), as a mistake would
        changes["    os.setgroups([])\n"] = "    os.setgroups([])\n    linux.prctl(8, 1)\n"
    with altered({"zygote/sandbox.py": changes}, wait_until_ready=False) as (appliance, _):

        def failure():
            return json.loads(appliance.request("GET", "/healthz")[2])["pool"].get("last_failure", "")

        wait_for("the last step complains", lambda: failure().startswith(LEFT_OUT[step]), 30)
        assert kernel_processes(appliance) == [] or wait_for("it is gone", lambda: not kernel_processes(appliance), 5)
        assert appliance.request("POST", "/kernel")[0] == 503


@pytest.mark.attack(17, "sandbox.require", "a layer that must be there is missing")
def test_a_layer_that_is_required_and_missing_stops_the_start(appliance):
    layers = json.loads(appliance.request("GET", "/healthz")[2])["pool"]["layers"]
    missing = [name for name in ("cgroup", "landlock", "selinux") if layers.get(name) not in ("on", "")]
    if not missing:
        pytest.skip("this host has every layer")
    directories = ServedDirectories()
    try:
        file = directories.write_config(f'[sandbox]\nrequire = ["{missing[0]}"]\n')
        done = run_cellctl("serve", "--config", str(file), "--listen", "127.0.0.1:9", seconds=60)
        assert done.returncode == 78
        assert f"sandbox.require names {missing[0]}" in done.stdout + done.stderr
    finally:
        directories.remove()


# --- line 18

SPEAK = r"""
import hashlib, hmac, json
from IPython import get_ipython
kernel = get_ipython().kernel
send = kernel.publisher._socket.send_multipart
key = kernel.session.key
def message(kind="stream", content=None, parent=None, **changes):
    header = {"msg_id": "1", "msg_type": kind, "username": "", "session": "s", "date": "", "version": "5.3"}
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (
        {**header, **changes}, parent or {}, {}, content or {"name": "stdout", "text": "HOSTILE"})]
    return [b"topic", b"<IDS|MSG>", hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest().encode(), *parts]
"""
DEEP = "b'{\"a\":' * 200000 + b'1' + b'}' * 200000"
HOSTILE = {
    "no message": "send([b''])",
    "not one part of it": "send([b'<IDS|MSG>'])",
    "noise": "import os\nfor size in (1, 10, 1000, 100000): send([os.urandom(size) for _ in range(7)])",
    "unsigned": "m = message(); m[2] = b''; send(m)",
    "signed with another key": "m = message(); m[2] = b'0' * 64; send(m)",
    "signed, then changed": "m = message(); m[6] = m[6].replace(b'HOSTILE', b'HOSTILF'); send(m)",
    "nested 200 000 deep": f"send(message(content={DEEP}))",
    "lists nested 200 000 deep": "send(message(content=b'{\"a\":' + b'[' * 200000 + b']' * 200000 + b'}'))",
    "twelve megabytes": "send(message(content={'name': 'stdout', 'text': 'x' * 12_000_000}))",
    "a header of ten megabytes": "send(message(msg_id='x' * 10_000_000))",
    "100 000 parts": "send([b'x'] * 100_000)",
    "a type for kernels": "send(message('shutdown_request', {'restart': True}))",
    "a question to the visitor": "send(message('input_request', {'prompt': 'password', 'password': True}))",
    "a list instead of an object": "send(message(content=b'[]'))",
    "not UTF-8": 'send(message(content=b\'{"name": "\\xff\\xfe"}\'))',
    "NaN": "send(message(content=b'{\"name\": NaN}'))",
    "a surrogate": 'send(message(content=b\'{"name": "stdout", "text": "\\\\ud800"}\'))',
    "a number of 5 000 digits": "send(message(content=b'{\"x\": ' + b'9' * 5000 + b'}'))",
    "numbers of infinite size": "send(message(content=b'{\"x\": 1e999}'))",
    "text after the object": "send(message(content=b'{}{}'))",
    "a script in a type": "send(message('</script><script>alert(1)</script>'))",
    "a death that is none": "send(message('status', {'execution_state': 'dead', 'reason': 'stopped', 'message': 'x'}))",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.attack(18, "parsed once, by signature, shape and type", "a hostile message of a kernel")
def test_a_hostile_message_hurts_its_own_kernel_only(scene, kind):
    web = scene.appliance.pid_of("web")
    scene.attacker.run(f"{SPEAK}\n{HOSTILE[kind]}")
    assert scene.sibling.run("1 + 1").result == "2"
    assert scene.attacker.run("print(6 * 7)").stdout == "42\n"
    assert scene.appliance.pid_of("web") == web
    # the control: the same way to send does reach the page when the message is one
    genuine = "content={'name': 'stdout', 'text': 'GENUINE'}, parent=kernel.get_parent()['header']"
    assert "GENUINE" in scene.attacker.run(f"{SPEAK}\nsend(message({genuine}))").stdout


@pytest.mark.attack(18, "frames go to the clients of their own kernel", "speak in another session's name")
def test_a_message_with_another_sessions_ids_stays_with_its_sender(scene):
    running = scene.sibling.start("import time; time.sleep(1); print('mine')")
    scene.attacker.run(
        f"{SPEAK}\nsend(message(parent={{'msg_id': {running!r}, 'session': {scene.sibling.kernel_id!r}}},"
        f" session={scene.sibling.kernel_id!r}))"
    )
    assert scene.sibling.finish(running).stdout == "mine\n"


@pytest.mark.attack(18, "bounded reads per turn, high-water marks", "a million messages as fast as they go")
def test_a_million_messages_leave_the_web_role_to_others(scene):
    flood = f"{SPEAK}\nm = message(); m[2] = b'x' * 64\nfor _ in range(10**6): send(m)"
    scene.sibling.run("1")
    quiet = _times(scene.sibling, 2)
    running = scene.attacker.start(flood)
    loud = _times(scene.sibling, 4)
    assert _p95(loud) < max(10 * _p95(quiet), 0.25), (_p95(quiet), _p95(loud))
    scene.attacker.send("interrupt_request", {}, channel="control")
    scene.attacker.finish(running)


#: Two gigabytes in one message, which the sender has once only.
WITHOUT_END = """
import gc, zmq
published = next(s for s in gc.get_objects() if isinstance(s, zmq.Socket) and s.type in (zmq.PUB, zmq.XPUB))
part = zmq.Frame(bytes(8 << 20))
published.send({topic!r}, zmq.SNDMORE)
for _ in range(256): published.send(part, zmq.SNDMORE, copy=False)
import time; time.sleep(2)
published.send(b"end")
"""


@pytest.mark.parametrize("role", ["web", "pool"])
@pytest.mark.attack(18, "bytes are counted before libzmq takes them", "a message without an end")
def test_a_message_without_an_end_fills_no_memory_of_ours(scene, role):
    process = psutil.Process(scene.appliance.pid_of(role))
    before, most = process.memory_info().rss, 0
    topic = f"kernel.{scene.attacker.kernel_id}.status" if role == "pool" else "stream"
    scene.attacker.start(f"{SPEAK}\n{WITHOUT_END.format(topic=topic.encode())}")
    end = time.monotonic() + 4 * SLOWNESS
    while time.monotonic() < end:
        most = max(most, process.memory_info().rss)
        time.sleep(0.02)
    assert most - before < 100_000_000
    assert scene.appliance.pid_of(role) == process.pid
    assert scene.sibling.run("1 + 1").result == "2"


def _times(client: SageClient, seconds: float) -> list[float]:
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        assert client.run("1+1").result == "2"
        times.append(time.monotonic() - started)
        time.sleep(0.02)
    return times


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]
