"""A cell looks at itself and around, and finds the confinement."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.escape.scene import layer_is_on
from tests.integration.sage_client import SageClient

LOOK = """
import json, os, socket, resource, sys
def interfaces():
    try:
        return sorted(line.split(":")[0].strip() for line in open("/proc/self/net/dev") if ":" in line)
    except PermissionError:
        return "denied"
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
report = {
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(), "pid": os.getpid(),
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()),
    "mounts": [line.split()[1:4] for line in open("/proc/self/mounts")],
    "interfaces": interfaces(),
    "capabilities": {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
    "seccomp": int(status["Seccomp"]), "no_new_privs": int(status["NoNewPrivs"]),
    "files": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
              if os.path.lexists(f"/proc/self/fd/{fd}")},
    "host": socket.gethostname(), "home": os.getcwd(), "prefix": sys.prefix, "root": sorted(os.listdir("/")),
    "core": resource.getrlimit(resource.RLIMIT_CORE), "env": sorted(os.environ),
}
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def cell(appliance):
    with SageClient(appliance.url) as client:
        yield client


@pytest.fixture(scope="module")
def report(cell):
    answer = cell.run(LOOK)
    assert answer.stdout, answer.messages
    return json.loads(answer.stdout)


def test_the_account_is_an_ordinary_one_of_the_range(report):
    (uid,) = set(report["uid"])
    assert uid >= 1000
    assert set(report["gid"]) == {uid}
    assert report["groups"] == []


def test_the_kernel_is_alone_in_its_pid_namespace(report):
    assert report["pid"] == 1
    assert report["pids"] == [1]


@pytest.mark.attack(7, "capabilities")
def test_no_capability_is_left(report):
    assert set(report["capabilities"].values()) == {0}


def test_seccomp_filters_and_no_new_privileges_hold(report):
    assert report["seccomp"] == 2
    assert report["no_new_privs"] == 1


def test_only_loopback_is_there(appliance, report):
    # SELinux does not even let a kernel look
    assert report["interfaces"] == ("denied" if layer_is_on(appliance, "selinux") else ["lo"])


def test_only_the_scratch_space_is_writable(report):
    writable = {target for target, kind, options in report["mounts"] if "rw" in options.split(",")}
    assert {target for target in writable if not target.startswith(("/dev/", "/proc"))} == {
        "/home/visitor", "/tmp", "/var/tmp",
    }  # fmt: skip
    scratch = [options for target, kind, options in report["mounts"] if target == "/home/visitor"]
    assert "size=" in scratch[0]
    assert {"nosuid", "nodev"} <= set(scratch[0].split(","))


def test_no_mount_may_be_set_user_id(report):
    devices = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
    careless = [target for target, _, options in report["mounts"] if "nosuid" not in options.split(",")]
    # bind mounts of single device files: there is nothing in them to execute
    assert {target for target in careless if not target.startswith("/proc/")} <= devices


def test_what_tells_of_the_host_is_masked(cell):
    answer = cell.run(
        "import os\n"
        "for name in ('kallsyms', 'keys', 'key-users', 'timer_list', 'config.gz', 'kmsg'):\n"
        "    path = f'/proc/{name}'\n"
        "    print(os.path.exists(path) and open(path, 'rb').read(1))\n"
        "print(os.listdir('/sys'))"
    )
    assert set(answer.stdout.splitlines()) <= {"b''", "False", "[]"}


@pytest.mark.attack(11, "closed descriptors")
def test_open_files_are_its_own(report):
    kinds = {target.split(":")[0] for fd, target in report["files"].items() if int(fd) > 2}
    assert kinds <= {"socket", "pipe", "anon_inode"} or all(
        target.startswith(("/proc/", "socket:", "pipe:", "anon_inode:")) for target in report["files"].values()
    )
    assert not [target for target in report["files"].values() if "cell" in target or ".sock" in target]
    assert report["files"]["0"] == "/dev/null"


def test_nothing_of_the_host_is_named(report):
    assert report["host"] == "cell"
    assert report["home"] == "/home/visitor"
    # An environment is at its own path, and nothing but the directories to it.
    environment = pathlib.PurePath(report["prefix"]).parts[1]
    assert set(report["root"]) <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp", "usr",
        "var", environment,
    }  # fmt: skip
    assert report["core"] == [0, 0]
    assert not {"PYTHONPATH", "NOTIFY_SOCKET", "LISTEN_FDS", "CELL_SUPERVISOR_PID"} & set(report["env"])


