"""Pid 1 of a kernel that is a program of its own, in whatever language: any Jupyter kernelspec, confined like the rest.

The fork of a zygote comes here after it has dropped everything (`appliance.zygote.sandbox`). It writes a connection
file, starts the program as its child and stays as init: it reaps orphans, passes an interrupt on, and ends as the
program ends. Such a program opens its five sockets itself, so it gets paths in its own /tmp (``ipc://``: for ``tcp://``
libzmq asks the system for its network interfaces over a netlink socket, which the system call filter refuses), and the
bytes of each connection to the pool's listeners are copied to and fro: ZeroMQ's protocol runs from end to end. Only
iopub is looked into, see `appliance.kernel.iopub_bridge`. Files that its visitor brings are written here
(`appliance.kernel.file_intake`), with its account and below all that confines it.

The listeners are served only after the kernel has answered a kernel_info_request on shell and was heard to become idle
on iopub; then, too, the pool is told that it is ready.

Visitor's code has the same account as this process but cannot touch it: it is not dumpable, which closes its memory and
its descriptors to ptrace(2) and /proc alike. Standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import signal
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from appliance.kernel import file_intake, network, relay
from appliance.kernel.file_news import FileNews
from appliance.kernel.iopub_bridge import IopubBridge, StatusSource
from appliance.kernel.jupyter_message import Requests, is_idle, parent_of
from appliance.kernel.session_files import SessionFiles
from appliance.zygote import linux
from appliance.zygote.sandbox import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: In the order in which the pool passes its listeners; behind them comes the one for files.
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")

#: Seconds between attempts to connect to a kernel that is starting.
CONNECT_SECONDS = 0.02

#: Seconds after which a kernel that replied but was not heard on iopub is asked again: the subscription was late.
ASK_AGAIN_SECONDS = 0.1

#: Seconds in which, after the kernel has ended, what it said last is still delivered.
LAST_WORDS_SECONDS = 0.5

#: Largest message of the kernel that is read here: replies about itself and statuses are far smaller.
MAX_MESSAGE_BYTES = 1 << 20

#: Bytes kept of what a kernel prints while it starts: the reason, if it fails.
MAX_COMPLAINT_BYTES = 1000

#: A shell's way to say in an exit status which signal ended a program.
SIGNAL_STATUS = 128

#: Ignored by a zygote, and by what it would start.
_IGNORED = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


@dataclass(frozen=True)
class Program:
    """What a kernelspec says: ``{connection_file}`` in ``argv`` stands for that file."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    interrupt_mode: str

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> Program:
        """Return the program in a decoded JSON object; raise `ValueError` when it is none."""
        argv, environment, mode = document["argv"], document["environment"], document["interrupt_mode"]
        if not (isinstance(argv, list) and argv and isinstance(environment, dict) and mode in ("signal", "message")):
            raise ValueError("a program needs argv, environment and interrupt_mode")
        return cls(tuple(map(str, argv)), {str(key): str(value) for key, value in environment.items()}, str(mode))


def socket_path(directory: str, channel: str) -> str:
    """Return where a kernel makes a socket that is told `connection_document` (Jupyter client: ``{ip}-{port}``)."""
    return f"{directory}/socket-{CHANNELS.index(channel) + 1}"


def connection_document(directory: str, key: str) -> dict[str, object]:
    """Return what the connection file says (Jupyter client, "Connection files")."""
    ports = {f"{name}_port": number for number, name in enumerate(CHANNELS, 1)}
    return {
        "transport": "ipc",
        "ip": f"{directory}/socket",
        **ports,
        "signature_scheme": "hmac-sha256",
        "key": key,
        "kernel_name": "",
    }


def exit_status(wait_status: int) -> int:
    """Return the exit status that tells how a program ended: a process that is pid 1 cannot end by a signal itself."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else SIGNAL_STATUS - code


class ExecTemplate:
    """What a zygote forks for a kernelspec; has the interface of `appliance.kernel.template.Template`."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._program = Program.parse(document)

    def run(self, listeners: list[int], birth: socket.socket, *, egress: bool = False) -> NoReturn:
        """Be the kernel's init in this fork.

        ``listeners``: bound and listening Unix sockets in the order of `CHANNELS`, and the one for files.
        ``birth``: gives ``{"kernel_id", "key"}`` and is told ``{"ready": true}`` or what failed.
        ``egress``: there is a proxy.
        """
        letter = json.loads(birth.recv(4096))
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        bridge = Bridge(self._program, listeners, birth, letter["kernel_id"], bytes.fromhex(letter["key"]))
        if egress:
            bridge.open_way_out()
        bridge.run()


