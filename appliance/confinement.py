"""What this host can confine, found out by doing it: each probe forks a child that tries the real system call.

Nothing is guessed from a version or a file, except where a layer has no harmless trial; the detail says so. Used by
``cellctl doctor`` and before ``cellctl serve`` starts anything. No Twisted: probes fork.
"""

from __future__ import annotations

import enum
import errno
import os
import pathlib
import platform
import pwd
import re
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NoReturn

import attrs
import psutil

from appliance import data_sets
from appliance.errors import ConfigError
from appliance.zygote import cgroup, linux
from appliance.zygote import landlock as landlock_rules
from appliance.zygote.keeper import SECCOMP_FILE
from appliance.zygote.launcher import subordinate_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.config import Config

#: A probe that has not ended by then counts as failed.
PROBE_SECONDS = 5.0

#: Largest text a probe's child sends back.
MAX_ANSWER_BYTES = 4096

#: Oldest kernel with all that kernels rely on: RLIMIT_NPROC counted in each user namespace.
MINIMUM_LINUX = (5, 14)

#: Memory of one zygote with the default preload, and of one idle kernel beside it, as measured.
ZYGOTE_BYTES = 200 << 20
IDLE_KERNEL_BYTES = 12 << 20


class State(enum.Enum):
    """Whether a layer confines: in force, possible but not in force, or impossible on this host."""

    ON = "on"
    OFF = "off"
    UNAVAILABLE = "unavailable"


@attrs.frozen
class Layer:
    """One layer of confinement, why it is as it is, and what to do about it."""

    name: str
    state: State
    detail: str
    advice: str = ""
    required: bool = False

    @property
    def in_force(self) -> bool:
        """Whether the layer confines kernels."""
        return self.state is State.ON

    @property
    def missing(self) -> bool:
        """Whether kernels cannot be confined as designed for lack of this layer."""
        return self.required and not self.in_force


def _answer(pipe: int, text: str) -> NoReturn:
    os.write(pipe, text.encode(errors="replace")[:MAX_ANSWER_BYTES])
    os._exit(0)


def attempt(action: Callable[[], str | None], write_map: Callable[[int], None] | None = None) -> tuple[bool, str]:
    """Run ``action`` in a forked child and return whether it succeeded, and its text or its error.

    With ``write_map`` the child is first moved into a new user namespace, whose id map ``write_map(pid)`` writes, and
    becomes root there.
    """
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(from_child)
            os.close(to_child)
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            if write_map is not None:
                linux.unshare(linux.CLONE_NEWUSER)
                os.write(to_parent, b"?")
                if os.read(from_parent, 1) != b"g":
                    os._exit(0)
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            _answer(to_parent, "+" + (action() or ""))
        except BaseException as exc:  # noqa: BLE001 - a child must never return into the caller
            reason = exc.strerror or str(exc) if isinstance(exc, OSError) else f"{type(exc).__name__}: {exc}"
            _answer(to_parent, f"-{reason}")
    os.close(to_parent)
    os.close(from_parent)
    try:
        text = _read(from_child)
        if write_map is not None and text == "?":
            write_map(pid)
            os.write(to_child, b"g")
            text = _read(from_child)
    except ConfigError as exc:
        text = f"-{exc.message}"
    except subprocess.CalledProcessError as exc:
        text = f"-{exc.cmd[0]}: {exc.stderr.strip()}"
    except OSError as exc:
        text = f"-the id map cannot be written: {exc.strerror}"
    finally:
        os.close(from_child)
        os.close(to_child)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return text.startswith("+"), text[1:]


def _read(pipe: int) -> str:
    readable, _, _ = select.select([pipe], [], [], PROBE_SECONDS)
    if not readable:
        return f"-no answer within {PROBE_SECONDS:g} s"
    return os.read(pipe, MAX_ANSWER_BYTES).decode() or "-the probe died"


def map_writer(config: Config) -> Callable[[int], None]:
    """Return what writes the id map of a kernel's user namespace, as the launcher does: by root, or by newuidmap(1)."""
    count = config.ids.count
    if os.geteuid() == 0:

        def as_root(pid: int) -> None:
            for kind in ("uid", "gid"):
                pathlib.Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {config.ids.base} {count}\n", encoding="ascii")

        return as_root

    def as_user(pid: int) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
            program = shutil.which(f"new{kind}map")
            if program is None:
                raise ConfigError(f"new{kind}map is not installed")
            first, number = subordinate_range(f"/etc/sub{kind}", user, os.getuid(), count - 1)
            command = [program, str(pid), "0", str(own), "1", "1", str(first), str(number)]
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed program

    return as_user


def _layer(name: str, result: tuple[bool, str], detail: str, advice: str, *, required: bool = True) -> Layer:
    works, text = result
    if works:
        return Layer(name, State.ON, text or detail, required=required)
    return Layer(name, State.UNAVAILABLE, text, advice, required=required)


