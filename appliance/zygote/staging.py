"""The read-only root that kernels see, built by the launcher as a tree of bind mounts on a small tmpfs.

It holds the system's /usr, copies of the few files of /etc that programs need, the environment, a copy of this
package's kernel side and empty directories for what each kernel mounts itself. Nothing else of the host has a name
in it.

What two kernels can both open they can lock, and a lock that one holds the other sees. So each kernel gets inodes of
its own: its root is made of read-only overlays, one over each part of the staged root (`LOWER`), and its devices are
nodes of its own (`DEVICES`). Both must be prepared before the user namespace is entered: overlayfs refuses what has
locked mounts below it, and nobody makes devices in a user namespace. Source: Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
from typing import TYPE_CHECKING

from appliance.zygote import cgroup, linux
from appliance.zygote.sandbox import DATA, DEVICES, EGRESS, HOME, LOWER, NOTHING, SCRATCH, STAGED_DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the package's own modules lie in the staged root; on the zygote's module path.
CODE = "/run/code"

#: Bytes of the staging tmpfs: it holds directories, links and small files, of which certificates are the largest.
STAGING_BYTES = 64 << 20

_OTHERS_MAY_LIST = stat.S_IROTH | stat.S_IXOTH
_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "protocols",
    "R",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_FILES = {
    "/etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "/etc/group": "root:x:0:\nnobody:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost cell\n::1 localhost cell\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/hostname": "cell\n",
}
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_DIRECTORIES = ("/proc", "/sys", "/dev", "/dev/shm", "/dev/pts", "/tmp", "/var/tmp", SCRATCH, NOTHING, CODE, HOME)  # noqa: S108


#: Each kernel, or the zygote, mounts something of its own here: what lies below on the host cannot be seen.
_COVERED = ("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/run", DATA, HOME)  # noqa: S108
#: Where an environment below a covered directory is staged instead of at its own path.
RELOCATED = "/run/environment"


def _covered(path: str) -> bool:
    return any(path == covered or path.startswith(f"{covered}/") for covered in _COVERED)


def environment_prefix(python: str) -> str:
    """Return the directory of the virtual environment that the interpreter ``python`` belongs to."""
    return os.path.dirname(os.path.dirname(python))


def staged_tree(tree: str) -> str:
    """Return the path of the host's directory ``tree`` in the staged root: its own, unless something covers that."""
    return f"{RELOCATED}{tree}" if _covered(tree) else tree


def staged_interpreter(python: str) -> str:
    """Return the path of the interpreter ``python`` in the staged root: its own, unless something covers that."""
    prefix = environment_prefix(python)
    if _covered(prefix):
        return RELOCATED + python[len(prefix) :]
    return python


def interpreter_trees(python: str) -> list[str]:
    """Return the directories that the interpreter ``python`` needs beside /usr and its virtual environment.

    Raises `OSError` when there is no such interpreter.
    """
    path = pathlib.Path(python)
    trees = [str(path.resolve(strict=True).parent.parent)]
    config = path.parent.parent / "pyvenv.cfg"
    if config.exists():
        for line in config.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                trees.append(str(pathlib.Path(value.strip()).parent))
    own = environment_prefix(python)
    return sorted({tree for tree in trees if tree not in ("/usr", own) and not tree.startswith("/usr/")})


