"""A kernel's domain with no other layer around it: the policy alone stops what all the layers are there to stop.

A zygote's domain is where kernels come from, so the program that tries is started by systemd with a label that leads
there. It keeps the host's namespaces, has no filter and takes whatever account owns what it wants: what is refused, is
refused by the policy. Each attempt is made once more outside the policy, where it must succeed.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.escape.scene import end_kernel, kernel_process
from tests.integration.sage_client import SageClient

from .test_selinux import context

if TYPE_CHECKING:
    from tests.integration.installed import Installed

#: Opened from outside, where the kernel's own mount namespace is no hindrance.
HELD = "fd = os.open('SCRATCH', os.O_PATH)"
PROGRAM = pathlib.Path(__file__).with_name("bare.py")
UNIT = "bare-kernel.service"

MOUNT = "assert libc.mount(b'x', b'/mnt', b'tmpfs', 2, None) == 0 and libc.umount(b'/mnt') == 0"

#: name: the file whose owner tries it, what is done as root before, and what is tried. Words in capitals are filled in.
ATTEMPTS = {
    "read the database": ("DATABASE", "", "open('DATABASE', 'rb').read(1)"),
    "write the database": ("DATABASE", "", "open('DATABASE', 'r+b')"),
    "list the directory of the database": ("DATABASE", "", "os.listdir(os.path.dirname('DATABASE'))"),
    "read the configuration": ("/", "", "open('/etc/cell-appliance/appliance.toml').read(1)"),
    "read the passwords": ("/etc/shadow", "", "open('/etc/shadow').read(1)"),
    "talk to the pool": ("POOL", "", "socket.socket(socket.AF_UNIX).connect('POOL')"),
    "talk to the permalinks": ("PERMALINK", "", "socket.socket(socket.AF_UNIX).connect('PERMALINK')"),
    "connect to the web role": ("SCRATCH", "", "socket.create_connection(('127.0.0.1', 8888), 10)"),
    "connect to ssh": ("SCRATCH", "", "socket.create_connection(('127.0.0.1', 22), 10)"),
    "bind a port": ("SCRATCH", "", "socket.socket().bind(('127.0.0.1', 5432))"),
    "make a datagram socket": ("SCRATCH", "", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "make a netlink socket": ("SCRATCH", "", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    "write to a control group": ("/", "", "open('CGROUP/cgroup.procs', 'w')"),
    "mount": ("/", "", MOUNT),
    "read the memory of another kernel": ("/", "", "open('/proc/PID/mem', 'rb')"),
    "look at another kernel": ("SCRATCH", "", "open('/proc/PID/status').read()"),
    "signal another kernel": ("SCRATCH", "", "os.kill(PID, 18)"),
    "list the files of another kernel": ("SCRATCH", HELD, "os.listdir(os.open('.', os.O_RDONLY, dir_fd=fd))"),
    "read a file of another kernel": ("SCRATCH", HELD, "os.read(os.open('x', os.O_RDONLY, dir_fd=fd), 1)"),
    "make a file among those of another kernel": ("SCRATCH", HELD, "os.mkdir('y' + str(os.getpid()), dir_fd=fd)"),
}
#: What a kernel may do to itself, so that nothing but the categories is what refuses it.
OWN = ("look at", "signal", "list the files", "read a file", "make a file")


class Attempts:
    """What became of each attempt: by a kernel, by the very kernel that it is made on, and outside the policy."""

    def __init__(self, appliance: Installed, kernels: list[SageClient]) -> None:
        target, other = (kernel_process(appliance, client) for client in kernels)
        (leaf,) = pathlib.Path(f"/proc/{target.pid}/cgroup").read_text(encoding="ascii").split("::")[1:]
        self._words = {
            "DATABASE": str(appliance.config.database_path),
            "POOL": str(appliance.config.pool_socket),
            "PERMALINK": str(appliance.config.permalink_socket),
            "SCRATCH": f"/proc/{target.pid}/root/home/visitor",
            "PID": str(target.pid),
            "CGROUP": f"/sys/fs/cgroup{leaf.strip()}",
        }
        self.kernel = self._by_domain(context(other.pid))
        self.itself = self._by_domain(context(target.pid))
        done = subprocess.run([sys.executable, PROGRAM, self._document("")], capture_output=True, text=True, check=True)
        self.free = dict(zip(ATTEMPTS, json.loads(done.stdout), strict=True))

    def _document(self, label: str) -> str:
        attempts = []
        for owner, before, code in ATTEMPTS.values():
            owner, before, code = (self._filled(text) for text in (owner, before, code))
            attempts.append({"context": label, "uid": os.stat(owner).st_uid, "before": before, "code": code})
        return json.dumps(attempts)

    def _filled(self, text: str) -> str:
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def _by_domain(self, label: str) -> dict[str, str]:
        """Make all attempts as a process that systemd started in the domain of zygotes and that became ``label``."""
        command = ["systemd-run", "--quiet", "--wait", "--collect", f"--unit={UNIT}", PROGRAM, self._document(label)]
        subprocess.run(command, check=True, capture_output=True)
        journal = ["journalctl", "--boot", f"--unit={UNIT}", "--output=cat", "--no-pager", "--quiet"]
        lines = subprocess.run(journal, check=True, capture_output=True, text=True).stdout.splitlines()
        (*_, last) = (line for line in lines if line.startswith("["))
        return dict(zip(ATTEMPTS, json.loads(last), strict=True))


@pytest.fixture(scope="module")
def made(appliance):
    """Label the program so that systemd starts it in the domain of zygotes, and make all attempts."""
    subprocess.run(["chcon", "--type=cell_zygote_exec_t", PROGRAM], check=True)
    PROGRAM.chmod(0o755)
    kernels = [SageClient(appliance.url) for _ in range(2)]
    kernels[0].run("open('x', 'w').write('of a visitor')")
    yield Attempts(appliance, kernels)
    for client in kernels:
        end_kernel(appliance, client)


@pytest.mark.attack(41, "the policy alone", "everything that all layers together refuse")
@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_policy_alone_refuses(made, name):
    assert made.free[name] == "done"
    assert made.kernel[name] == ("AssertionError" if name == "mount" else "PermissionError")


@pytest.mark.parametrize("name", [name for name in ATTEMPTS if name.startswith(OWN)])
def test_a_kernel_may_do_it_to_itself(made, name):
    assert made.itself[name] == "done"
