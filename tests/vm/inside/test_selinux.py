"""Domains and categories of the running appliance, and what keeps two kernels apart."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from tests.escape.scene import end_kernel, kernel_process
from tests.integration.sage_client import SageClient


def context(pid):
    """Return the context of a process."""
    return pathlib.Path(f"/proc/{pid}/attr/current").read_text().rstrip("\0\n")


@pytest.fixture(scope="module")
def two(appliance):
    clients = [SageClient(appliance.url) for _ in range(2)]
    yield clients
    for client in clients:
        end_kernel(appliance, client)


def test_it_enforces():
    assert pathlib.Path("/sys/fs/selinux/enforce").read_text() == "1"
    permissive = subprocess.run(["semodule", "-l"], capture_output=True, text=True, check=True).stdout
    assert "cell_appliance" in permissive
    assert "permissive_cell" not in permissive


@pytest.mark.parametrize(
    ("role", "domain"),
    [
        ("web", "cell_web_t:s0"),
        ("pool", "cell_pool_t:s0"),
        ("permalink", "cell_permalink_t:s0"),
        ("zygote-python", "cell_zygote_t:s0-s0:c0.c1023"),
    ],
)
def test_a_role_has_its_domain(appliance, role, domain):
    assert context(appliance.pid_of(role)) == f"system_u:system_r:{domain}"


def test_kernels_have_pairs_of_their_own(appliance, two):
    contexts = [context(kernel_process(appliance, client).pid) for client in two]
    assert all(one.startswith("system_u:system_r:cell_kernel_t:s0:c") for one in contexts)
    assert all(len(one.rsplit(":", 1)[1].split(",")) == 2 for one in contexts)
    assert contexts[0] != contexts[1]


def test_files_have_the_pair_of_their_kernel(appliance, two):
    for client in two:
        label = context(kernel_process(appliance, client).pid).split(":", 3)[3]
        answer = client.run(
            "import os\nfor place in ('/tmp', '/var/tmp', '/dev/shm', os.getcwd()):\n"
            "    open(f'{place}/x', 'w').close(); os.mkdir(f'{place}/d')\n"
            "    for name in ('', '/x', '/d'):\n"
            "        print(os.getxattr(place + name, 'security.selinux').decode().rstrip('\\0'))"
        )
        assert set(answer.stdout.split()) == {f"system_u:object_r:cell_kernel_scratch_t:{label}"}, answer.reply


def test_ordinary_work_is_not_hindered(two):
    """What cells do all day, with nothing denied: the audit log is looked at afterwards."""
    answer = two[0].run(
        "import ctypes, json, mmap, multiprocessing, os, pexpect, socket, sqlite3, subprocess, tempfile, threading\n"
        "import matplotlib.pyplot as plt, numpy, pandas, scipy.optimize, sympy\n"
        "print(numpy.linalg.inv(numpy.eye(50)).trace())\n"
        "plt.plot([1, 2]); plt.savefig('figure.png'); print(os.path.getsize('figure.png') > 0)\n"
        "print(pandas.DataFrame({'a': [1, 2]})['a'].sum())\n"
        "print(scipy.optimize.brentq(lambda x: x - 1, 0, 3))\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(2))\n"
        "print(subprocess.run(['bash', '-c', 'id -u >/dev/null; df . >/dev/null; ls / | head -1'],"
        " capture_output=True, text=True))\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        "database = sqlite3.connect('x.db'); database.execute('create table t (a)'); database.commit()\n"
        "with tempfile.TemporaryFile() as file: file.write(b'x' * 8192)\n"
        "print(len(mmap.mmap(-1, 4096)))\n"
        "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))\n"
        "print(pexpect.run('echo hi'))\n"
        "os.mkfifo('f'); os.symlink('f', 'l'); os.rename('l', 'k'); os.unlink('k')\n"
        "print(os.statvfs('.').f_blocks > 0)"
    )
    assert answer.reply["status"] == "ok", answer.reply
    assert "3\n" in answer.stdout
    assert "[1, 2]\n" in answer.stdout
    assert "returncode=0" in answer.stdout


SELINUXFS = pathlib.Path("/sys/fs/selinux")


def allows(source, target, kind, permission):
    """Ask the policy that is in force, categories included (what libselinux's compute_av does)."""
    number = int((SELINUXFS / "class" / kind / "index").read_text())
    bit = int((SELINUXFS / "class" / kind / "perms" / permission).read_text())
    with (SELINUXFS / "access").open("r+b", buffering=0) as file:
        file.write(f"{source} {target} {number}".encode())
        allowed = int(file.read(256).split()[0], 16)
    return bool(allowed & 1 << (bit - 1))


#: What a kernel may do to what is its own and may not do to another's, whatever the account.
APART = [
    ("file", "read"),
    ("file", "write"),
    ("file", "unlink"),
    ("dir", "search"),
    ("dir", "add_name"),
    ("sock_file", "write"),
]
PROCESSES = [("process", "sigkill"), ("process", "signal"), ("unix_stream_socket", "connectto"), ("dir", "search")]


@pytest.mark.parametrize(("kind", "permission"), APART)
def test_scratch_of_another_pair_is_closed(appliance, two, kind, permission):
    one, other = (context(kernel_process(appliance, client).pid) for client in two)
    own, foreign = (f"system_u:object_r:cell_kernel_scratch_t:{label.split(':', 3)[3]}" for label in (one, other))
    assert allows(one, own, kind, permission)
    assert not allows(one, foreign, kind, permission)


@pytest.mark.parametrize(("kind", "permission"), PROCESSES)
def test_a_kernel_of_another_pair_is_out_of_reach(appliance, two, kind, permission):
    one, other = (context(kernel_process(appliance, client).pid) for client in two)
    assert allows(one, one, kind, permission)
    assert not allows(one, other, kind, permission)


#: With every other layer gone: what the policy alone refuses a kernel.
ALONE = [
    ("cell_permalink_state_t:s0", "file", "read"),
    ("cell_conf_t:s0", "file", "read"),
    ("shadow_t:s0", "file", "read"),
    ("cell_pool_runtime_t:s0", "sock_file", "write"),
    ("cgroup_t:s0", "file", "write"),
    ("http_port_t:s0", "tcp_socket", "name_connect"),
    ("ssh_port_t:s0", "tcp_socket", "name_connect"),
]


@pytest.mark.parametrize(("target", "kind", "permission"), ALONE)
def test_the_policy_alone_refuses(appliance, two, target, kind, permission):
    source = context(kernel_process(appliance, two[0]).pid)
    assert not allows(source, f"system_u:object_r:{target}", kind, permission)
    assert allows("unconfined_u:unconfined_r:unconfined_t:s0", f"system_u:object_r:{target}", kind, permission)
