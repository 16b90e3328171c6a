"""What a kernel may leave behind, and what the host holds on behalf of kernels."""

from __future__ import annotations

import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

import psutil

from tests.escape.attempts import PRELUDE
from tests.escape.scene import uid_of
from tests.integration.running import cgroup_leaves
from tests.integration.test_killed_roles import zygote_pid

if TYPE_CHECKING:
    from tests.integration.running import Appliance

#: Files everywhere, shared memory, queues, sockets, and processes that have left their session and ignore signals.
LEAVE = (
    PRELUDE
    + r"""
import atexit, threading
for place in ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~")):
    for name in ("left", ".hidden", "sitecustomize.py", ".bashrc"):
        open(f"{place}/{name}", "w").write("print('left')")
    os.mkfifo(f"{place}/pipe"); os.symlink("/etc/shadow", f"{place}/link")
try: call(29, 77, 4096, 0o1666)
except OSError as exc:
    if exc.errno != 38: raise  # where no cgroup counts it, there is no such memory
call(64, 77, 1, 0o1666); call(68, 77, 0o1666)
listeners = []
for address in ("\0left", "/tmp/left.socket"):
    s = socket.socket(socket.AF_UNIX); s.bind(address); s.listen(); listeners.append(s)
def double_fork():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    for number in range(1, 32):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    time.sleep(3600)
double_fork()
subprocess.Popen(["setsid", "--fork", "nohup", "sleep", "3600"], stdout=-3, stderr=-3)
atexit.register(lambda: os.fork() or time.sleep(3600))
signal.signal(signal.SIGTERM, lambda *_: os.fork() or time.sleep(3600))
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("left")
"""
)


KERNEL_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def lines(path: str) -> list[str]:
    return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


def files_below(directory: pathlib.Path) -> list[str]:
    """Return what lies below a directory, sorted, with ``KERNEL`` for each kernel's id."""
    found = [os.path.join(top, name) for top, *both in os.walk(directory) for names in both for name in names]
    return sorted(KERNEL_ID.sub("KERNEL", os.path.relpath(path, directory)) for path in found)


def remains(appliance: Appliance) -> dict[str, Any]:
    """Return what the host holds on behalf of kernels: everything that a generation could leave."""
    config = appliance.config
    first, last = config.ids.base + 1000, config.ids.base + config.ids.count
    kernels = [process for process in appliance.family() if first <= uid_of(process) < last]

    def owned(path: str, column: int) -> int:
        return sum(1 for line in lines(path)[1:] if first <= int(line.split()[column]) < last)

    name = str(config.runtime_path)
    return {
        "processes of kernels": len(kernels),
        "threads of the zygote and its keeper": sum(
            process.num_threads() for process in appliance.family() if uid_of(process) == config.ids.base
        ),
        "mounts": sum(1 for line in lines("/proc/self/mountinfo") if name in line or "scratch" in line),
        "cgroups": len(cgroup_leaves()),
        "files of the runtime directory": files_below(config.runtime_path),
        "files in /dev/shm and /tmp": sum(
            1
            for top in ("/dev/shm", "/tmp", "/var/tmp")
            for path in os.scandir(top)
            if first <= path.stat(follow_symlinks=False).st_uid < last
        ),
        "System V shared memory": owned("/proc/sysvipc/shm", 7),
        "System V semaphores": owned("/proc/sysvipc/sem", 4),
        "System V messages": owned("/proc/sysvipc/msg", 7),
        "keyrings": sum(1 for line in lines("/proc/key-users") if first <= int(line.split(":")[0]) < last),
        "sockets with a path below the runtime directory": sum(1 for line in lines("/proc/net/unix") if name in line),
        "abstract sockets": sum(1 for line in lines("/proc/net/unix") if "@left" in line),
        "descriptors of the pool": psutil.Process(appliance.pid_of("pool")).num_fds(),
        "descriptors of the web role": psutil.Process(appliance.pid_of("web")).num_fds(),
        "descriptors of the zygote": psutil.Process(zygote_pid(appliance)).num_fds() if os.geteuid() == 0 else 0,
    }