def kernel_version() -> Layer:
    """Compare the running Linux with `MINIMUM_LINUX`."""
    release = platform.release()
    match = re.match(r"(\d+)\.(\d+)", release)
    new_enough = match is not None and (int(match[1]), int(match[2])) >= MINIMUM_LINUX
    wanted = ".".join(map(str, MINIMUM_LINUX))
    if new_enough:
        return Layer("linux", State.ON, f"{release} (at least {wanted})", required=True)
    return Layer("linux", State.UNAVAILABLE, release, f"use Linux {wanted} or later", required=True)


def id_map_programs() -> Layer:
    """Look for newuidmap and newgidmap, which an ordinary user needs."""
    name = "newuidmap"
    if os.geteuid() == 0:
        return Layer(name, State.ON, "not needed: root writes the id map itself")
    missing = [program for program in ("newuidmap", "newgidmap") if shutil.which(program) is None]
    if missing:
        advice = "install the package uidmap (Debian) or shadow-utils (Fedora)"
        return Layer(name, State.UNAVAILABLE, f"not installed: {', '.join(missing)}", advice, required=True)
    return Layer(name, State.ON, "newuidmap and newgidmap are installed", required=True)


def namespaces(config: Config) -> list[Layer]:
    """Enter a user namespace with the range of ids, then each other namespace in it."""
    write_map = map_writer(config)
    last = config.ids.count - 1

    def become_last() -> str:
        os.setgroups([])
        os.setresgid(last, last, last)
        os.setresuid(last, last, last)
        return f"{config.ids.count} ids; the last one can be taken"

    result = attempt(become_last, write_map)
    advice = (
        "allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns"
    )
    if not result[0] and os.geteuid() != 0:
        advice = "give this user subordinate ids in /etc/subuid and /etc/subgid (the detail says how), and " + advice
    layers = [_layer("user namespace and uid pool", result, "", advice)]
    if not result[0]:
        return layers
    for name, flag in (
        ("pid namespace", linux.CLONE_NEWPID),
        ("mount namespace", linux.CLONE_NEWNS),
        ("network namespace", linux.CLONE_NEWNET),
        ("ipc namespace", linux.CLONE_NEWIPC),
        ("uts namespace", linux.CLONE_NEWUTS),
        ("cgroup namespace", linux.CLONE_NEWCGROUP),
    ):

        def enter(flag: int = flag) -> None:
            linux.unshare(flag)

        layers.append(_layer(name, attempt(enter, write_map), "entered", "check /proc/sys/user/max_*_namespaces"))
    return [*layers, *file_systems(write_map)]


def file_systems(write_map: Callable[[int], None]) -> list[Layer]:
    """Mount a sized tmpfs and an overlay in a user namespace, and see that the size holds."""

    def tmpfs(flags: int = 0) -> str:
        linux.unshare(linux.CLONE_NEWNS | flags)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("probe", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=65536,nr_inodes=64")  # noqa: S108
        try:
            pathlib.Path("/tmp/too-large").write_bytes(bytes(1 << 17))  # noqa: S108 - of this namespace
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                return "mounted; its size is enforced"
            raise
        raise OSError(errno.EINVAL, "more was written than its size allows")

    def overlay() -> str:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("probe", "/tmp", "tmpfs")  # noqa: S108
        for part in ("lower", "nothing", "merged"):
            os.mkdir(f"/tmp/{part}")  # noqa: S108
        options = "lowerdir=/tmp/lower:/tmp/nothing"
        linux.mount("probe", "/tmp/merged", "overlay", linux.MS_RDONLY, options)  # noqa: S108
        return "mounted: no kernel can lock what another can open"

    locks = "until then two kernels that work together can pass bits by locks on the files of the system"
    return [
        _layer("tmpfs in a user namespace", attempt(tmpfs, write_map), "", "use Linux with tmpfs"),
        _layer("overlayfs", attempt(overlay, write_map), "", f"load the module overlay; {locks}", required=False),
    ]


def no_new_privileges() -> Layer:
    """Set no_new_privs in a child."""

    def enter() -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)

    return _layer("no_new_privs", attempt(enter), "set", "use Linux 3.5 or later")


def seccomp(file: pathlib.Path = SECCOMP_FILE) -> Layer:
    """Load the kernels' system call filter in a child."""
    try:
        program = file.read_bytes()
    except OSError as exc:
        advice = "./dev compiles it in a checkout; the package brings it"
        return Layer("seccomp", State.OFF, f"{file}: {exc.strerror}", advice, required=True)

    def enter() -> str:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.load_seccomp(program)
        return f"the filter of {len(program) // 8} instructions was loaded"

    return _layer("seccomp", attempt(enter), "", f"use Linux with CONFIG_SECCOMP_FILTER; {file} must be a BPF program")


