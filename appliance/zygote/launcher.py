"""Start one environment: enter a user namespace with a range of ids, stage the root, hold the keeper.

``python -m appliance.zygote.launcher --config FILE --environment NAME``, by systemd or ``cellctl serve``.

Started by root, it stages the root first and has a short-lived helper write the id map ``0 -> ids.base`` of
``ids.count`` ids. Started by an ordinary user, the map is ``0 -> that user`` and ``1.. -> its subordinate ids``, and
newuidmap(1) writes it. From then on nothing here is root in the host's user namespace. The keeper, pid 1 of a new pid
namespace, is this process's only child: when it dies Linux ends everything below it, so nothing can be left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from appliance import config as configuration
from appliance import data_sets
from appliance.errors import ApplianceError, ConfigError
from appliance.zygote import cgroup, keeper, kernelspec, landlock, linux, sandbox, selinux, staging

if TYPE_CHECKING:
    from collections.abc import Callable

#: sysexits(3): what systemd and cellctl show as a configuration fault.
EX_CONFIG = 78
EX_OSERR = 71

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWNET


def subordinate_range(file: str, user: str, uid: int, count: int) -> tuple[int, int]:
    """Return (first id, number of ids) of the first range in ``file`` for ``user`` with at least ``count`` ids.

    Raises `ConfigError` saying what is missing. Source: subuid(5).
    """
    try:
        with open(file, encoding="utf-8") as lines:
            entries = [line.strip().split(":") for line in lines if line.count(":") == 2]
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read ({exc.strerror}); it must give {user} {count} ids") from exc
    for name, first, number in entries:
        if name in (user, str(uid)) and int(number) >= count:
            return int(first), count
    raise ConfigError(
        f"{file} gives {user} no range of {count} ids; as root: usermod --add-subuids 100000-{100000 + count - 1} "
        f"--add-subgids 100000-{100000 + count - 1} {user}"
    )


def _write_map_as_root(pid: int, base: int, count: int) -> None:
    for kind in ("uid", "gid"):
        with open(f"/proc/{pid}/{kind}_map", "w", encoding="ascii") as file:
            file.write(f"0 {base} {count}\n")


def _write_map_as_user(pid: int, count: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    user = pwd.getpwuid(uid).pw_name
    for kind, own in (("uid", uid), ("gid", gid)):
        program = shutil.which(f"new{kind}map")
        if program is None:
            raise ConfigError(f"new{kind}map is not installed (package uidmap on Debian, shadow-utils on Fedora)")
        first, number = subordinate_range(f"/etc/sub{kind}", user, uid, count - 1)
        command = [program, str(pid), "0", str(own), "1", "1", str(first), str(number)]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed program


def _enter_user_namespace(write_map: Callable[[int], None]) -> None:
    """Unshare the user namespace while a helper, still outside, writes the map; become id 0 in it."""
    parent = os.getpid()
    go_read, go_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(go_write)
            if os.read(go_read, 1) == b"g":
                write_map(parent)
                status = 0
        except ApplianceError as exc:
            print(f"launcher: {exc.message}", file=sys.stderr, flush=True)
            status = EX_CONFIG
        except subprocess.CalledProcessError as exc:
            print(f"launcher: {exc.cmd[0]} failed: {exc.stderr.strip()}", file=sys.stderr, flush=True)
        except OSError as exc:
            print(f"launcher: the id map cannot be written: {exc}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(go_read)
    linux.unshare(linux.CLONE_NEWUSER)
    os.write(go_write, b"g")
    os.close(go_write)
    _, status = os.waitpid(helper, 0)
    if status != 0:
        sys.exit(os.waitstatus_to_exitcode(status))
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.setgroups([])


def _find_cgroup(owner: int) -> tuple[str | None, str]:
    """Enter a cgroup namespace; return the delegated subtree, made ready, or None and the reason.

    The namespace begins at the subtree and not at the leaf into which this process then moves: where the hierarchy is
    mounted with ``nsdelegate``, as systemd does, nobody may move a process out of the tree below the namespace's root.
    """
    path, reason = None, ""
    try:
        path = cgroup.find()
    except (cgroup.NotDelegated, OSError) as exc:
        reason = str(exc)
    linux.unshare(linux.CLONE_NEWCGROUP)
    if path is not None:
        try:
            cgroup.prepare(path, owner)
        except OSError as exc:
            return None, f"the delegated cgroup cannot be prepared: {exc}"
    return path, reason


class ServiceManager:
    """The service manager that started this process, if there is one (sd_notify(3)).

    Must be made before the keeper: pivot_root(2) moves the root of every process in the mount namespace, and with it
    goes the path of the notification socket.
    """

    def __init__(self, address: str) -> None:
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)

    def tell(self, state: str) -> None:
        """Send ``state``; a service manager that is gone is told nothing."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(state.encode())


def _check_required(config: configuration.Config, layers: dict[str, str]) -> None:
    """Raise `ConfigError` when a layer is missing that ``sandbox.require`` names."""
    for name in config.sandbox.require:
        if layers[name]:
            raise ConfigError(f"sandbox.require names {name}, which this host does not offer: {layers[name]}")


