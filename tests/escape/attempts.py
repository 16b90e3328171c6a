"""Programs that try to get out of a cell or at a neighbour (lines 1 to 11 of the list of attacks), as data.

A program that ends has got through. One that is refused raises `OSError`; one that finds nothing to take raises
`Nothing`. Whatever else it raises is a mistake in the program and counts as a failed test, so that no misspelled
attack passes for a stopped one. `target` names what is on the host: process ids, ports and paths.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What every program may use; runs before it.
PRELUDE = r"""
import ctypes, errno, fcntl, mmap, os, resource, shutil, signal, socket, struct, subprocess, sys, tempfile, time

class Nothing(Exception):
    pass

libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    words = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def in_child(function):
    # what the child raised is raised here; a child that a signal ended is a refusal by that signal
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            function()
            os.write(write, b"0")
        except OSError as exc:
            os.write(write, str(exc.errno).encode())
        finally:
            os._exit(0)
    os.close(write)
    answer = os.read(read, 16)
    os.close(read)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise InterruptedError(errno.EINTR, signal.Signals(os.WTERMSIG(status)).name)
    if answer != b"0":
        raise OSError(int(answer), os.strerror(int(answer)))

def machine_code(code, restype=ctypes.c_long):
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    return ctypes.CFUNCTYPE(restype)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))