def cgroups(mountinfo: pathlib.Path = pathlib.Path("/proc/self/mountinfo")) -> Layer:
    """See whether memory, pids and cpu of cgroup v2 are delegated to the units of the appliance, or to this process."""
    name = "cgroup v2"
    kinds = {}
    for line in mountinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        kinds[left.split()[4]] = right.split()[0]
    fallback = "until then setrlimit bounds a kernel's memory and processes, and nothing bounds its share of cpu"
    boot = f"boot with systemd.unified_cgroup_hierarchy=1; {fallback}"
    if kinds.get("/sys/fs/cgroup") != "cgroup2":
        if "cgroup2" in kinds.values():
            detail = "this host runs the hybrid hierarchy: memory, pids and cpu belong to cgroup v1"
        elif "cgroup" in kinds.values():
            detail = "this host runs cgroup v1"
        else:
            detail = "no cgroup hierarchy is mounted"
        return Layer(name, State.UNAVAILABLE, detail, boot)
    controllers = ", ".join(cgroup.CONTROLLERS)
    if units := cgroup.of_units():
        return Layer(name, State.ON, f"{', '.join(units)}: in use, with {controllers}")
    try:
        path = cgroup.find()
    except cgroup.NotDelegated as exc:
        return Layer(name, State.OFF, str(exc), f"start by systemd with Delegate=yes; {fallback}")
    except OSError as exc:
        return Layer(name, State.UNAVAILABLE, str(exc), boot)
    return Layer(name, State.ON, f"{path} is delegated with {controllers}")


def selinux(mount_point: pathlib.Path = pathlib.Path("/sys/fs/selinux")) -> Layer:
    """Ask SELinux whether it enforces and knows the domain of kernels."""
    name = "SELinux"
    try:
        enforcing = (mount_point / "enforce").read_text(encoding="ascii").strip() == "1"
    except OSError:
        advice = "nothing needed; a host that enforces SELinux adds one more fence"
        return Layer(name, State.UNAVAILABLE, "this host does not run SELinux", advice)
    try:
        with open(mount_point / "context", "r+b", buffering=0) as file:
            file.write(b"system_u:system_r:cell_kernel_t:s0\0")
        known = True
    except OSError:
        known = False
    if not known:
        return Layer(name, State.OFF, "the policy module cell_appliance is not loaded", "install its package")
    if not enforcing:
        return Layer(name, State.OFF, "permissive: violations are only logged", "setenforce 1")
    return Layer(name, State.ON, "enforcing, with the domain of kernels loaded")


def landlock() -> Layer:
    """Try the fence that kernels get, on a child of this process."""

    def confine() -> str:
        version = landlock_rules.version()
        if not version:
            raise OSError("this kernel has no Landlock, or it is switched off")
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        landlock_rules.restrict(version, ("/tmp",), "/dev", "/proc")  # noqa: S108 - nothing is written
        return f"version {version}: a second fence around the file system"

    advice = "nothing needed; Linux with Landlock (lsm=...,landlock) adds one more fence"
    return _layer("Landlock", attempt(confine), "", advice, required=False)


def memory(config: Config) -> Layer:
    """Compare the available memory with what the zygotes and the ready kernels take."""
    available = psutil.virtual_memory().available
    ready = sum(config.ready.values())
    wanted = len(config.environment) * ZYGOTE_BYTES + ready * IDLE_KERNEL_BYTES
    profile = max(item.memory_bytes for item in config.profile.values())
    detail = (
        f"{available / 2**30:.1f} GiB available; zygotes and {ready} ready kernels take about "
        f"{wanted / 2**30:.1f} GiB; {config.pool.max_kernels} kernels may use {profile / 2**30:g} GiB each"
    )
    if available < wanted:
        return Layer("memory", State.OFF, detail, "lower pool.ready, preload less, or add memory", required=True)
    return Layer("memory", State.ON, detail, required=True)


def data(config: Config) -> list[Layer]:
    """Return whether the data sets of profiles can be shown, if there are some."""
    directories = sorted(set(config.data_directories.values()))
    if not directories:
        return []
    try:
        data_sets.check(config)
    except ConfigError as exc:
        advice = "mend that, then: cellctl restart --hard zygote, which ends the cells that run"
        return [Layer("data sets", State.OFF, exc.message, advice, required=True)]
    return [Layer("data sets", State.ON, f"{', '.join(directories)}: read-only at /data", required=True)]


def probe(config: Config) -> list[Layer]:
    """Try every layer and return what was found, in the order of the kernels' set-up."""
    return [
        kernel_version(),
        id_map_programs(),
        *namespaces(config),
        no_new_privileges(),
        seccomp(),
        cgroups(),
        selinux(),
        landlock(),
        memory(config),
        *data(config),
    ]
