"""The zygote: import the libraries once, then only fork (trust line T4 towards the pool, T5 towards kernels).

Single-threaded, standard library plus what the environment holds. It connects to the pool's SEQPACKET socket, tells
which kernels already run, and then answers one JSON datagram at a time; descriptors travel beside them (unix(7),
SCM_RIGHTS). The pool is believed about slot numbers and limits only after both are range-checked.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import NoReturn, Protocol

from appliance.zygote import cgroup, landlock, linux, memory_watch, priority, sandbox

#: Slots are uids inside the namespace; below are the zygote's own and what /etc/passwd names.
FIRST_SLOT = 1000

#: Largest datagram either side sends.
MAX_DATAGRAM_BYTES = 8192

#: Descriptors in a fork request: the listeners shell, iopub, stdin, control and hb, the birth socket, and the listener
#: for files.
FORK_DESCRIPTORS = 7
#: Where in them the birth socket is.
BIRTH = 5

#: Seconds between attempts to reach a pool that is not there.
CONNECT_INTERVAL = 0.05

#: Pause after the pool has closed the connection: another zygote may have taken this one's place.
RECONNECT_SECONDS = 0.25

#: Seconds between words to the keeper, who kills a zygote that says nothing for `keeper.SILENCE_SECONDS`.
BEAT_SECONDS = 2

#: Seconds between looks at the environment on disk and at what orphans left; a change must rest for as long before it
#: counts.
LOOK_SECONDS = 10

#: Pause before kernels are placed in the background, or taken out of it, that could not be at once.
PLACE_SECONDS = 0.1

#: Seconds a pool may leave a datagram unread before the zygote drops the connection and starts over.
SEND_SECONDS = 5.0


@dataclass(frozen=True)
class Specification:
    """What the launcher says about this environment.

    ``program``: what kernels execute, or None when they are this interpreter's. ``layers``: name to why it is missing,
    empty when it is there.
    """

    environment: str
    preload: list[str]
    warm_up: list[str]
    program: dict[str, object] | None
    layers: dict[str, str]
    #: A seccomp program as hexadecimal digits, see `sandbox.Confinement`.
    without_cgroup: str
    #: Parts of the staged root, see `staging.stage`.
    parts: list[str]
    max_forks: int
    ids: int


@dataclass(frozen=True)
class Descriptors:
    """Inherited descriptors: the pool's socket directory, the ready pipe, the seccomp program, the keeper's lineage."""

    socket_directory: int
    ready: int
    seccomp: int
    lineage: int


class Becoming(Protocol):
    """What a fork becomes when it has dropped everything."""

    def run(self, listeners: list[int], birth: socket.socket, *, egress: bool) -> None:
        """Be a kernel on the five listeners and that for files until killed. ``egress``: there is a proxy."""


class PoolGone(Exception):
    """The connection to the pool ended."""


class TookOver(Exception):
    """This process was the spare: the connection to the pool was that of the process it took over from."""


def run(specification: Specification, descriptors: Descriptors) -> NoReturn:
    """Preload, then serve pools until told to end."""
    zygote = Zygote(specification, descriptors)
    zygote.preload()
    os.write(descriptors.ready, b"r")
    zygote.keep_spare()
    while True:
        try:
            zygote.connect()
            zygote.serve()
        except TookOver:
            pass
        except (PoolGone, ConnectionError, TimeoutError):
            time.sleep(RECONNECT_SECONDS)
        zygote.disconnect()


class Zygote:
    """One preloaded interpreter and its children."""

    def __init__(self, specification: Specification, descriptors: Descriptors) -> None:
        self._specification = specification
        self._descriptors = descriptors
        self._pool: socket.socket | None = None
        self._slots: dict[int, int] = {}  # pid -> slot of the kernels this zygote forked
        self._forks = 0
        self._spare = 0
        self._loaded = self._last_seen = environment_stamp()
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._tell_at = 0.0
        self._unplaced: dict[int, bool] = {}
        self._alive_write = -1
        self._memory = memory_watch.MemoryWatch(FIRST_SLOT)
        self._look_at_memory_at = 0.0
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        program = b""
        while chunk := os.read(descriptors.seccomp, 65536):
            program += chunk
        os.close(descriptors.seccomp)
        without_cgroup = bytes.fromhex(specification.without_cgroup)
        here = sandbox.seccomp_filters()
        self._confinement = sandbox.Confinement(
            seccomp_program=program,
            without_cgroup=without_cgroup,
            filters=here + (2 if without_cgroup else 1) if here >= 0 else here,
            last_capability=linux.last_capability(),
            cgroup=None if specification.layers["cgroup"] else cgroup.Subtree(),
            overlays=() if specification.layers["overlay"] else tuple(specification.parts),
            first_slot=FIRST_SLOT,
            landlock=0 if specification.layers["landlock"] else landlock.version(),
            selinux=not specification.layers["selinux"],
        )

    def preload(self) -> None:
        """Import the environment's libraries and build the kernel that every fork becomes."""
        started = time.monotonic()
        self._template = self._build()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._watch_children()
        self._end_half_made_kernels()
        # Everything alive now is shared by all forks: keep the collector from touching (and so copying) it.
        gc.collect()
        gc.freeze()
        self._say(f"ready to fork after {time.monotonic() - started:.1f} s")

    def _build(self) -> Becoming:
        if self._specification.program is not None:
            from appliance.kernel import exec_bridge

            return exec_bridge.ExecTemplate(self._specification.program)
        from appliance.kernel import template

        return template.build(self._specification.preload, self._specification.warm_up)

    def keep_spare(self) -> bool:
        """Fork a spare that takes over when this process has died; in the spare, return True, and only then.

        The spare waits for the end of a pipe whose other end this process alone holds open.
        """
        took_over = False
        while True:
            alive_read, alive_write = os.pipe()
            self._spare = os.fork()
            if self._spare:
                os.close(alive_read)
                self._alive_write = alive_write
                return took_over
            os.close(alive_write)
            if self._alive_write >= 0:
                os.close(self._alive_write)
                self._alive_write = -1
            self.disconnect()
            while not select.select([alive_read], [], [])[0]:
                continue
            # Before anything that may take long: the keeper soon starts another.
            self.tell_keeper()
            os.close(alive_read)
            self._slots.clear()
            self._watch_children()
            self._end_half_made_kernels()
            self._say("the spare took over")
            took_over = True

    @property
    def _spent(self) -> bool:
        """Whether it has forked as often as it may."""
        return self._forks >= self._specification.max_forks

    def tell_keeper(self) -> None:
        """Say that this is the zygote, and that it lives."""
        os.write(self._descriptors.lineage, os.getpid().to_bytes(4, "little"))

    def _watch_children(self) -> None:
        """Have the end of a child wake the poll in `serve`."""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def connect(self) -> None:
        """Wait for the pool's socket, connect, and tell which kernels run.

        Raises `ConnectionError`, and `TimeoutError` when the pool does not read: it would wait for the rest for ever.
        """
        if self._spent:
            self._retire()
        while True:
            self.tell_keeper()
            pool = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                pool.connect(f"/proc/self/fd/{self._descriptors.socket_directory}/zygote.sock")
                break
            except OSError:
                pool.close()
                self._reap()
                self._look_at_memory(time.monotonic())
                time.sleep(CONNECT_INTERVAL)
        pool.settimeout(SEND_SECONDS)
        self._pool = pool
        self._send({"hello": self._specification.environment, "layers": self._specification.layers})
        for pid, slot in running_kernels():
            with contextlib.suppress(ProcessLookupError):
                self._send_with_pidfd({"alive": slot}, pid)
        self._send({"inventory": "end"})

    def disconnect(self) -> None:
        """Forget the pool; kernels go on."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def serve(self) -> None:
        """Answer the pool until it goes away. Raises `PoolGone` or `ConnectionError`."""
        assert self._pool is not None  # noqa: S101 - connect() comes first
        poller = select.poll()
        poller.register(self._pool, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _ in poller.poll(self._patience() * 1000):
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                    self._reap()
                else:
                    self._answer(self._pool)
            self._place()
            now = time.monotonic()
            self._look_at_memory(now)
            if now >= self._tell_at:
                self._tell_at = now + BEAT_SECONDS
                self.tell_keeper()
            if now >= self._look_at:
                self._look_at = now + LOOK_SECONDS
                self._look_at_environment()
                self._sweep()

    def _patience(self) -> float:
        """Return after how many seconds there is something to do though nobody says anything."""
        if self._unplaced:
            return PLACE_SECONDS
        return BEAT_SECONDS if self._confinement.cgroup is not None else memory_watch.LOOK_SECONDS

    def _look_at_memory(self, now: float) -> None:
        """End kernels that have more memory than they may, where no cgroup does."""
        if self._confinement.cgroup is None and now >= self._look_at_memory_at:
            self._look_at_memory_at = now + memory_watch.LOOK_SECONDS
            for slot in self._memory.end_excessive():
                self._say(f"the kernel in slot {slot} had more memory than it may")

    def _sweep(self) -> None:
        """Remove what kernels leave that are orphans of an earlier zygote and the keeper's children."""
        if self._confinement.cgroup is not None:
            self._confinement.cgroup.sweep(set(self._slots.values()))

    def _look_at_environment(self) -> None:
        """End this zygote when the environment on disk is another than the one it has loaded, and has come to rest."""
        seen, self._last_seen = self._last_seen, environment_stamp()
        if self._last_seen != self._loaded and self._last_seen == seen:
            self._say("the environment has changed on disk")
            self._retire()

    def _retire(self) -> NoReturn:
        """End, so that the keeper starts another zygote from nothing; kernels live on."""
        # The spare has loaded the same libraries and shares the address layout.
        os.kill(self._spare, signal.SIGKILL)
        os._exit(0)

    def _answer(self, pool: socket.socket) -> None:
        data, fds, _, _ = socket.recv_fds(pool, MAX_DATAGRAM_BYTES, FORK_DESCRIPTORS)
        if not data:
            raise PoolGone
        try:
            request = json.loads(data)
            if "fork" in request:
                self._fork(request, fds)
            elif "signal" in request:
                self._signal(request, fds)
            elif "background" in request:
                self._set_background(request)
            elif request.get("retire"):
                self._say("retiring")
                self._retire()
            else:
                self._say(f"unknown request {sorted(request)}")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            self._say(f"malformed request: {exc}")
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self, request: dict[str, object], fds: list[int]) -> None:
        slot = self._slot(request["fork"])
        if self._spent:
            # the pool learns of it by the answer to the last request, and asks the next zygote
            return
        try:
            limits = sandbox.Limits.parse(request["profile"])
            access = sandbox.Access(_profile_name(request, "egress"), _profile_name(request, "data"))
            if len(fds) != FORK_DESCRIPTORS:
                raise ValueError(f"expected {FORK_DESCRIPTORS} descriptors, received {len(fds)}")
            linux.unshare(linux.CLONE_NEWPID)
            pid = os.fork()
        except (OSError, ValueError) as exc:
            # Out of the new namespace, if there is one: from within it no other can be made.
            linux.setns(self._pid_namespace, linux.CLONE_NEWPID)
            self._send({"failed": slot, "step": "fork", "error": str(exc)})
            return
        if pid == 0:
            self._become_kernel(slot, limits, fds, access)
        linux.setns(self._pid_namespace, linux.CLONE_NEWPID)
        self._slots[pid] = slot
        self._forks += 1
        self._send_with_pidfd({"forked": slot, "last": self._spent}, pid)

    def _become_kernel(self, slot: int, limits: sandbox.Limits, fds: list[int], access: sandbox.Access) -> NoReturn:
        """Drop everything and run the kernel loop; in the child only."""
        status = 1
        birth = socket.socket(fileno=fds[BIRTH])
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                sandbox.enter(slot, limits, self._confinement, fds, access)
            except sandbox.SetupFailed as exc:
                birth.send(json.dumps({"failed": exc.step, "error": exc.error}).encode())
                os._exit(1)
            self._template.run([*fds[:BIRTH], *fds[BIRTH + 1 :]], birth, egress=bool(access.egress))
            status = 0
        except BaseException as exc:  # noqa: BLE001 - nothing may return into the zygote's loop
            with contextlib.suppress(OSError):
                birth.send(json.dumps({"failed": "kernel", "error": repr(exc)}).encode())
        finally:
            os._exit(status)

    def _signal(self, request: dict[str, object], fds: list[int]) -> None:
        number = request["signal"]
        if type(number) is not int or number not in (signal.SIGINT, signal.SIGKILL) or len(fds) != 1:
            raise ValueError("signal: expected SIGINT or SIGKILL and one pidfd")
        slot = self._slot(request["slot"])
        if number == signal.SIGKILL and self._confinement.cgroup is not None:
            self._confinement.cgroup.kill(slot)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fds[0], number)

    def _set_background(self, request: dict[str, object]) -> None:
        slot, on = self._slot(request["background"]), request["on"]
        if type(on) is not bool:
            raise ValueError(f"on must be true or false, found {on!r}")
        self._unplaced[slot] = on

    def _place(self) -> None:
        """Do what was asked about kernels that give way to others."""
        self._unplaced = {
            slot: on
            for slot, on in self._unplaced.items()
            if not priority.set_background(slot, self._confinement.cgroup, background=on)
        }

    def _slot(self, value: object) -> int:
        if type(value) is not int or not FIRST_SLOT <= value < self._specification.ids:
            raise ValueError(f"slot must be from {FIRST_SLOT} to {self._specification.ids - 1}, found {value!r}")
        return value

    def _reap(self) -> None:
        """Collect children that ended and tell the pool."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self._spare and self.keep_spare():
                    raise TookOver
                slot = self._slots.pop(pid, None)
                if slot is None:
                    continue
                subtree = self._confinement.cgroup
                oom = subtree.remove(slot) if subtree is not None else self._memory.ended(slot)
                if self._pool is not None:
                    self._send({"exited": slot, "status": status, "oom": oom})

    def _end_half_made_kernels(self) -> None:
        """Kill children of an earlier zygote that had not yet dropped their account: nobody waits for them."""
        for pid, slot in running_kernels(any_account=True):
            if slot < FIRST_SLOT:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _send(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        assert self._pool is not None  # noqa: S101
        socket.send_fds(self._pool, [json.dumps(message).encode()], fds or [])

    def _send_with_pidfd(self, message: dict[str, object], pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        try:
            self._send(message, [pidfd])
        finally:
            os.close(pidfd)

    def _say(self, text: str) -> None:
        print(f"zygote {self._specification.environment}: {text}", file=sys.__stderr__, flush=True)


def _profile_name(request: dict[str, object], key: str) -> str:
    """Return a value if it is the name of a profile, or empty: it becomes part of a path. Raises `ValueError`."""
    value = request.get(key, "")
    if not isinstance(value, str) or not re.fullmatch(r"([a-z0-9][a-z0-9-]{0,31})?", value):
        raise ValueError(f"{key}: expected the name of a profile, found {value!r}")
    return value


def environment_stamp() -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a package is installed, upgraded or removed: each module folder's inode and time."""
    stamp = []
    for path in sys.path:
        if path:
            with contextlib.suppress(OSError):
                status = os.stat(path)
                stamp.append((path, status.st_ino, status.st_mtime_ns))
    return tuple(stamp)


def running_kernels(*, any_account: bool = False) -> list[tuple[int, int]]:
    """Return (pid, slot) of each kernel below this pid namespace: pid 1 of a nested one, its uid being the slot."""
    kernels = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/status", encoding="utf-8", errors="replace") as file:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            continue
        pids = fields["NSpid"].split()
        uid = int(fields["Uid"].split()[0])
        if len(pids) == 2 and pids[1] == "1" and (any_account or uid >= FIRST_SLOT):
            kernels.append((int(pids[0]), uid))
    return kernels