def _try_overlay(root: str) -> str:
    """Return why a kernel could not have overlays over what is staged on ``root``, empty if it could."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        reason = ""
        try:
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount("scratch", f"{root}{sandbox.SCRATCH}", "tmpfs")
            sandbox.overlay_root(("/",), 0, staged=root)
        except OSError as exc:
            reason = str(exc)
        finally:
            os.write(write, reason.encode())
            os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as file:
        reason = file.read()
    os.waitpid(pid, 0)
    return reason


def _hold(keeper_pid: int, ready_fd: int, service_manager: ServiceManager) -> int:
    """Wait for the keeper; end it on SIGTERM or SIGINT; tell the service manager when a zygote is ready."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(handled, lambda *_: None)
    waiting = [wake_read, ready_fd]
    while True:
        # in every turn: it may have ended before its end would wake anybody
        pid, status = os.waitpid(keeper_pid, os.WNOHANG)
        if pid == keeper_pid:
            print(f"launcher: the keeper ended with status {status}", file=sys.stderr, flush=True)
            return 1
        readable, _, _ = select.select(waiting, [], [])
        if ready_fd in readable:
            # the end of the pipe is that of the keeper
            if os.read(ready_fd, 1):
                service_manager.tell("READY=1\nSTATUS=zygote ready")
            waiting.remove(ready_fd)
        if wake_read in readable:
            for number in os.read(wake_read, 64):
                if number in (signal.SIGTERM, signal.SIGINT):
                    service_manager.tell("STOPPING=1")
                    os.kill(keeper_pid, signal.SIGKILL)
                    os.waitpid(keeper_pid, 0)
                    return 0


def launch(config: configuration.Config, name: str) -> int:
    """Run the environment ``name`` until it is told to stop; return the exit status.

    Raises `ConfigError` for a wrong configuration and `OSError` for a set-up step that failed.
    """
    if name not in config.environment:
        raise ConfigError(f"environment {name!r} is not configured; known: {', '.join(config.environment)}")
    environment = config.environment[name]
    # Kernels' accounts must be able to read what is staged.
    os.umask(0o022)
    program = kernelspec.find_apart(name, environment) if environment.kernelspec else None
    # A zygote that only starts programs needs no library: the system's own interpreter does.
    python = os.path.realpath(sys.executable) if program else str(configuration.environment_python(name, environment))
    trees = program.trees if program else ()
    with open(keeper.SECCOMP_FILE, "rb") as file:
        seccomp_program = file.read()
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = os.getppid()
    service_manager = ServiceManager(os.environ.get("NOTIFY_SOCKET", ""))
    socket_directory = os.open(config.zygote_socket.parent, os.O_PATH | os.O_DIRECTORY)
    ready_read, ready_write = os.pipe()
    root = str(config.zygote_socket.parent)
    egress = str(config.egress_path) if config.egress_profiles else ""
    data_sets.check(config)
    data = config.data_directories

    if os.geteuid() == 0:
        cgroup_path, cgroup_reason = _find_cgroup(config.ids.base)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        parts = staging.stage(root, python, recursive=False, egress=egress, trees=trees, data=data)
        overlay_reason = ""
        try:
            staging.stage_overlays(root, parts, config.kernel_slots, config.ids.base)
        except OSError as exc:
            overlay_reason = str(exc)
        _enter_user_namespace(lambda pid: _write_map_as_root(pid, config.ids.base, config.ids.count))
        # before there is a process namespace, which ends with its first process
        overlay_reason = overlay_reason or _try_overlay(root)
        linux.unshare(_NAMESPACES)
    else:
        cgroup_path, cgroup_reason = None, "started by an ordinary user outside a delegated unit"
        _enter_user_namespace(lambda pid: _write_map_as_user(pid, config.ids.count))
        linux.unshare(_NAMESPACES | linux.CLONE_NEWCGROUP)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        parts = staging.stage(root, python, recursive=True, egress=egress, trees=trees, data=data)
        overlay_reason = "started by an ordinary user, who cannot make devices"
    layers = {
        "cgroup": cgroup_reason,
        "overlay": overlay_reason,
        "landlock": "" if landlock.version() else "this kernel has no Landlock, or it is switched off",
        "selinux": selinux.unavailable(),
    }
    _check_required(config, layers)
    # A change of credentials clears the death signal; a parent that died meanwhile must not leave us behind.
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return EX_OSERR
    for layer, reason in layers.items():
        if reason:
            print(f"launcher: without {layer}: {reason}", file=sys.stderr, flush=True)

    spec = json.dumps(
        {
            "environment": name,
            "preload": [] if program else list(environment.preload),
            "warm_up": [] if program else list(environment.warm_up),
            "program": program.document() if program else None,
            "layers": layers,
            "without_cgroup": keeper.WITHOUT_CGROUP_FILE.read_bytes().hex() if cgroup_reason else "",
            "parts": parts,
            "max_forks": config.pool.zygote_max_forks,
            "ids": config.ids.count,
        }
    )
    pid = os.fork()
    if pid == 0:
        keeper.run(
            keeper.Inheritance(
                root=root,
                python=staging.staged_interpreter(python),
                spec=spec,
                variables=environment.variables,
                seccomp_program=seccomp_program,
                cgroup_path=cgroup_path,
                socket_directory=socket_directory,
                ready=ready_write,
            )
        )
    os.close(ready_write)
    return _hold(pid, ready_read, service_manager)


def main() -> None:
    """Parse the command line and launch."""
    parser = argparse.ArgumentParser(prog="appliance.zygote.launcher", description="Start one environment's zygote.")
    parser.add_argument("--config", required=True, help="configuration file")
    parser.add_argument("--environment", required=True, help="name of the environment")
    arguments = parser.parse_args()
    try:
        status = launch(configuration.load(arguments.config), arguments.environment)
    except ConfigError as exc:
        print(f"launcher: {exc.message}", file=sys.stderr)
        status = EX_CONFIG
    except OSError as exc:
        print(f"launcher: {exc}; cellctl doctor tells what this host can confine", file=sys.stderr)
        status = EX_OSERR
    sys.exit(status)


if __name__ == "__main__":
    main()
