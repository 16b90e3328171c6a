"""The one-way drop from a fresh fork of the zygote to a confined kernel (trust line T5).

`enter` is the whole of it: an ordered list of steps. A step that fails ends the process through `SetupFailed`, which
names the step; there is never a weaker kernel. The root is the read-only one that the launcher staged, seen through
overlays of the kernel's own where the host has them; everything a visitor can write is one sized tmpfs that dies with
the mount namespace.
"""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.zygote import cgroup, landlock, linux, selinux

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = "/home/visitor"
HOST_NAME = "cell"
SCRATCH = "/run/scratch"

#: Where the directory with the socket of the egress proxy (T9) is seen; staged with one directory for each profile.
EGRESS = "/run/egress"
#: Where a kernel sees the data sets of its profile, and where those of all profiles are staged, by name.
DATA = "/data"
STAGED_DATA = "/run/data"
#: What overlays lie upon: each part of the staged root, without what is mounted below it, by its number.
LOWER = "/run/lower"
#: A directory of devices for each kernel, by its number.
DEVICES = "/run/devices"
#: An empty directory of the staged root, shown in place of what a kernel may not see.
NOTHING = "/run/nothing"

#: When the whole host runs out of memory, Linux should end a kernel before any role (proc(5)).
OOM_SCORE_ADJUSTMENT = 500

#: What of /proc tells of the host or its kernel and no program needs.
MASKED = (
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
)

