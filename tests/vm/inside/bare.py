#!/usr/lib/cell-appliance/bin/python -I
"""Do forbidden things with every layer of a kernel's confinement taken away but the policy.

The one argument is JSON: a list of attempts, each with ``context`` (empty: stay as it is), ``uid``, ``before``, Python
that runs while it is still root, and ``code``, Python that makes the attempt. Each is made by a process of its own: it
runs ``before``, becomes that account and domain, and runs ``code``. Prints a JSON list: "done", or the error of each.

The one layer: no namespace, no control group, no filter of system calls, no Landlock, no limit, and any account.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys


def attempt(context: str, uid: int, before: str, code: str) -> str:
    """Make one attempt; return what became of it."""
    # no descriptor of the parent's, which the policy would have a say about
    shared = mmap.mmap(-1, 4096)
    pid = os.fork()
    if pid == 0:
        names = {"os": os, "socket": socket, "libc": ctypes.CDLL(None)}
        try:
            exec(before, names)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            if context:
                # no O_CREAT, which the policy would be asked about
                os.write(os.open("/proc/self/attr/current", os.O_WRONLY), context.encode())
        except BaseException as exc:  # noqa: BLE001
            shared.write(f"not tried: {exc!r}".encode())
            os._exit(0)
        try:
            exec(code, names)
            shared.write(b"done")
        except BaseException as exc:  # noqa: BLE001
            shared.write(type(exc).__name__.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return shared[:].rstrip(b"\0").decode()


print(json.dumps([attempt(**each) for each in json.loads(sys.argv[1])]), flush=True)