def unix_connect(address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as s:
        s.settimeout(5)
        s.connect(address)
"""


@dataclass(frozen=True)
class Attempt:
    """One program, its line in the list, what stops it, and what it is refused with.

    ``refusals``: names of errno, or ``nothing``. ``control``: the same program gets through as root of the host;
    where that would harm the host or needs what it does not have, it is empty and ``why_no_control`` says so.
    ``seccomp_only``: the call itself is the attack, a piece of the kernel (Linux) that a program can reach. Nothing
    but the filter stops it; with the filter gone it is reached, and the other attempts show that it opens no way.
    """

    number: int
    name: str
    layer: str
    program: str
    refusals: tuple[str, ...]
    control: bool = True
    why_no_control: str = ""
    seccomp_only: bool = False
    fresh: bool = False  # in a kernel where no other program has run


def _proc(name: str, whose: str) -> Attempt:
    return Attempt(
        1,
        f"read /proc/{name} of {whose}",
        "pid namespace, hidepid",
        f"open(f\"/proc/{{target['{whose}']}}/{name}\", 'rb').read(64)",
        ("ENOENT",),
    )


def _absent(number: int, name: str, path: str, layer: str, why: str) -> Attempt:
    return Attempt(number, name, layer, f"unix_connect({path!r}, socket.SOCK_DGRAM)", ("ENOENT",), False, why)


def _call(
    name: str,
    program: str,
    refusals: tuple[str, ...] = ("EPERM",),
    *,
    number: int = 8,
    why_no_control: str = "",
    seccomp_only: bool = True,
) -> Attempt:
    return Attempt(
        number, name, "seccomp", program, refusals, not why_no_control, why_no_control, seccomp_only=seccomp_only
    )


#: What socket(2) says of a family that does not exist.
_NO_FAMILY = ("EAFNOSUPPORT", "EINVAL", "EPERM", "EPROTONOSUPPORT")

_HARMS = "it would change the host"

ATTEMPTS: tuple[Attempt, ...] = (
    # --- 1
    *(_proc(name, whose) for whose in ("pool", "zygote", "sibling") for name in ("status", "environ", "maps")),
    Attempt(
        1,
        "find any process but its own",
        "pid namespace",
        "own = {str(os.getpid()), '1', str(os.getppid())}\n"
        "if not {name for name in os.listdir('/proc') if name.isdecimal()} - own: raise Nothing",
        ("nothing",),
    ),
    # --- 2
    Attempt(
        2,
        "ptrace a sibling",
        "seccomp, pid namespace",
        "call(101, 0x4206, target['sibling'], 0, 0)  # PTRACE_SEIZE",
        ("EPERM", "ESRCH"),
    ),
    Attempt(
        2,
        "process_vm_readv a sibling",
        "seccomp, pid namespace",
        "buffer = ctypes.create_string_buffer(8)\n"
        "local = struct.pack('QQ', ctypes.addressof(buffer), 8)\n"
        "call(310, target['sibling'], local, 1, struct.pack('QQ', target['address'], 8), 1, 0)",
        ("EPERM", "ESRCH"),
    ),
    Attempt(
        2,
        "take a descriptor out of a sibling (pidfd_getfd)",
        "seccomp, pid namespace",
        "call(438, os.pidfd_open(target['sibling']), 0, 0)",
        ("EPERM", "ESRCH"),
    ),
    Attempt(
        2, "write a sibling's memory", "pid namespace", "open(f\"/proc/{target['sibling']}/mem\", 'r+b')", ("ENOENT",)
    ),
    # --- 3
    *(
        Attempt(3, f"signal {whose}", "pid namespace", f"os.kill(target['{whose}'], 0)", ("ESRCH",))
        for whose in ("pool", "zygote", "sibling", "web")
    ),
    # --- 4
    Attempt(
        4,
        "connect to the server over loopback",
        "network namespace",
        "socket.create_connection(('127.0.0.1', target['port']), 5)",
        ("ECONNREFUSED",),
    ),
    Attempt(
        4,
        "connect to any port of loopback",
        "network namespace",
        "def answers(family, address):\n"
        "    # a socket that connects to its own port has found nobody\n"
        "    with socket.socket(family) as s:\n"
        "        return s.connect_ex(address) == 0 and s.getsockname() != s.getpeername()\n"
        "def all_of(family, host):\n"
        "    return [port for port in range(1, 65536) if answers(family, (host, port))]\n"
        "if not all_of(socket.AF_INET, '127.0.0.1') and not all_of(socket.AF_INET6, '::1'): raise Nothing",
        ("nothing",),
    ),
    Attempt(
        4,
        "connect to an abstract socket of the host",
        "network namespace, Landlock",
        "unix_connect('\\0' + target['abstract'])",
        ("ECONNREFUSED", "EPERM"),
    ),
    Attempt(4, "connect to the pool's socket", "mount namespace", "unix_connect(target['pool_socket'])", ("ENOENT",)),
    Attempt(
        4,
        "connect to the zygotes' socket",
        "mount namespace",
        "unix_connect(target['zygote_socket'], socket.SOCK_SEQPACKET)",
        ("ENOENT",),
    ),
    Attempt(
        4,
        "connect to the permalinks' socket",
        "mount namespace",
        "unix_connect(target['permalink_socket'])",
        ("ENOENT",),
    ),
    Attempt(
        4,
        "connect to a sibling's sockets",
        "mount namespace",
        "unix_connect(target['sibling_directory'] + '/shell')",
        ("ENOENT",),
    ),
    Attempt(
        4, "connect to a socket in the host's /tmp", "mount namespace", "unix_connect(target['path'])", ("ENOENT",)
    ),
    _absent(4, "connect to D-Bus", "/run/dbus/system_bus_socket", "mount namespace", "the host need not run it"),
    _absent(4, "connect to journald", "/run/systemd/journal/socket", "mount namespace", "the host need not run it"),
    # --- 5
    Attempt(
        5,
        "claim to be ready over an inherited socket",
        "closed descriptors",
        "found = []\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    try:\n"
        "        with socket.socket(fileno=os.dup(int(fd))) as s:\n"
        "            if s.type != socket.SOCK_STREAM: found.append(s.send(b'{\"ready\": true}'))\n"
        "    except OSError: continue\n"
        "if not found: raise Nothing",
        ("nothing",),
        False,
        "an interpreter of the host has not inherited one either",
    ),
    # --- 6
    _absent(6, "tell systemd WATCHDOG=1", "/run/systemd/notify", "mount namespace", "the host need not run it"),
    Attempt(
        6,
        "find the notification socket in the environment",
        "clean environment",
        "names = {'NOTIFY_SOCKET', 'WATCHDOG_PID', 'LISTEN_FDS', 'CELL_SUPERVISOR_PID'}\n"
        "if not names & set(os.environ): raise Nothing",
        ("nothing",),
        False,
        "it depends on how the tests were started",
    ),
    # --- 7
    Attempt(7, "become root", "account, capabilities", "os.setuid(0)", ("EPERM", "EINVAL")),
    Attempt(
        7,
        "become root by a set-user-id program of the system",
        "no_new_privs, nosuid",
        "names = ('su', 'passwd', 'newgrp', 'chsh', 'mount', 'umount')\n"
        "programs = [path for path in map(shutil.which, names) if path and os.stat(path).st_mode & 0o4000]\n"
        "if not programs and target['inside']: raise Nothing\n"
        "program = subprocess.run(['/bin/sh', '-c', 'exec 2>/dev/null; su -c id'], capture_output=True, stdin=-3)\n"
        "if b'uid=0' not in program.stdout: raise Nothing",
        ("nothing",),
    ),
    Attempt(
        7,
        "make a set-user-id program of root",
        "account, nosuid",
        "path = tempfile.mkdtemp() + '/sh'\nshutil.copy('/bin/sh', path)\nos.chown(path, 0, 0)\nos.chmod(path, 0o4755)",
        ("EPERM", "EINVAL"),
    ),
    Attempt(
        7,
        "give a file capabilities",
        "capabilities",
        "path = tempfile.mkdtemp() + '/x'\n"
        "open(path, 'w').close()\n"
        "os.setxattr(path, 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 21, 0, 0, 0))",
        ("EPERM",),
    ),
    Attempt(
        7,
        "make a user namespace (unshare)",
        "seccomp, max_user_namespaces",
        "in_child(lambda: call(272, 0x10000000))",
        ("EPERM", "ENOSPC"),
    ),
    Attempt(
        7,
        "make a user namespace (clone)",
        "seccomp, max_user_namespaces",
        "def clone():\n    if call(56, 0x10000000 | 17, 0, 0, 0, 0) == 0: os._exit(0)\nin_child(clone)",
        ("EPERM", "ENOSPC"),
    ),
    Attempt(
        7,
        "make a user namespace (clone3)",
        "seccomp, max_user_namespaces",
        "def clone():\n"
        "    if call(435, struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64) == 0: os._exit(0)\n"
        "in_child(clone)",
        ("ENOSYS", "ENOSPC"),
    ),
    Attempt(
        7,
        "mount a file system after making a user namespace",
        "seccomp, max_user_namespaces, Landlock",
        "def mount():\n"
        "    try: call(272, 0x10020000)\n"
        "    except OSError: pass\n"
        "    call(165, b'none', tempfile.mkdtemp().encode(), b'tmpfs', 0, 0)\n"
        "in_child(mount)",
        ("EPERM",),
    ),
    Attempt(
        7,
        "make the read-only root writable",
        "seccomp, mount namespace, Landlock",
        "def remount(): call(165, b'none', b'/', 0, 0x1020, 0); call(165, b'none', b'/', 0, 0x1021, 0)\n"
        "def unshared():\n"
        "    if not target['inside']: call(272, 0x20000); call(165, 0, b'/', 0, 0x44000, 0)\n"
        "    call(165, b'none', b'/', 0, 0x1020, 0)\n"
        "in_child(unshared)",
        ("EPERM",),
    ),
    Attempt(
        7,
        "reach nftables",
        "seccomp, network namespace",
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n"
        "s.settimeout(5)\n"
        "ask = struct.pack('=IHHII', 20, (10 << 8) | 1, 0x301, 1, 0) + struct.pack('=BBH', 0, 0, 0)\n"
        "s.send(ask)\n"
        "answer = s.recv(4096)\n"
        "kind, code = struct.unpack_from('=H', answer, 4)[0], struct.unpack_from('=i', answer, 16)[0]\n"
        "if kind == 2 and code: raise OSError(-code, os.strerror(-code))",
        _NO_FAMILY,
    ),
    Attempt(7, "change its root", "seccomp, capabilities", "in_child(lambda: os.chroot('/usr'))", ("EPERM",)),
    Attempt(
        7,
        "make a device",
        "capabilities, nodev",
        "os.mknod(tempfile.mkdtemp() + '/null', 0o20666, os.makedev(1, 3))",
        ("EPERM",),
    ),
    Attempt(
        7,
        "enter the mount namespace of pid 1",
        "seccomp, pid namespace",
        "in_child(lambda: call(308, os.open(f\"/proc/{target['pool']}/ns/mnt\", os.O_RDONLY), 0))",
        ("ENOENT",),
    ),
    # --- 8
    _call("read a keyring (keyctl)", "call(250, 0, -3, 1, 0, 0)"),
    _call("keep a key (add_key)", "call(248, b'user', b'attack', b'1', 1, -2)"),
    _call(
        "request a key (request_key)",
        "call(249, b'user', b'attack-none', 0, 0)",
        why_no_control="outside there is no such key either",
    ),
    _call("io_uring", "call(425, 1, ctypes.create_string_buffer(120))"),
    _call("AF_NETLINK", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", _NO_FAMILY),
    _call("AF_VSOCK", "socket.socket(40, socket.SOCK_STREAM)", _NO_FAMILY),
    _call("AF_PACKET", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)", _NO_FAMILY, seccomp_only=False),
    _call("a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", seccomp_only=False),
    _call("AF_ALG", "socket.socket(38, socket.SOCK_SEQPACKET)", _NO_FAMILY, why_no_control="not every host has it"),
    _call("bpf", "call(321, 0, struct.pack('IIII', 2, 4, 4, 1) + bytes(112), 128)", seccomp_only=False),
    _call(
        "perf_event_open",
        "call(298, struct.pack('II', 1, 128) + bytes(120), 0, -1, -1, 0)",
        ("EPERM", "EACCES"),
        seccomp_only=False,
    ),
    _call("userfaultfd", "call(323, 0)", seccomp_only=False),
    _call(
        "open a file by handle",
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 120, 0) + bytes(120))\n"
        "mount = ctypes.c_int()\n"
        "call(303, -100, b'/usr', handle, ctypes.byref(mount), 0)\n"
        "call(304, os.open('/usr', os.O_RDONLY), handle, 0)",
        seccomp_only=False,
    ),
    _call("fsopen", "call(430, b'tmpfs', 0)", seccomp_only=False),
    _call("open_tree with a copy", "call(428, -100, b'/usr', 1)", seccomp_only=False),
    _call(
        "enter its own network namespace again",
        "call(308, os.open('/proc/self/ns/net', os.O_RDONLY), 0)",
        seccomp_only=False,
    ),
    _call("read the kernel's log", "call(103, 3, ctypes.create_string_buffer(64), 64)", seccomp_only=False),
    _call("fanotify", "call(300, 0, 0)"),
    _call(
        "compare with a sibling (kcmp)",
        "call(312, os.getpid(), target['sibling'], 0, 0, 0)",
        ("EPERM", "ESRCH"),
        seccomp_only=False,
    ),
    _call("modify its descriptor table (modify_ldt)", "call(154, 0, ctypes.create_string_buffer(16), 16)"),
    _call(
        "memory that nobody can read (memfd_secret)",
        "call(447, 0)",
        why_no_control="not every kernel has it switched on",
    ),
    _call(
        "switch off the randomization of addresses (personality)", "in_child(lambda: call(135, 0x0040000))", ("ENOSYS",)
    ),
    *(
        _call(f"{name}", f"call({number}, -1, -1, -1, -1, -1)", why_no_control=_HARMS, seccomp_only=False)
        for name, number in (
            ("init_module", 175),
            ("delete_module", 176),
            ("kexec_load", 246),
            ("reboot", 169),
            ("swapon", 167),
            ("acct", 163),
            ("settimeofday", 164),
            ("clock_settime", 227),
            ("sethostname", 170),
            ("quotactl", 179),
            ("pivot_root", 155),
            ("umount2", 166),
            ("iopl", 172),
            ("ioperm", 173),
        )
    ),
    _call(
        "a 32-bit system call",
        "def ask():\n"
        "    getpid = machine_code(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
        "    if getpid() != os.getpid(): raise OSError(errno.ENOSYS, '')\n"
        "in_child(ask)",
        ("EINTR", "EFAULT"),
        why_no_control="not every kernel has them",
    ),
    _call(
        "a system call of x32",
        "in_child(lambda: call(0x40000000 | 39))",
        ("EINTR", "ENOSYS"),
        why_no_control="not every kernel has x32",
    ),
    *(
        Attempt(
            8,
            f"make a namespace: {name}",
            "seccomp, capabilities",
            f"def clone():\n    if call(56, {flag:#x} | 17, 0, 0, 0, 0) == 0: os._exit(0)\nin_child(clone)",
            ("EPERM",),
        )
        for name, flag in (
            ("mount", 0x20000),
            ("cgroup", 0x2000000),
            ("uts", 0x4000000),
            ("ipc", 0x8000000),
            ("pid", 0x20000000),
            ("network", 0x40000000),
        )
    ),
    _call(
        "make a namespace with clone3",
        "def clone():\n"
        "    if call(435, struct.pack('QQQQQQQQ', 0x20000, 0, 0, 0, 17, 0, 0, 0), 64) == 0: os._exit(0)\n"
        "in_child(clone)",
        ("ENOSYS", "EPERM"),
        seccomp_only=False,
    ),
    *(
        _call(
            f"push input into a terminal ({name})",
            "def push():\n"
            "    master, slave = os.openpty()\n"
            "    os.setsid() if os.getpid() != os.getsid(0) else None\n"
            "    fcntl.ioctl(slave, 0x540e, 0)\n"
            f"    call(16, slave, {request:#x}, ctypes.c_char_p(b'x'))\n"
            "in_child(push)",
            ("EPERM", "EIO"),
        )
        for name, request in (("TIOCSTI", 0x5412), ("TIOCSTI with a high bit", 0x100005412))
    ),
    _call("watch who opens files (inotify)", "os.close(call(294, 0))", ("EPERM",)),
    _call("watch who changes files (F_NOTIFY)", "fcntl.fcntl(os.open('/usr', os.O_RDONLY), 1026, 2)", ("EPERM",)),
    # --- 9
    Attempt(
        9,
        "find a cgroup to write to",
        "mount namespace",
        "found = [root for top in ('/sys', '/run/cgroup', '/run') for root, _, names in os.walk(top)"
        " if 'cgroup.procs' in names and os.access(root + '/cgroup.procs', os.W_OK)]\n"
        "if not found: raise Nothing",
        ("nothing",),
    ),
    Attempt(
        9,
        "mount cgroup v1 with a release agent",
        "seccomp, capabilities, Landlock",
        "def mount():\n"
        "    if not target['inside']: call(272, 0x20000)\n"
        "    call(165, b'none', tempfile.mkdtemp().encode(), b'cgroup', 0, b'none,name=attack')\n"
        "in_child(mount)",
        ("EPERM",),
    ),
    Attempt(
        9,
        "mount cgroup v2",
        "seccomp, capabilities, Landlock",
        "def mount():\n"
        "    if not target['inside']: call(272, 0x20000)\n"
        "    call(165, b'none', tempfile.mkdtemp().encode(), b'cgroup2', 0, 0)\n"
        "in_child(mount)",
        ("EPERM",),
    ),
    # --- 10
    Attempt(
        10,
        "open anything of /proc/sys for writing",
        "account",
        "found = []\n"
        "for root, _, names in os.walk('/proc/sys'):\n"
        "    for name in names:\n"
        "        try:\n"
        "            fd = os.open(f'{root}/{name}', os.O_WRONLY | os.O_NONBLOCK)\n"
        "            if name == 'ns_last_pid': os.write(fd, b'100')  # anybody may open it, and not write\n"
        "            found.append(f'{root}/{name}')\n"
        "        except OSError: continue\n"
        "if not found: raise Nothing",
        ("nothing",),
        False,
        "writing to some of these files does things",
    ),
    Attempt(
        10,
        "write core_pattern",
        "account",
        "os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))",
        ("EACCES", "EPERM"),
    ),
    Attempt(
        10,
        "reach sysrq",
        "mask",
        "fd = os.open('/proc/sysrq-trigger', os.O_WRONLY)\n"
        "if os.fstat(fd).st_rdev == os.makedev(1, 3): raise Nothing  # it is /dev/null",
        ("nothing", "EACCES", "ENOENT"),
        False,
        "not every kernel has it",
    ),
    Attempt(
        10,
        "find a place of the host through mountinfo",
        "mount namespace",
        "found = []\n"
        "for line in open('/proc/self/mountinfo'):\n"
        "    root, point = line.split()[3:5]\n"
        "    if ' - tmpfs ' in line: continue  # its own scratch space\n"
        "    # what is staged at its own path is no secret; a path of the host must lead nowhere else\n"
        "    if root not in ('/', point) and not root.startswith('/usr/') and os.path.exists(root):\n"
        "        if not os.path.samefile(root, point): found.append(root)\n"
        "if any(word in open('/proc/self/mountinfo').read() for word in target['secrets']): found.append('secret')\n"
        "if not found: raise Nothing",
        ("nothing",),
        False,
        "the paths that it looks for are those of a cell's mounts",
    ),
    Attempt(
        10,
        "open a path of the host",
        "mount namespace",
        "open(target['file']).read()",
        ("ENOENT",),
    ),
    Attempt(
        10,
        "leave a core dump",
        "limits",
        "resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))",
        ("nothing",),
    ),
    # --- 11
    Attempt(
        11,
        "find a descriptor that is not its own",
        "closed descriptors",
        "import stat\n"
        "found = []\n"
        "for fd in map(int, os.listdir('/proc/self/fd')):\n"
        "    try: info = os.fstat(fd)\n"
        "    except OSError: continue  # the one that listed them\n"
        "    own = os.stat(os.path.expanduser('~')).st_dev\n"
        "    if fd > 2 and (stat.S_ISDIR(info.st_mode) or stat.S_ISBLK(info.st_mode)): found.append(fd)\n"
        "    if fd > 2 and stat.S_ISREG(info.st_mode) and info.st_dev != own and info.st_nlink: found.append(fd)\n"
        "    if stat.S_ISSOCK(info.st_mode):\n"
        "        with socket.socket(fileno=os.dup(fd)) as s:\n"
        "            name = s.getsockname() if s.family == socket.AF_UNIX else ''\n"
        "            if isinstance(name, str) and name and target['own_directory'] not in name: found.append(name)\n"
        "if not found: raise Nothing",
        ("nothing",),
        False,
        "it is about what a cell inherits",
        fresh=True,
    ),
)


def source(attempt: Attempt, target: dict[str, object]) -> str:
    """Return the program as text that prints one line: ``reached``, ``refused ERRNO``, ``nothing`` or ``failed …``."""
    body = "\n".join("    " + line for line in attempt.program.splitlines())
    return (
        f"{PRELUDE}\ntarget = {target!r}\n"
        f"try:\n{body}\n    print('reached')\n"
        "except Nothing:\n    print('nothing')\n"
        "except OSError as exc:\n    print('refused', errno.errorcode.get(exc.errno, exc.errno))\n"
        "except ValueError as exc:\n    print('nothing' if 'not allowed to raise' in str(exc) else f'failed {exc!r}')\n"
        "except BaseException as exc:\n    print('failed', repr(exc))\n"
    )