#: Where a visitor may make and change files: all of it is the scratch space, but for the terminals.
WRITABLE = (HOME, "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - private ones

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWNET | linux.CLONE_NEWCGROUP


class SetupFailed(Exception):
    """A step of the sandbox failed; ``step`` names it."""

    def __init__(self, step: str, error: BaseException) -> None:
        super().__init__(f"{step}: {error}")
        self.step = step
        self.error = str(error)


@dataclass(frozen=True)
class Limits:
    """What one kernel may use; the fields are those of ``[profile.NAME]`` in the configuration."""

    memory_bytes: int
    processes: int
    cpu_percent: int
    scratch_bytes: int
    scratch_inodes: int
    open_files: int

    @classmethod
    def parse(cls, document: object) -> Limits:
        """Return the limits in a decoded JSON object; raise `ValueError` naming what is wrong."""
        if not isinstance(document, dict) or set(document) != set(cls.__dataclass_fields__):
            raise ValueError("limits: expected exactly the fields " + ", ".join(cls.__dataclass_fields__))
        for name, value in document.items():
            if type(value) is not int or not 0 < value < 1 << 48:
                raise ValueError(f"limits: {name} must be a positive integer, found {value!r}")
        return cls(**document)


@dataclass(frozen=True)
class Confinement:
    """What `enter` needs, prepared once by the zygote so that a fork does no avoidable work."""

    seccomp_program: bytes
    #: A filter that refuses memory which only a cgroup counts; empty where there is one.
    without_cgroup: bytes
    #: How many filters a kernel has in the end, those of the host included; -1 where Linux does not tell.
    filters: int
    last_capability: int
    cgroup: cgroup.Subtree | None
    #: Parts of the staged root that overlays lie upon, and the first of the slots that there are devices for.
    overlays: tuple[str, ...] = ()
    first_slot: int = 0
    landlock: int = 0
    selinux: bool = False


@dataclass(frozen=True)
class Access:
    """What of the world outside a kernel has: the profile whose proxy it may use, that whose data it sees, or none."""

    egress: str = ""
    data: str = ""


def enter(
    uid: int, limits: Limits, confinement: Confinement, keep_fds: list[int], access: Access | None = None
) -> None:
    """Confine this process, pid 1 of a new pid namespace, to the account ``uid``.

    Raises `SetupFailed`; the caller must end the process then.
    """
    for name, step in steps(uid, limits, confinement, keep_fds, access or Access()):
        try:
            step()
        except Exception as exc:
            raise SetupFailed(name, exc) from exc


def steps(
    uid: int, limits: Limits, confinement: Confinement, keep_fds: list[int], access: Access
) -> tuple[tuple[str, Callable[[], None]], ...]:
    """Return what `enter` does, in order: names, and calls that raise when they fail."""
    return (
        ("close inherited descriptors", lambda: _close_descriptors(keep_fds)),
        ("new session", os.setsid),
        ("cgroup", lambda: _setup_cgroup(uid, limits, confinement)),
        ("namespaces", lambda: linux.unshare(_NAMESPACES)),
        ("mounts", lambda: _setup_mounts(uid, limits, confinement, access)),
        ("host name", lambda: socket.sethostname(HOST_NAME)),
        ("loopback", linux.bring_loopback_up),
        ("limits", lambda: _setup_limits(limits, confinement)),
        ("bounding capabilities", lambda: linux.drop_bounding_capabilities(confinement.last_capability)),
        ("account", lambda: _setup_account(uid)),
        ("capabilities", linux.clear_capabilities),
        ("no new privileges", _setup_no_new_privs),
        ("landlock", lambda: _setup_landlock(confinement)),
        ("selinux", lambda: _setup_selinux(uid, confinement)),
        ("memory of no process", lambda: _refuse_uncounted(confinement)),
        ("seccomp", lambda: linux.load_seccomp(confinement.seccomp_program)),
        ("check", lambda: _check_dropped(uid, confinement)),
    )


def _close_descriptors(keep_fds: list[int]) -> None:
    """Keep the kernel's own descriptors, give it an empty standard input; its outputs become pipes of its own later."""
    linux.close_all_but(keep_fds)
    fd = os.open("/dev/null", os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)


def _setup_cgroup(uid: int, limits: Limits, confinement: Confinement) -> None:
    if confinement.cgroup is not None:
        confinement.cgroup.join(
            uid, memory_bytes=limits.memory_bytes, processes=limits.processes, cpu_percent=limits.cpu_percent
        )


def _setup_mounts(uid: int, limits: Limits, confinement: Confinement, access: Access) -> None:
    flags = linux.MS_NOSUID | linux.MS_NODEV
    size = f"size={limits.scratch_bytes},nr_inodes={limits.scratch_inodes},mode=0755"
    if confinement.selinux:
        # in quotes, since categories have a comma between them
        size += f',context="{selinux.scratch_context(uid)}"'
    linux.mount("scratch", SCRATCH, "tmpfs", flags, size)
    root = overlay_root(confinement.overlays, uid - confinement.first_slot) if confinement.overlays else ""
    for name, target, mode in (
        ("home", HOME, 0o700),
        ("tmp", "/tmp", 0o1777),  # noqa: S108 - a private one
        ("var_tmp", "/var/tmp", 0o1777),  # noqa: S108
        ("shm", "/dev/shm", 0o1777),  # noqa: S108
    ):
        path = f"{SCRATCH}/{name}"
        os.mkdir(path)
        os.chmod(path, mode)
        if name == "home":
            os.chown(path, uid, uid)
        linux.mount(path, f"{root}{target}", "", linux.MS_BIND)
    linux.mount(
        "devpts",
        f"{root}/dev/pts",
        "devpts",
        linux.MS_NOSUID | linux.MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620",
    )
    linux.mount("proc", f"{root}/proc", "proc", flags | linux.MS_NOEXEC, "hidepid=2")
    for name in MASKED:
        if os.path.isfile(f"{root}{name}"):
            linux.mount(f"{root}/dev/null", f"{root}{name}", "", linux.MS_BIND)
    if access.egress or os.path.isdir(EGRESS):
        # The directory and not the socket in it, which a restarted proxy makes anew; it covers those of other profiles.
        linux.mount(f"{EGRESS}/{access.egress}" if access.egress else NOTHING, f"{root}{EGRESS}", "", linux.MS_BIND)
    if access.data:
        _show_data(f"{STAGED_DATA}/{access.data}", root)
    if os.path.isdir(STAGED_DATA):
        # not even which profiles have some
        linux.mount(NOTHING, f"{root}{STAGED_DATA}", "", linux.MS_BIND)
    if root:
        linux.pivot_root(root)
    else:
        linux.unmount(SCRATCH)
        if os.path.ismount(cgroup.MOUNT_POINT):
            linux.unmount(cgroup.MOUNT_POINT)
    os.chdir(HOME)


def _show_data(staged: str, root: str) -> None:
    """Show data sets read-only; under overlays with inodes of this kernel's own, as all else. Raises `OSError`."""
    if root:
        flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("overlay", f"{root}{DATA}", "overlay", flags, f"lowerdir={staged}:{SCRATCH}/nothing")
    else:
        linux.mount(staged, DATA, "", linux.MS_BIND | linux.MS_REC)


def overlay_root(parts: tuple[str, ...], number: int, staged: str = "") -> str:
    """Make a root in the scratch space whose inodes no other kernel has; return where it is.

    ``parts``: of the staged root, which is found at ``staged``. ``number``: which devices are this kernel's.
    Raises `OSError`.
    """
    root, nothing = f"{staged}{SCRATCH}/root", f"{staged}{SCRATCH}/nothing"
    os.mkdir(root)
    os.mkdir(nothing)
    for part, path in enumerate(parts):
        # overlayfs wants two layers where nothing is to be written
        layers = f"lowerdir={staged}{LOWER}/{part}:{nothing}"
        linux.mount("overlay", f"{root}{path}", "overlay", linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV, layers)
    devices = f"{staged}{DEVICES}/{number}"
    if not os.path.isdir(devices):
        raise OSError("there are no devices for this kernel: pool.max_kernels was raised since its launcher started")
    linux.mount(devices, f"{root}/dev", "", linux.MS_BIND)
    return root


def _setup_limits(limits: Limits, confinement: Confinement) -> None:
    def set_limit(which: int, value: int) -> None:
        resource.setrlimit(which, (value, value))

    set_limit(resource.RLIMIT_CORE, 0)
    set_limit(resource.RLIMIT_NOFILE, limits.open_files)
    set_limit(resource.RLIMIT_FSIZE, limits.scratch_bytes)
    set_limit(resource.RLIMIT_MEMLOCK, 65536)
    set_limit(resource.RLIMIT_MSGQUEUE, 65536)
    # Counted for each user id within its user namespace since Linux 5.14, so one kernel never takes from another.
    set_limit(resource.RLIMIT_NPROC, limits.processes)
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(OOM_SCORE_ADJUSTMENT))
    if confinement.cgroup is None:
        # Not RLIMIT_AS: numpy reserves far more address space than it uses. What the zygote mapped is there already;
        # in Sage's, GAP alone has reserved as much as a kernel may have.
        set_limit(resource.RLIMIT_DATA, mapped_data_bytes() + limits.memory_bytes)