def stage(
    root: str,
    python: str,
    *,
    recursive: bool,
    egress: str = "",
    trees: tuple[str, ...] = (),
    data: Mapping[str, str] | None = None,
) -> list[str]:
    """Build the root for the environment of ``python`` on the directory ``root``; return the paths of its parts.

    ``egress``: the directory of the egress proxy's sockets, empty for none.
    ``trees``: further directories that the environment's kernels need.
    ``data``: the directory of data sets of each profile that has some.
    ``recursive``: bind with what is mounted below, which a user namespace demands for mounts it did not make.
    Raises `OSError` naming the mount that failed.
    """
    linux.mount("root", root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"size={STAGING_BYTES},mode=0755")
    tree = _Tree(root, recursive)
    for directory in _DIRECTORIES:
        tree.directory(directory)
    tree.directory(cgroup.MOUNT_POINT)
    tree.bind("/usr")
    for name in _MERGED:
        if os.path.islink(name):
            os.symlink(os.readlink(name), f"{root}{name}")
        elif os.path.isdir(name):
            tree.bind(name)
    for name in _ETC:
        tree.copy(f"/etc/{name}", missing_ok=True)
    for name, text in _FILES.items():
        tree.file(name, text)
    for name in _DEVICES:
        tree.file(f"/dev/{name}", "")
        linux.mount(f"/dev/{name}", f"{root}/dev/{name}", "", linux.MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    for path in interpreter_trees(python):
        tree.bind(path)
    for path in trees:
        tree.bind(path, staged_tree(path))
    if environment_prefix(python) != "/usr":
        tree.bind(environment_prefix(python), environment_prefix(staged_interpreter(python)))
    tree.file(f"{CODE}/appliance/__init__.py", "")
    for name in ("zygote", "kernel", "signature.py"):
        tree.copy(str(_PACKAGE / name), f"{CODE}/appliance/{name}")
    parts = ["/", *sorted(tree.bound)]
    if egress:
        tree.bind(egress, EGRESS)
    if data:
        tree.directory(DATA)
    for profile, directory in (data or {}).items():
        # of no use below: what is mounted in it, and programs
        target = tree.directory(f"{STAGED_DATA}/{profile}")
        linux.bind(directory, target, recursive=recursive, more=linux.MS_NODEV | linux.MS_NOEXEC)
    for number in range(len(parts)):
        tree.directory(f"{LOWER}/{number}")
    tree.directory(DEVICES)
    flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("none", root, "", flags)
    return parts


def stage_overlays(root: str, parts: list[str], kernels: int, owner: int) -> None:
    """Make what overlays need, while still outside the user namespace that ``owner`` will be root of.

    ``parts``: what `stage` returned. ``kernels``: for how many there must be devices. Raises `OSError`.
    """
    for number, part in enumerate(parts):
        # without what is mounted below
        linux.bind(f"{root}{part}", f"{root}{LOWER}/{number}")
    devices = f"{root}{DEVICES}"
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devices", devices, "tmpfs", flags, "mode=0700")
    for kernel in range(kernels):
        directory = f"{devices}/{kernel}"
        for name in ("", "/pts", "/shm"):
            os.mkdir(f"{directory}{name}", 0o755)
        for name in _DEVICES:
            os.mknod(f"{directory}/{name}", stat.S_IFCHR, os.stat(f"/dev/{name}").st_rdev)
            os.chmod(f"{directory}/{name}", 0o666)  # noqa: S103 - as in every /dev
        for name, target in _DEVICE_LINKS.items():
            os.symlink(target, f"{directory}/{name}")
    os.chown(devices, owner, owner)
    linux.mount("devices", devices, "tmpfs", flags | linux.MS_REMOUNT | linux.MS_RDONLY, "mode=0700")


class _Tree:
    """Makes names below a root, never following a link of the root itself."""

    def __init__(self, root: str, recursive: bool) -> None:
        self._root = root
        self._recursive = recursive
        #: Directories that were bound.
        self.bound: list[str] = []

    def directory(self, path: str) -> str:
        """Make the directory ``path`` and its parents, readable by every account."""
        target = f"{self._root}{path}"
        os.makedirs(target, mode=0o755, exist_ok=True)
        return target

    def file(self, path: str, text: str) -> str:
        """Make the file ``path``."""
        self.directory(os.path.dirname(path))
        target = f"{self._root}{path}"
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
        return target

    def bind(self, source: str, path: str = "", *, missing_ok: bool = False) -> None:
        """Bind the host's ``source`` read-only on ``path``, by default the same name."""
        path = path or source
        if missing_ok and not os.path.exists(source):
            return
        if not os.path.isdir(source):
            linux.bind(source, self.file(path, ""))
            return
        linux.bind(source, self.directory(path), recursive=self._recursive)
        self.bound.append(path)

    def copy(self, source: str, path: str = "", *, missing_ok: bool = False) -> None:
        """Copy what everyone may read of the host's ``source`` to ``path``, by default the same name."""
        if missing_ok and not os.path.exists(source):
            return
        self.directory(os.path.dirname(path or source))
        copy_public(source, f"{self._root}{path or source}")


def copy_public(source: str, target: str) -> None:
    """Copy a file, a link or a tree, without owners, labels and other attributes.

    What the host does not let everyone read is left out: copies belong to nobody and everyone may read them, and beside
    certificates there are keys (/etc/pki/tls/private).
    """
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        if status.st_mode & _OTHERS_MAY_LIST == _OTHERS_MAY_LIST:
            os.mkdir(target, 0o755)
            for name in os.listdir(source):
                copy_public(f"{source}/{name}", f"{target}/{name}")
    elif stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        shutil.copyfile(source, target)
        # Compiled modules are for the source of this very time.
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
