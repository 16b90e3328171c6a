"""Compile `seccomp_policy` to a BPF program: ``python -m appliance.zygote.seccomp_build OUT``.

Runs at build time only; libseccomp does the work (seccomp_rule_add(3), seccomp_export_bpf(3)). The program is for the
architecture it is built on and says so in its first instructions.
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

    def __init__(self) -> None:
        """Start a filter whose default answer is ENOSYS. Raises `OSError` when libseccomp is not installed."""
        self._lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        context = self._lib.seccomp_init(ctypes.c_uint32(_errno_action(errno.ENOSYS)))
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


def build() -> bytes:
    """Return the compiled policy. Raises `OSError` when libseccomp refuses a rule."""
    seccomp = Filter()
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
    """Write the program to the file named on the command line, atomically."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m appliance.zygote.seccomp_build OUT")
    target = pathlib.Path(sys.argv[1])
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(build())
    temporary.replace(target)


if __name__ == "__main__":
    main()