def mapped_data_bytes() -> int:
    """Return what counts for RLIMIT_DATA of this process now: private writable mappings (proc(5), VmData)."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        (kibibytes,) = (int(line.split()[1]) for line in file if line.startswith("VmData:"))
    return kibibytes << 10


def _setup_account(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # setresuid made the process undumpable, which would hide its own /proc/self from it.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def _setup_no_new_privs() -> None:
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _setup_landlock(confinement: Confinement) -> None:
    if confinement.landlock:
        landlock.restrict(confinement.landlock, WRITABLE, "/dev", "/proc")


def _setup_selinux(uid: int, confinement: Confinement) -> None:
    if confinement.selinux:
        selinux.confine(uid)


def _refuse_uncounted(confinement: Confinement) -> None:
    if confinement.without_cgroup:
        linux.load_seccomp(confinement.without_cgroup)
    elif confinement.cgroup is None:
        raise OSError("nothing counts the kernel's memory")


def _own_status() -> dict[str, str]:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def seccomp_filters() -> int:
    """Return how many filters of system calls this process has, -1 where Linux does not tell (before 5.9)."""
    return _filters(_own_status())


def _filters(status: dict[str, str]) -> int:
    return int(status.get("Seccomp_filters", -1))


def _check_dropped(uid: int, confinement: Confinement) -> None:
    """Read back what this process has become: the last fence before a visitor's code."""
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise OSError("the account was not dropped")
    status = _own_status()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(status[name], 16):
            raise OSError(f"{name} is not empty")
    filtered = status["Seccomp"] == "2" and _filters(status) == confinement.filters
    if not filtered or status["NoNewPrivs"] != "1":
        raise OSError("seccomp or no_new_privs is not in force")