class Bridge:
    """The kernel's process, its connections, and what the pool is told."""

    def __init__(
        self, program: Program, listeners: list[int], birth: socket.socket, kernel_id: str, key: bytes
    ) -> None:
        self._program = program
        self._environment = dict(program.environment)
        self._birth: socket.socket | None = birth
        self._requests = Requests(key)
        self._key = key.decode("ascii")
        self._directory = f"/tmp/kernel-{kernel_id}"  # noqa: S108 - the kernel's own
        self._file = f"{self._directory}/kernel-{kernel_id}.json"
        *channels, self._files = (socket.socket(fileno=fd) for fd in listeners)
        self._listeners = dict(zip(CHANNELS, channels, strict=True))
        self._session_files = SessionFiles(HOME)
        self._ledger = file_intake.Ledger(HOME, key, self._session_files.note)
        self._bringing: set[relay.Stream] = set()
        self._loop = relay.Loop()
        self._complaint: deque[int] = deque(maxlen=MAX_COMPLAINT_BYTES)
        self._ended: int | None = None
        self._asked = ""
        self._replied = False
        self._shell: relay.Peer | None = None
        self._control: relay.Peer | None = None
        self._status = StatusSource(self._loop, kernel_id, self._iopub_heard, self._ask)
        news = FileNews(self._requests, self._session_files.display)
        self._iopub = IopubBridge(self._loop, self._status, self._address("iopub"), news)
        self._streams: set[relay.Stream] = set()

    def open_way_out(self) -> None:
        """Join every connection to the customary port of proxies with the profile's proxy (T9). Raises `OSError`."""
        listener = network.listen()
        listener.setblocking(False)
        self._loop.watch(
            listener.fileno(), selectors.EVENT_READ, lambda _: self._accept_joined(listener, network.PROXY)
        )
        self._environment |= network.proxy_variables()

    def run(self) -> NoReturn:
        """Start the kernel and serve until it ends."""
        self._watch_signals()
        self._child = self._start()
        self._loop.later(CONNECT_SECONDS, self._connect)
        while self._ended is None:
            self._loop.turn()
        self._deliver_last_words()
        os._exit(exit_status(self._ended))

    # -- the program -------------------------------------------------------------------------------------------------

    def _start(self) -> int:
        """Write the connection file and start the program in a session of its own; return its pid."""
        os.mkdir(self._directory, 0o700)
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            json.dump(connection_document(self._directory, self._key), file)
        argv = [argument.replace("{connection_file}", self._file) for argument in self._program.argv]
        output_read, output_write = os.pipe()
        null = os.open(os.devnull, os.O_WRONLY)
        pid = os.fork()
        if pid == 0:
            _become(argv, self._environment, output_write)
        # Nothing that a visitor could open by way of this process leads to the appliance's log.
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        os.close(output_write)
        os.set_blocking(output_read, False)
        self._loop.watch(output_read, selectors.EVENT_READ, lambda _: self._read_output(output_read))
        return pid

    def _read_output(self, fd: int) -> None:
        """Throw away what the program prints past Jupyter, but for the last of it while it starts."""
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(fd, relay.CHUNK_BYTES)
        if not data:
            self._loop.watch(fd, 0, lambda _: None)
        elif self._birth is not None:
            self._complaint.extend(data)

    def _watch_signals(self) -> None:
        wake_read, wake_write = os.pipe()
        for fd in (wake_read, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._loop.watch(wake_read, selectors.EVENT_READ, lambda _: self._signalled(os.read(wake_read, 4096)))

    def _signalled(self, numbers: bytes) -> None:
        if signal.SIGINT in numbers:
            self._interrupt()
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._child:
                    self._ended = found[1]

    def _interrupt(self) -> None:
        """Interrupt as the kernelspec wants it (Jupyter messaging, "Kernel interrupt")."""
        if self._program.interrupt_mode == "signal":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGINT)
            return
        if self._control is None or not self._control.stream.open:
            self._control = self._peer("control", "DEALER", lambda _: None)
        if self._control is not None:
            self._control.send(self._requests.message("interrupt_request", {})[1])

    def _deliver_last_words(self) -> None:
        """Say why a kernel did not start; deliver what an ended one had sent."""
        self._tell({"failed": "kernel", "error": self._obituary()})
        over: list[bool] = []
        self._loop.later(LAST_WORDS_SECONDS, lambda: over.append(True))
        while not over and any(stream.open for stream in (*self._streams, *self._iopub.streams)):
            self._loop.turn()

    def _obituary(self) -> str:
        printed = bytes(self._complaint).decode("utf-8", "replace").strip()
        said = f"; it said: {printed}" if printed else ""
        return f"the program {self._program.argv[0]} ended with status {exit_status(self._ended or 0)}{said}"

    # -- the first answer ----------------------------------------------------------------------------------------------

    def _address(self, channel: str) -> str:
        return socket_path(self._directory, channel)

    def _peer(self, channel: str, socket_type: str, received: Callable[[list[bytes]], None]) -> relay.Peer | None:
        try:
            stream = relay.connect(self._loop, self._address(channel))
        except OSError:
            return None
        return relay.Peer(stream, socket_type, MAX_MESSAGE_BYTES, received, lambda: None)

    def _connect(self) -> None:
        """Connect to the kernel as soon as it listens: iopub first, so that its subscription is there early."""
        if self._status.peer is None or not self._status.peer.stream.open:
            self._status.connect(self._address("iopub"))
        if self._shell is None or not self._shell.stream.open:
            self._shell = self._peer("shell", "DEALER", self._shell_heard)
        peers = (self._status.peer, self._shell)
        if all(peer is not None and peer.established for peer in peers):
            self._ask()
            self._loop.later(ASK_AGAIN_SECONDS, self._ask_again)
        else:
            self._loop.later(CONNECT_SECONDS, self._connect)

    def _ask(self) -> None:
        if self._shell is not None:
            self._replied = False
            self._asked, parts = self._requests.message("kernel_info_request", {})
            self._shell.send(parts)

    def _ask_again(self) -> None:
        """Ask once more when the reply came but not the idle; a kernel that does not reply is asked only once."""
        if self._birth is None:
            return
        if self._replied:
            self._ask()
        self._loop.later(ASK_AGAIN_SECONDS, self._ask_again)

    def _shell_heard(self, parts: list[bytes]) -> None:
        if parent_of(parts) != self._asked:
            return
        self._replied = True
        if self._birth is None:
            self._status.replied()

    def _iopub_heard(self, parts: list[bytes]) -> None:
        """Take the kernel for warm when it was heard to become idle after the request of ours."""
        if self._birth is not None and parent_of(parts) == self._asked and is_idle(parts):
            self._status.learn(parts[0])
            self._become_ready()

    def _become_ready(self) -> None:
        # What the kernel itself has left is not its visitor's.
        self._session_files.changed()
        # The kernel has read it; nobody else need.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file)
        for channel, listener in self._listeners.items():
            listener.setblocking(False)
            self._loop.watch(listener.fileno(), selectors.EVENT_READ, functools.partial(self._accept, channel))
        self._files.setblocking(False)
        self._loop.watch(self._files.fileno(), selectors.EVENT_READ, lambda _: self._accept_file())
        self._tell({"ready": True})

    def _tell(self, message: dict[str, object]) -> None:
        if self._birth is not None:
            with contextlib.suppress(OSError):
                self._birth.send(json.dumps(message).encode())
            self._birth.close()
            self._birth = None

    # -- connections -------------------------------------------------------------------------------------------------

    def _accept(self, channel: str, _events: int) -> None:
        """Take a connection and join it with one to the kernel."""
        listener = self._listeners[channel]
        if channel != "iopub":
            self._accept_joined(listener, self._address(channel))
        elif (stream := relay.accept(self._loop, listener)) is not None:
            self._iopub.accepted(stream)

    def _accept_joined(self, listener: socket.socket, path: str) -> None:
        """Take a connection and join it with one to the Unix socket ``path``."""
        stream = relay.accept(self._loop, listener)
        if stream is None:
            return
        try:
            other = relay.connect(self._loop, path)
        except OSError:
            stream.close()
            return
        relay.join(stream, other)
        self._streams = {known for known in self._streams if known.open} | {stream}

    def _accept_file(self) -> None:
        """Take a connection over which a file comes or goes; what a silent one has begun goes with the kernel."""
        self._bringing = {known for known in self._bringing if known.open}
        stream = relay.accept(self._loop, self._files)
        if stream is None:
            return
        if len(self._bringing) >= file_intake.MAX_AT_ONCE:
            stream.close()
            return
        self._bringing.add(stream)
        intake = file_intake.Intake(self._ledger)

        def send() -> None:
            try:
                while stream.open and not stream.backlog and (piece := intake.piece()):
                    stream.write(piece)
            except OSError:
                stream.close()
                intake.close()

        def received(data: bytes) -> None:
            answer = intake.take(data)
            if answer is not None:
                stream.write(answer)
            send()

        stream.received, stream.drained, stream.closed = received, send, intake.close


def _become(argv: list[str], environment: Mapping[str, str], output: int) -> NoReturn:
    """Become the program, in the child only."""
    try:
        signal.set_wakeup_fd(-1)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        linux.close_all_but([])
        os.chdir(HOME)
        os.execve(argv[0], argv, dict(environment))  # noqa: S606 - no shell
    except OSError as exc:
        os.write(2, f"{argv[0]} cannot be started: {exc}".encode())
    finally:
        os._exit(127)
