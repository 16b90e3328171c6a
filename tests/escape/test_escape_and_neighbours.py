"""Lines 1 to 12 and 14: a cell that tries to leave its cell, or to reach another."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest

from appliance import config as configuration
from tests.escape.attempts import ATTEMPTS, PRELUDE
from tests.escape.scene import Scene, layer_is_on
from tests.integration.running import INSTALLED, Appliance, wait_for
from tests.integration.sage_client import SageClient

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="the control needs root of the host")


@pytest.fixture(scope="module")
def scene(appliance):
    scene = Scene(appliance)
    yield scene
    scene.close()


def case(attempt):
    mark = pytest.mark.attack(attempt.number, attempt.layer, attempt.name)
    return pytest.param(attempt, id=f"{attempt.number}: {attempt.name}", marks=mark)


@pytest.mark.parametrize("attempt", [case(attempt) for attempt in ATTEMPTS])
def test_a_program_gets_nowhere(scene, attempt):
    verdict = scene.inside(attempt)
    # where SELinux enforces, it often refuses first
    refusals = (*attempt.refusals, "EACCES") if layer_is_on(scene.appliance, "selinux") else attempt.refusals
    assert verdict.removeprefix("refused ") in refusals, verdict


@root_only
@pytest.mark.control
@pytest.mark.parametrize("attempt", [attempt for attempt in ATTEMPTS if attempt.control], ids=lambda one: one.name)
def test_the_same_program_gets_through_outside(scene, attempt):
    assert scene.outside(attempt) == "reached"


@pytest.mark.attack(3, "pid namespace", "kill everything that can be seen")
def test_kill_everything(scene):
    answer = scene.attacker.run(
        "import os, signal, time\n"
        "child = os.fork()\n"
        "if not child: time.sleep(60)\n"
        "os.kill(-1, signal.SIGKILL)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert answer.stdout == f"{int(signal.SIGKILL)}\n"  # its own process: the signal did go out
    assert scene.sibling.run("print(secret)").stdout == "of the sibling\n"
    assert all(process.is_running() for process in scene.appliance.family())


@root_only
@pytest.mark.attack(5, "peer credentials", "speak to the pool under the account of a kernel")
def test_speak_to_the_pool_under_the_account_of_a_kernel(scene):
    config = scene.appliance.config
    lost = "import socket, sys\ns = socket.socket(socket.AF_UNIX, int(sys.argv[2]))\n"
    lost += "s.settimeout(2); s.connect(sys.argv[1])\n"
    lost += "try: print('dropped' if s.recv(1) == b'' else 'answered')\n"
    lost += "except TimeoutError: print('taken')\nexcept ConnectionError: print('dropped')\n"

    def speak(uid: int, path: object, kind: int) -> str:
        command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c", lost]
        done = subprocess.run([*command, str(path), str(kind)], capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    kernel, web = config.ids.base + 1000, configuration.uid_of(config.users.web)
    assert "Permission denied" in speak(kernel, config.pool_socket, socket.SOCK_STREAM)
    assert "Permission denied" in speak(kernel, config.permalink_socket, socket.SOCK_STREAM)
    # this one may be reached by any account; only the first of the range is listened to
    assert speak(kernel, config.zygote_socket, socket.SOCK_SEQPACKET) == "dropped"
    wait_for("the refusal is logged", lambda: f"zygote refused: its uid is {kernel}" in scene.appliance.text(), 5)
    assert speak(web, config.pool_socket, socket.SOCK_STREAM) == "taken"


# --- line 12: a bit passes when the receiver sees another thing while the sender sends than while it rests

#: What sends and what rests, run by the sender; what looks, run by the receiver: it prints what it sees.
CHANNELS = {
    "a file in /dev/shm": ("open('/dev/shm/x', 'w').close()", "print(os.path.exists('/dev/shm/x'))"),
    "a file in /tmp": ("open('/tmp/x', 'w').close()", "print(os.path.exists('/tmp/x'))"),
    "a file in /var/tmp": ("open('/var/tmp/x', 'w').close()", "print(os.path.exists('/var/tmp/x'))"),
    "free space": ("open('/tmp/y', 'wb').write(bytes(1 << 24))", "print(os.statvfs('/tmp').f_bfree)"),
    "System V shared memory": (
        # where no cgroup counts it, there is none
        "\ntry: call(29, 77, 4096, 0o1666)\nexcept OSError as exc:\n    if exc.errno != 38: raise",
        "print(libc.shmget(77, 0, 0))",
    ),
    "System V semaphores": ("call(64, 77, 1, 0o1666)", "print(libc.semget(77, 0, 0))"),
    "System V messages": ("call(68, 77, 0o1666)", "print(libc.msgget(77, 0))"),
    "POSIX messages": (
        "\ntry: call(240, b'x', os.O_CREAT | os.O_RDWR, 0o666, struct.pack('8q', 0, 1, 8, 0, 0, 0, 0, 0))\n"
        "except PermissionError: pass  # Landlock knows no such place",
        "print(libc.syscall(240, b'x', os.O_RDONLY, 0, 0) >= 0)",
    ),
    "an abstract socket": (
        "global s; s = socket.socket(socket.AF_UNIX); s.bind('\\0x'); s.listen()",
        "print(socket.socket(socket.AF_UNIX).connect_ex('\\0x'))",
    ),
    "a port of loopback": (
        "global t; t = socket.socket(); t.bind(('127.0.0.1', 7777)); t.listen()",
        "print(socket.socket().connect_ex(('127.0.0.1', 7777)))",
    ),
    "the host's name": (
        "\ntry: socket.sethostname('told')\nexcept OSError: pass",
        "print(socket.gethostname())",
    ),
    "a lease on a file of the system": (
        "\ntry: fcntl.fcntl(os.open('/usr/bin/env', os.O_RDONLY), 1024, fcntl.F_RDLCK)\nexcept OSError: pass",
        "print(fcntl.fcntl(os.open('/usr/bin/env', os.O_RDONLY), 1025))",
    ),
    "a count of processes": (
        "global children; children = [subprocess.Popen(['sleep', '60']) for _ in range(5)]",
        "print(len([name for name in os.listdir('/proc') if name.isdecimal()]))",
    ),
    "the last process id": (
        "global children; children = [subprocess.Popen(['sleep', '60']) for _ in range(5)]",
        "print(open('/proc/sys/kernel/ns_last_pid').read())",
    ),
    "pseudo-terminals": ("global pty; pty = os.openpty()", "print(os.listdir('/dev/pts'))"),
    "locks in /proc/locks": (
        "global f; f = open('/tmp/lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX)",
        "print(open('/proc/locks').read().count('FLOCK'))",
    ),
    "keyrings": (
        "\ntry: call(248, b'user', b'x', b'1', 1, -4)\nexcept OSError: pass",
        "print(open('/proc/keys').read(), libc.syscall(250, 10, -4, b'user', b'x', 0))",
    ),
}
#: Refused even within one kernel where SELinux enforces: no port of any address, no counter of process ids.
CLOSED_BY_SELINUX = {"a port of loopback", "the last process id"}
#: A lock belongs to an inode, and of all these every kernel has its own.
SHARED_FILES = {  # expressions
    "a file of the system": "'/usr/bin/env'",
    "a file of the environment": "__import__('numpy').__file__",
    "a file of the root": "'/etc/passwd'",
    "a file of the package": "'/run/code/appliance/__init__.py'",
    "a device": "'/dev/null'",
}
LOCKS = {
    "flock": (
        "global f; f = open({path}); fcntl.flock(f, fcntl.LOCK_EX)",
        "with open({path}) as g:\n"
        "    try: fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB); print(True)\n"
        "    except OSError: print(False)",
    ),
    "a POSIX lock": (
        "global f; f = open({path}); fcntl.lockf(f, fcntl.LOCK_SH)",
        # in another process: nobody is in the way of his own locks
        "program = ('import fcntl, struct, sys; ask = struct.pack(\"hhqqi4x\", fcntl.F_WRLCK, 0, 0, 0, 0); '\n"
        "    'print(struct.unpack_from(\"h\", fcntl.fcntl(open(sys.argv[1]), fcntl.F_GETLK, ask)))')\n"
        "print(subprocess.check_output([sys.executable, '-c', program, {path}], text=True))",
    ),
}


def passes(scene, send, look, *, same_kernel=False):
    """Return whether the receiver sees a difference; when the sender itself is the receiver, it must."""
    receiver = scene.attacker if same_kernel else scene.sibling
    prepare = f"{PRELUDE}\ndef send():\n" + "\n".join("    " + line for line in send.splitlines())
    scene.attacker.run(prepare)
    looking = f"{PRELUDE}\n{look}"
    before = receiver.run(looking)
    sent = scene.attacker.run("send()")
    assert sent.reply["status"] == "ok", sent.reply
    after = receiver.run(looking)
    assert before.stdout, before.reply
    assert after.stdout, after.reply
    return before.stdout != after.stdout


def refused_by_selinux(answer, channel):
    """Return whether nothing was seen over a channel that SELinux closes."""
    if channel == "a port of loopback":
        return answer.stdout == f"{errno.EACCES}\n"
    return answer.reply.get("ename") == "PermissionError"


@pytest.fixture
def pair(appliance):
    scene = Scene(appliance)
    yield scene
    scene.close()


@pytest.mark.parametrize("channel", [pytest.param(name, marks=pytest.mark.attack(12, layer, name)) for name, layer in (
    *((name, "mount namespace, own scratch space") for name in list(CHANNELS)[:4]),
    *((name, "ipc namespace") for name in list(CHANNELS)[4:7]),
    ("POSIX messages", "ipc namespace, Landlock"),
    *((name, "network namespace") for name in list(CHANNELS)[8:10]),
    ("the host's name", "uts namespace, seccomp"),
    ("a lease on a file of the system", "account: leases are for owners"),
    *((name, "pid namespace") for name in list(CHANNELS)[12:14]),
    ("pseudo-terminals", "devpts of its own"),
    ("locks in /proc/locks", "pid namespace"),
    ("keyrings", "seccomp, mask"),
)])  # fmt: skip
def test_a_covert_channel(pair, channel):
    if channel in CLOSED_BY_SELINUX and layer_is_on(pair.appliance, "selinux"):
        for one in (pair.attacker, pair.sibling):
            send, look = CHANNELS[channel]
            one.run(f"{PRELUDE}\n{send.replace('global t; ', '')}")  # a port is refused here, too
            assert refused_by_selinux(one.run(f"{PRELUDE}\n{look}"), channel)
        return
    assert not passes(pair, *CHANNELS[channel])


#: Within one kernel the same programs do pass a bit: they work. Not those that are refused by whatever kernel asks.
@pytest.mark.control
@pytest.mark.parametrize(
    "channel",
    [
        name
        for name in CHANNELS
        if name not in ("the host's name", "a lease on a file of the system", "keyrings", "POSIX messages")
    ],
)
def test_the_same_channel_works_within_one_kernel(pair, channel):
    if channel in CLOSED_BY_SELINUX and layer_is_on(pair.appliance, "selinux"):
        pytest.skip("SELinux refuses this within one kernel, too")
    if channel == "System V shared memory" and not layer_is_on(pair.appliance, "cgroup"):
        assert not passes(pair, *CHANNELS[channel], same_kernel=True)
        pytest.skip("refused within one kernel, too, where no cgroup counts such memory")
    assert passes(pair, *CHANNELS[channel], same_kernel=True)


@pytest.mark.parametrize(
    ("lock", "file"),
    [
        pytest.param(lock, file, marks=pytest.mark.attack(12, "overlays, own devices", f"{lock} on {file}"))
        for lock in LOCKS
        for file in SHARED_FILES
    ],
)
def test_a_lock_on_what_all_kernels_share(pair, lock, file):
    assert layer_is_on(pair.appliance, "overlay")
    send, look = (text.format(path=SHARED_FILES[file]) for text in LOCKS[lock])
    free = pair.sibling.run(f"{PRELUDE}\n{look}").stdout
    assert free
    # the control: within one kernel the lock does pass a bit, which is there from then on
    assert passes(pair, send, look, same_kernel=True)
    assert pair.sibling.run(f"{PRELUDE}\n{look}").stdout == free
    assert pair.attacker.run(f"{PRELUDE}\n{look}").stdout != free


# --- line 14

DRAW = r"""
import hashlib, hmac, os, random, secrets, ssl, tempfile, uuid, multiprocessing
import numpy, sympy.core.random as sympy_random
from IPython import get_ipython
session = get_ipython().kernel.session
for number, text in enumerate((
    random.random(), random.getstate()[1][:4], random.SystemRandom().random(), secrets.token_hex(), os.urandom(8).hex(),
    numpy.random.rand(), numpy.random.default_rng().random(), numpy.random.get_state()[1][:4].tolist(),
    numpy.random.RandomState().rand(), sympy_random.rng.random(), uuid.uuid1(), uuid.uuid4(), ssl.RAND_bytes(8).hex(),
    tempfile.mktemp(dir=""), session.session, hashlib.sha256(session.key).hexdigest(),
    hashlib.sha256(multiprocessing.current_process().authkey).hexdigest(), os.getuid(),
)):
    print(f"{number}: {text}")
