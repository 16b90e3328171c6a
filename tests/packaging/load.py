"""Visitors of an installed appliance: requests at a steady rate, and a cell whose kernel must not be lost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nspawn import Machine

#: Runs in the machine: a thread for each kind of visitor. One line of JSON for each answer: kind, when it was asked,
#: seconds, status (0: none) and what went wrong. Ends with its standard input.
VISITORS = """
import json, sys, threading, time, urllib.error, urllib.request
base, pause = sys.argv[1], float(sys.argv[2])
form = {"Content-Type": "application/x-www-form-urlencoded"}
stop, lock = threading.Event(), threading.Lock()

def ask(kind, path, body, check):
    began, status, why = time.time(), 0, ""
    try:
        request = urllib.request.Request(base + path, data=body, headers=form if body else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read().decode()
        if not check(text):
            why = "wrong answer: " + text[:300]
    except urllib.error.HTTPError as error:
        status, why = error.code, error.read().decode("utf-8", "replace")[:300]
    except Exception as error:
        why = repr(error)
    with lock:
        print(json.dumps([kind, began, time.time() - began, status, why]), flush=True)
    return text if status == 200 else ""

def visit(kind, path, make_body, check):
    number = 0
    # a new link less often: an address may make 120 in a minute
    while not stop.wait(pause * 3 if kind == "link" else pause):
        number += 1
        ask(kind, path, make_body(number), lambda text: check(text, number))

link = json.loads(ask("link", "/permalink", b"code=print(1)", lambda text: True))["query"]
kinds = [
    ("evaluation", "/service", lambda n: b"code=print(%d*7)" % n, lambda text, n: '"%d\\\\n"' % (n * 7) in text),
    ("page", "/", lambda n: None, lambda text, n: "code-cell" in text),
    ("permalink", "/permalink?q=" + link, lambda n: None, lambda text, n: "print(1)" in text),
    ("link", "/permalink", lambda n: b"code=print(%d)" % n, lambda text, n: "query" in text),
]
threads = [threading.Thread(target=visit, args=kind) for kind in kinds]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
"""

#: Runs in the machine with the roles' interpreter: a cell of a page that stays open. Takes a kernel, evaluates each
#: line of its standard input (a string in JSON) and prints the output the same way. As a page does, it connects again
#: when the connection ends, and evaluates again what had not been answered.
CELL = """
import json, select, socket, sys, time, uuid, urllib.request
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage
base = sys.argv[1]
host, port = base.removeprefix("http://").split(":")
with urllib.request.urlopen(urllib.request.Request(base + "/kernel", data=b"timeout=inf"), timeout=30) as answer:
    kernel = json.load(answer)["id"]

class Ended(Exception):
    pass

class Connection:
    def __init__(self):
        self.text, self.ended = "", ""
        self.sock = socket.create_connection((host, int(port)), timeout=30)
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.sock.sendall(self.wire.send(Request(host=host, target=f"/kernel/{kernel}/channels")))
        while not any(isinstance(event, AcceptConnection) for event in self.read()):
            pass

    def read(self):
        if self.ended:
            raise Ended(self.ended)
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Ended(repr(error))
        if not data:
            raise Ended("closed")
        self.wire.receive_data(data)
        events = list(self.wire.events())
        for event in events:
            if isinstance(event, Ping):
                self.sock.sendall(self.wire.send(event.response()))
            elif isinstance(event, RejectConnection):
                if event.status_code == 404:
                    sys.exit("the kernel is gone")
                raise Ended(f"status {event.status_code}")
            elif isinstance(event, CloseConnection):
                # the last words may be in the same packet
                self.ended = f"code {event.code}"
        return events

    def evaluate(self, code):
        head = dict(msg_id=uuid.uuid4().hex, msg_type="execute_request", username="", session=uuid.uuid4().hex)
        content = dict(code=code, silent=False, user_expressions={}, allow_stdin=False)
        message = dict(header=head, parent_header={}, metadata={}, content=content, channel="shell")
        self.sock.sendall(self.wire.send(TextMessage(json.dumps(message))))
        printed, replied, idle = "", False, False
        while not (replied and idle):
            for event in self.read():
                if not isinstance(event, TextMessage):
                    continue
                self.text += event.data
                if not event.message_finished:
                    continue
                received, self.text = json.loads(self.text), ""
                if received["parent_header"].get("msg_id") != head["msg_id"]:
                    continue
                kind = received["header"]["msg_type"]
                if kind == "stream":
                    printed += received["content"]["text"]
                elif kind == "error" or received["content"].get("ename") == "KernelDied":
                    printed += received["content"]["evalue"]
                replied = replied or kind == "execute_reply"
                idle = idle or (kind == "status" and received["content"]["execution_state"] == "idle")
        return printed

connection, reconnected = None, 0
while True:
    try:
        if connection is None:
            connection = Connection()
        ready, _, _ = select.select([connection.sock, sys.stdin], [], [])
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                break
            while True:
                try:
                    connection = connection or Connection()
                    print(json.dumps([connection.evaluate(json.loads(line)), reconnected]), flush=True)
                    break
                except (Ended, OSError):
                    connection, reconnected = None, reconnected + 1
                    time.sleep(0.2)
        else:
            connection.read()
    except (Ended, OSError):
        connection, reconnected = None, reconnected + 1
        time.sleep(0.2)
"""

#: Runs in the machine: evaluates over SockJS without WebSockets, each message and each frame a request of its own, as
#: clients do that a network lets nothing else through for. Prints what the cell prints.
SOCKJS = """
import json, sys, urllib.request, uuid
base = sys.argv[1]

def post(path, body):
    request = urllib.request.Request(base + path, data=body.encode(), headers={"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()

kernel = json.loads(post("/kernel?timeout=0", ""))["id"]
session = f"/sockjs/000/{uuid.uuid4().hex}"
assert post(session + "/xhr", "") == "o\\n"
header = dict(msg_id=uuid.uuid4().hex, msg_type="execute_request", username="", session="s")
content = dict(code="print(6*7)", silent=False, user_expressions={}, allow_stdin=False)
message = dict(header=header, parent_header={}, metadata={}, content=content, channel="shell")
post(session + "/xhr_send", json.dumps([f"{kernel}/channels,{json.dumps(message)}"]))
printed, dead = "", False
while not dead:
    frame = post(session + "/xhr", "")
    for text in json.loads(frame[1:]) if frame[0] == "a" else []:
        received = json.loads(text.partition(",")[2])
        printed += received["content"].get("text", "") if received["msg_type"] == "stream" else ""
        dead = received["content"].get("execution_state") == "dead"
print(printed.strip())
"""

#: Seconds for the last visitor to get an answer.
LEAVE_SECONDS = 120.0

PYTHON = "/usr/lib/cell-appliance/bin/python"


@dataclass
class Answer:
    """What one visitor got."""

    kind: str
    asked: float
    seconds: float
    status: int
    why: str

    @property
    def failed(self) -> bool:
        """Whether the visitor did not get what was asked for."""
        return self.status != 200 or bool(self.why)


class Load:
    """The answers so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answers: list[Answer] = []

    def end(self) -> None:
        """Let everybody leave who has an answer."""
        printed, _ = self._process.communicate("", timeout=LEAVE_SECONDS)
        assert self._process.returncode == 0
        self.answers = [Answer(*json.loads(line)) for line in printed.splitlines()]

    @property
    def failures(self) -> list[Answer]:
        """Answers that were none."""
        return [answer for answer in self.answers if answer.failed]


@contextlib.contextmanager
def visitors(machine: Machine, base: str, pause: float = 0.4) -> Iterator[Load]:
    """Have visitors ask until the block ends; then every answer is there."""
    process = subprocess.Popen(
        [*machine.prefix, "python3", "-c", VISITORS, base, str(pause)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=machine.environment,
    )
    load = Load(process)
    try:
        time.sleep(3 * pause)
        yield load
        time.sleep(3 * pause)
        load.end()
    finally:
        if process.poll() is None:
            process.communicate("", timeout=LEAVE_SECONDS)


class Cell:
    """A cell of a page that stays open."""

    def __init__(self, machine: Machine, base: str) -> None:
        self.reconnected = 0
        self._process = subprocess.Popen(
            [*machine.prefix, PYTHON, "-c", CELL, base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=machine.environment,
        )

    def evaluate(self, code: str) -> str:
        """Return what the code prints in the cell's kernel; fails when the kernel is gone."""
        self.begin(code)
        return self.printed()

    def begin(self, code: str) -> None:
        """Evaluate without waiting; `printed` is what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()

    def printed(self) -> str:
        """Wait for the end of what was begun; return what it printed, or why its kernel died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cell has lost its kernel"
        printed, self.reconnected = json.loads(line)
        return str(printed)

    def close(self) -> None:
        """Leave the page; a signal would end nsenter and not what runs in the machine."""
        self._process.communicate("", timeout=LEAVE_SECONDS)
