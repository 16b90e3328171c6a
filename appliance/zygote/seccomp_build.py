"""Compile `seccomp_policy` to BPF programs: ``python -m appliance.zygote.seccomp_build DIRECTORY``.

Runs at build time only; libseccomp does the work (seccomp_rule_add(3), seccomp_export_bpf(3)). The programs are for the
architecture they are built on and say so in their first instructions.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import sys
import tempfile

from appliance.zygote import seccomp_policy as policy

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_NO_SYSCALL = -1
#: enum scmp_filter_attr: action for calls of another architecture; binary-tree order of the rules.
_ATTRIBUTE_BAD_ARCH = 2
_ATTRIBUTE_OPTIMIZE = 8
_CMP_EQ = 4
_CMP_MASKED_EQ = 7


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _errno_action(number: int) -> int:
    return 0x00050000 | number


class Filter:
    """A libseccomp filter under construction."""

    def __init__(self, default: int) -> None:
        """Start a filter with a default action. Raises `OSError` when libseccomp is not installed."""
        self._lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        context = self._lib.seccomp_init(ctypes.c_uint32(default))
        if not context:
            raise OSError("seccomp_init failed")
        self._context = ctypes.c_void_p(context)
        self._call("seccomp_attr_set", ctypes.c_int(_ATTRIBUTE_BAD_ARCH), ctypes.c_uint32(_KILL_PROCESS))
        self._call("seccomp_attr_set", ctypes.c_int(_ATTRIBUTE_OPTIMIZE), ctypes.c_uint32(2))

    def add(self, action: int, name: str, *comparisons: _Comparison) -> bool:
        """Add a rule; return False when this architecture has no such call."""
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SYSCALL or number < 0:
            return False
        array = (_Comparison * len(comparisons))(*comparisons)
        self._call(
            "seccomp_rule_add_array", ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(array)), array
        )
        return True

    def export(self) -> bytes:
        """Return the BPF program."""
        with tempfile.TemporaryFile() as file:
            self._call("seccomp_export_bpf", ctypes.c_int(file.fileno()))
            file.seek(0)
            return file.read()

    def _call(self, function: str, *arguments: object) -> None:
        result = getattr(self._lib, function)(self._context, *arguments)
        if result < 0:
            raise OSError(-result, f"{function}: {os.strerror(-result)}")


def build_without_cgroup() -> bytes:
    """Return what is refused besides where no cgroup counts memory. Raises `OSError` when libseccomp refuses a rule."""
    seccomp = Filter(_ALLOW)
    for name in policy.UNCOUNTED:
        seccomp.add(_errno_action(errno.ENOSYS), name)
    return seccomp.export()


def build() -> bytes:
    """Return the compiled policy. Raises `OSError` when libseccomp refuses a rule."""
    seccomp = Filter(_errno_action(errno.ENOSYS))
    for name in policy.ALLOWED:
        if name not in ("clone", "personality", *policy.REFUSED_REQUESTS):
            seccomp.add(_ALLOW, name)
    for name in policy.REFUSED:
        seccomp.add(_errno_action(errno.EPERM), name)
    mask = 0
    for flag in policy.CLONE_NAMESPACE_FLAGS:
        mask |= flag
    seccomp.add(_ALLOW, "clone", _Comparison(0, _CMP_MASKED_EQ, mask, 0))
    for flag in policy.CLONE_NAMESPACE_FLAGS:
        seccomp.add(_errno_action(errno.EPERM), "clone", _Comparison(0, _CMP_MASKED_EQ, flag, flag))
    for name in ("socket", "socketpair"):
        for family in range(policy.SOCKET_FAMILY_COUNT):
            refusal = errno.EINVAL if family == policy.NETLINK else errno.EAFNOSUPPORT
            action = _ALLOW if family in policy.SOCKET_FAMILIES else _errno_action(refusal)
            seccomp.add(action, name, _Comparison(0, _CMP_EQ, family, 0))
    # The kernel takes the request as 32 bits, so only those are compared. "Differs from" is spelled as one rule a bit:
    # libseccomp has no masked inequality, and a plain one would let the request slip past with a high bit set.
    for name, refused in policy.REFUSED_REQUESTS.items():
        seccomp.add(_errno_action(errno.EPERM), name, _Comparison(1, _CMP_MASKED_EQ, 0xFFFFFFFF, refused))
        for bit in range(32):
            seccomp.add(_ALLOW, name, _Comparison(1, _CMP_MASKED_EQ, 1 << bit, ~refused & 1 << bit))
    for value in policy.PERSONALITIES:
        seccomp.add(_ALLOW, "personality", _Comparison(0, _CMP_EQ, value, 0))
    return seccomp.export()


def main() -> None:
    """Write the programs to the directory named on the command line, each atomically."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m appliance.zygote.seccomp_build DIRECTORY")
    for name, program in (("seccomp-without-cgroup.bpf", build_without_cgroup()), ("seccomp.bpf", build())):
        target = pathlib.Path(sys.argv[1]) / name
        temporary = target.with_suffix(".tmp")
        temporary.write_bytes(program)
        temporary.replace(target)


if __name__ == "__main__":
    main()