@pytest.mark.attack(14, "seeded after the fork")
def test_two_kernels_have_their_own_account_and_randomness(appliance):
    draw = (
        "import os, random, uuid, numpy, sympy.core.random as s, hashlib\n"
        "print(os.getuid(), random.random(), numpy.random.rand(), numpy.random.default_rng().random(),"
        " uuid.uuid4(), s.rng.random(), get_ipython().kernel.session.session,"
        " hashlib.sha256(get_ipython().kernel.session.key).hexdigest(), sep='\\n')"
    )
    with SageClient(appliance.url) as one, SageClient(appliance.url) as other:
        first, second = one.run(draw).stdout.split(), other.run(draw).stdout.split()
    assert len(first) == len(second) == 8
    assert not set(first) & set(second)


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("open('/etc/shadow').read()", "FileNotFoundError"),
        ("open('/usr/x', 'w')", "OSError"),
        ("open('/etc/passwd', 'w')", "OSError"),
        ("os.mkdir('/x')", "OSError"),
        ("os.setuid(0)", "PermissionError"),
        ("os.chroot('/tmp')", "PermissionError"),
        ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "OSError"),
        ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "OSError"),
        ("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "PermissionError"),
        ("socket.create_connection(('169.254.169.254', 80), 2)", "OSError"),
        ("socket.create_connection(('127.0.0.1', 8888), 2)", "ConnectionRefusedError"),
        ("socket.getaddrinfo('example.org', 80)", "gaierror"),
        ("os.kill(-1, 9)", "ProcessLookupError"),
        ("open('/proc/sys/kernel/core_pattern', 'w')", "PermissionError"),
        ("os.write(os.open('/proc/1/oom_score_adj', os.O_WRONLY), b'-1000')", "PermissionError"),
        ("os.mknod('/tmp/null', 0o20666, os.makedev(1, 3))", "PermissionError"),
    ],
)
def test_what_a_cell_tries_is_refused(appliance, cell, attempt, error):
    answer = cell.run(f"import os, socket\n{attempt}")
    assert answer.reply["status"] == "error", answer.messages
    # where SELinux enforces, it often refuses first
    assert answer.reply["ename"] in ((error, "PermissionError") if layer_is_on(appliance, "selinux") else (error,))


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("ptrace", 101), ("mount", 165), ("unshare", 272), ("setns", 308), ("keyctl", 250), ("add_key", 248),
        ("bpf", 321), ("perf_event_open", 298), ("userfaultfd", 323), ("io_uring_setup", 425), ("kexec_load", 246),
        ("process_vm_readv", 310), ("open_by_handle_at", 304), ("pivot_root", 155),
    ],
)  # fmt: skip
def test_a_dangerous_system_call_is_refused(cell, call, number):
    answer = cell.run(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.syscall({number}, 0, 0, 0, 0, 0), errno.errorcode[ctypes.get_errno()])"
    )
    assert answer.stdout == "-1 EPERM\n", call


def test_set_user_id_programs_gain_nothing(cell):
    answer = cell.run("import subprocess; print(subprocess.run(['su', '-c', 'id'], capture_output=True).returncode)")
    assert answer.stdout != "0\n"


def test_files_beyond_the_scratch_space_are_refused_and_the_cell_lives(cell):
    answer = cell.run(
        "import os\n"
        "size = os.statvfs('.').f_blocks * os.statvfs('.').f_frsize\n"
        "try:\n"
        "    for number in range(10):\n"
        "        with open(f'/tmp/big{number}', 'wb') as f:\n"
        "            for _ in range(size // 4 >> 20): f.write(bytes(1 << 20))\n"
        "except OSError as e: print(e.strerror)\n"
        "for number in range(10):\n"
        "    if os.path.exists(f'/tmp/big{number}'): os.unlink(f'/tmp/big{number}')"
    )
    assert answer.stdout == "No space left on device\n"
    assert cell.run("print(1)").stdout == "1\n"


def test_processes_beyond_the_limit_are_refused_and_the_cell_lives(cell):
    answer = cell.run(
        "import os, signal, time\n"
        "children = []\n"
        "try:\n"
        "    while len(children) < 500:\n"
        "        pid = os.fork()\n"
        "        if not pid:\n"
        "            time.sleep(60); os._exit(0)\n"
        "        children.append(pid)\n"
        "except OSError as e: print(e.strerror)\n"
        "print(len(children) < 70)\n"
        "for pid in children: os.kill(pid, 9); os.waitpid(pid, 0)"
    )
    assert answer.stdout == "Resource temporarily unavailable\nTrue\n"
    assert cell.run("print(1)").stdout == "1\n"


def test_memory_beyond_the_limit_is_refused_or_ends_the_kernel(appliance):
    with SageClient(appliance.url, seconds=60) as cell:
        answer = cell.run("import numpy\nx = numpy.ones(1 << 28)")
        if layer_is_on(appliance, "cgroup"):
            assert answer.reply["ename"] == "KernelDied"
            assert "more memory" in answer.reply["evalue"]
        else:
            assert answer.reply["ename"] in ("MemoryError", "_ArrayMemoryError")
            assert cell.run("print(1)").stdout == "1\n"
