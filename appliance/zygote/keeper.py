"""The keeper: pid 1 of an environment's pid namespace.

It moves into the staged root, starts zygotes (a new one whenever the last has ended) and reaps orphans: kernels of a
zygote that has ended become its children and live on. A zygote keeps a spare, a fork of itself, that takes over within
milliseconds and announces itself here; only when none does is a zygote started from nothing. A zygote that serves says
so every few seconds in the same way; one that has fallen silent is killed. Of two that say so, as when a spare comes
late on a busy host, one is killed with its spare. The keeper has no other duty, so that it never dies before the rest.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import NoReturn

from appliance.zygote import cgroup, linux, staging

SECCOMP_FILE = pathlib.Path(__file__).with_name("seccomp.bpf")
WITHOUT_CGROUP_FILE = SECCOMP_FILE.with_name("seccomp-without-cgroup.bpf")

#: Seconds between looks at what zygotes say.
LISTEN_SECONDS = 1.0

#: Seconds before a zygote that ended is started again: doubled at each failure, back to the first after a long life.
FIRST_DELAY = 0.05
LAST_DELAY = 5.0
LONG_LIFE = 30.0

#: Seconds in which a spare takes over; after that there was none.
SUCCESSION_SECONDS = 0.25

#: A zygote that has served and then said nothing for so long hangs. Who asks for a kernel waits about as long
#: (pool.lease_wait_seconds), and a new one is there when its spare has taken over.
SILENCE_SECONDS = 10.0

#: Bytes of the tmpfs on /tmp that zygotes use for caches of what they preload.
ZYGOTE_TMP_BYTES = 64 << 20


@dataclass(frozen=True)
class Inheritance:
    """What the launcher hands down: paths of the staged root and in it, JSON for the zygote, and descriptors.

    ``variables``: NAME=VALUE. ``cgroup_path``: the delegated subtree of control groups on the host, None when there is
    none.
    """

    root: str
    python: str
    spec: str
    variables: tuple[str, ...]
    seccomp_program: bytes
    cgroup_path: str | None
    socket_directory: int
    ready: int


def run(inheritance: Inheritance) -> NoReturn:
    """Be pid 1; never return."""
    status = 1
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        _enter_root(inheritance.root, inheritance.cgroup_path)
        _keep(inheritance)
    except OSError as exc:
        print(f"keeper: {exc}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _enter_root(root: str, cgroup_path: str | None) -> None:
    """Make the staged tree the root, with a /proc of this pid namespace and a /tmp for zygotes."""
    flags = linux.MS_NOSUID | linux.MS_NODEV
    # The staged mount came from another mount namespace and is locked; a bind of it is not.
    linux.mount(root, root, "", linux.MS_BIND | linux.MS_REC)
    linux.mount("proc", f"{root}/proc", "proc", flags | linux.MS_NOEXEC)
    linux.mount("tmp", f"{root}/tmp", "tmpfs", flags, f"size={ZYGOTE_TMP_BYTES},mode=0755")  # noqa: S108 - of the new root
    if cgroup_path is not None:
        # Bound here and not by the launcher, for the same reason: a kernel takes it away in its own mount namespace.
        linux.bind(cgroup_path, f"{root}{cgroup.MOUNT_POINT}", read_only=False)
    linux.pivot_root(root)
    linux.bring_loopback_up()
    # Of this user namespace and those below it: where the filter of system calls failed, nobody could make another one
    # and be root in it (user_namespaces(7)).
    with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
        file.write("0")


def _start_zygote(inheritance: Inheritance, lineage: int) -> int:
    """Start a zygote and return its pid; it and its spares write theirs to ``lineage`` (`Zygote.tell_keeper`)."""
    seccomp_read, seccomp_write = os.pipe()
    # A filter is at most 32 KiB (BPF_MAXINSNS instructions of 8 bytes), less than a pipe holds.
    os.write(seccomp_write, inheritance.seccomp_program)
    os.close(seccomp_write)
    keep = {
        "socket_directory": inheritance.socket_directory,
        "ready": inheritance.ready,
        "seccomp": seccomp_read,
        "lineage": lineage,
    }
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            linux.close_all_but(list(keep.values()))
            for fd in keep.values():
                os.set_inheritable(fd, True)
            environment = dict(variable.split("=", 1) for variable in inheritance.variables) | {
                "PATH": f"{os.path.dirname(inheritance.python)}:/usr/local/bin:/usr/bin:/bin",
                "HOME": "/tmp",  # noqa: S108 - of this mount namespace
                "LANG": "C.UTF-8",
                "PYTHONPATH": staging.CODE,
                "PYTHONDONTWRITEBYTECODE": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "MKL_NUM_THREADS": "1",
            }
            arguments = [inheritance.python, "-m", "appliance.zygote", inheritance.spec]
            arguments += [f"{name}={fd}" for name, fd in keep.items()]
            os.execve(inheritance.python, arguments, environment)  # noqa: S606 - no shell
        except OSError as exc:
            print(f"keeper: {inheritance.python} cannot be started: {exc}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    os.close(seccomp_read)
    return pid


def _keep(inheritance: Inheritance) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
    lineage_read, lineage_write = os.pipe()
    delay = FIRST_DELAY
    lineage = Lineage()
    lineage.started(_start_zygote(inheritance, lineage_write))
    started = time.monotonic()
    due: float | None = None
    while True:
        timeout = LISTEN_SECONDS if due is None else max(0.0, due - time.monotonic())
        signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}, timeout)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] != lineage.zygote:
                    continue
                print(f"keeper: the zygote ended ({_describe(ended[1])})", file=sys.stderr, flush=True)
                lineage.ended()
                if not _has_successor(lineage, lineage_read):
                    # one that has ended as it was told has not failed
                    well = ended[1] == 0 or time.monotonic() - started > LONG_LIFE
                    delay = FIRST_DELAY if well else min(delay * 2, LAST_DELAY)
                    due = time.monotonic() + delay
        for pid in _heard(lineage_read, 0):
            lineage.heard(pid, time.monotonic())
        if lineage.zygote:
            due = None
        elif due is not None and time.monotonic() >= due:
            lineage.started(_start_zygote(inheritance, lineage_write))
            started, due = time.monotonic(), None
        lineage.end_silent(time.monotonic())


class Lineage:
    """Which zygote of an environment serves, by what they say of themselves.

    One that was started and the spares that follow it are a process group. Who is not to serve goes with its group: its
    spare would take over from it.
    """

    def __init__(self) -> None:
        #: Who serves or is being started, 0 when there is none.
        self.zygote = 0
        self._group = 0
        self._heard_at: float | None = None

    def started(self, pid: int) -> None:
        """Note that a zygote was started from nothing."""
        self.zygote = self._group = pid
        self._heard_at = None

    def ended(self) -> None:
        """Note that the zygote has ended."""
        self.zygote = 0
        self._heard_at = None

    def heard(self, pid: int, now: float) -> None:
        """Note that ``pid`` says that it is the zygote: a spare does so when the one before it has ended."""
        try:
            group = os.getpgid(pid)
        except ProcessLookupError:
            # what it said was older than its end
            return
        if self.zygote and group != self._group:
            if self._heard_at is not None:
                _kill_group(group, f"the zygote {pid} took over too late")
                return
            # sooner than the one that only starts
            _kill_group(self._group, f"the zygote {self.zygote} is not needed, {pid} took over")
        self.zygote, self._group, self._heard_at = pid, group, now

    def end_silent(self, now: float) -> None:
        """Kill a zygote that has served and then fallen silent; its spare takes over."""
        if self._heard_at is not None and now - self._heard_at > SILENCE_SECONDS:
            print(f"keeper: the zygote {self.zygote} hangs: killed", file=sys.stderr, flush=True)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.zygote, signal.SIGKILL)
            self._heard_at = None


def _has_successor(lineage: Lineage, said: int) -> bool:
    """Wait for a spare to take over from a zygote that has ended; return whether one has."""
    deadline = time.monotonic() + SUCCESSION_SECONDS
    while not lineage.zygote and (left := deadline - time.monotonic()) > 0:
        for pid in _heard(said, left):
            lineage.heard(pid, time.monotonic())
    return bool(lineage.zygote)


def _heard(lineage: int, seconds: float) -> list[int]:
    """Return the pids that have been written, each once, waiting for the first: each is one write of 4 bytes."""
    readable, _, _ = select.select([lineage], [], [], seconds)
    data = os.read(lineage, 4096) if readable else b""
    return list(dict.fromkeys(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)))


def _kill_group(group: int, why: str) -> None:
    print(f"keeper: {why}: killed", file=sys.stderr, flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit status {code}"
