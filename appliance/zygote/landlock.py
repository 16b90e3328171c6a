"""A second fence around the file system, where Linux has Landlock (landlock(7), since 5.13).

It says again what mounts and account already say: read everything that is staged, write only to the scratch space and
to devices. If a mount were ever wrong, this would still hold.
"""

from __future__ import annotations

import ctypes
import os
import struct

#: The three system calls have the same numbers on every architecture.
_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
#: Rights known to each ABI version: 1 the first thirteen, 2 refer, 3 truncate, 5 ioctl on devices.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
#: ABI 6: no signals to, and no abstract sockets of, processes outside.
_SCOPES = {6: 0b11}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"landlock: {os.strerror(error)}")
    return result


def version() -> int:
    """Return the ABI version, 0 where Linux has no Landlock or it is switched off."""
    try:
        return _call(_SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))
    except OSError:
        return 0


def restrict(abi: int, writable: tuple[str, ...], devices: str, proc: str) -> None:
    """Confine this process: everything may be read and executed, only ``writable`` trees may be changed.

    Files below ``devices`` and ``proc`` may be written to, as their own permissions allow, but none can be made there.
    Needs no_new_privs. Raises `OSError`.
    """
    rights = _RIGHTS[min(abi, max(_RIGHTS))]
    scopes = _SCOPES[6] if abi >= 6 else 0
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net (none: the namespace is the fence), scoped
    attribute = struct.pack("=QQQ", rights, 0, scopes)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _call(_SYS_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0))
    try:
        look = _EXECUTE | _READ_FILE | _READ_DIR
        _allow(ruleset, "/", look & rights)
        for path in writable:
            _allow(ruleset, path, rights)
        for path in (devices, proc):
            _allow(ruleset, path, (look | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & rights)
        _call(_SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr is packed
        rule = struct.pack("=Qi", rights, fd)
        _call(_SYS_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)