"""


@pytest.mark.attack(14, "seeded and keyed after the fork", "guess the next kernel's random numbers, ids and keys")
def test_two_kernels_of_one_zygote_share_no_randomness(scene):
    one, other = scene.attacker.run(DRAW), scene.sibling.run(DRAW)
    first, second = one.stdout.splitlines(), other.stdout.splitlines()
    assert len(first) == len(second) == 18, (one.reply, other.reply)
    assert set(first) & set(second) == set()


#: Of the interpreter itself, made when its program starts: a fork has its parent's.
INHERITED = (
    "import ctypes\nprint(hash('x'))\nprint(ctypes.cast(ctypes.CDLL(None).printf, ctypes.c_void_p).value)  # of libc"
)


@pytest.mark.skipif(INSTALLED, reason="wants a configuration of its own")
@pytest.mark.attack(14, "a zygote for each kernel: zygote_max_forks = 1", "share the seed of hash() and the addresses")
def test_kernels_of_zygotes_of_their_own_share_neither_the_seed_of_hash_nor_addresses():
    appliance = Appliance("[pool]\nready = 2\nzygote_max_forks = 1\nlease_wait_seconds = 60.0\n")
    try:
        with SageClient(appliance.url, seconds=90) as one, SageClient(appliance.url, seconds=90) as other:
            first, second = one.run(INHERITED).stdout.splitlines(), other.run(INHERITED).stdout.splitlines()
            assert len(first) == len(second) == 2
            assert set(first) & set(second) == set()
    finally:
        appliance.stop()


@pytest.mark.control
def test_kernels_of_one_zygote_do_share_them(scene):
    assert scene.attacker.run(INHERITED).stdout == scene.sibling.run(INHERITED).stdout
