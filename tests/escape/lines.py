"""The list of attacks: what hostile code tries, by number."""

from __future__ import annotations

LINES = {
    1: "read /proc of pool, zygote and other kernels",
    2: "ptrace a sibling, read its memory",
    3: "signal everything",
    4: "connect to ports and sockets of the host",
    5: "speak the pool's protocol",
    6: "tell the service manager lies",
    7: "gain privileges: set-user-id, capabilities, a new user namespace",
    8: "reach system calls that no program needs",
    9: "change cgroups",
    10: "learn of the host or change it through /proc",
    11: "use inherited descriptors",
    12: "talk to another kernel over a covert channel",
    13: "leave something for the next visitor",
    14: "share randomness with another kernel",
    15: "links, pipes, devices and swapped directories where the host works",
    16: "names of files",
    17: "a step of the set-up fails",
    18: "hostile messages",
    19: "bombs of processes and threads",
    20: "memory",
    21: "files",
    22: "output without end",
    23: "a kernel that does not listen",
    24: "processor time",
    25: "connections and requests without end",
    26: "a compressed bomb in an address",
    27: "pretend to be many",
    28: "200 starts at once",
    29: "reach a network",
    30: "default credentials",
    31: "output that attacks its page",
    32: "a page that evaluates in somebody else's frame",
    33: "WebSockets of other sites",
    34: "somebody else's kernel id",
    35: "injection by arguments",
    36: "permalinks",
    37: "postMessage from the wrong window",
    38: "every route, with anything",
    39: "roles that die, stop, or have no disk",
    40: "injection into logs",
    41: "all of it with SELinux enforcing",
    42: "output of one's own under the program of others",
}

#: What cannot be tried on an ordinary test machine, and why.
ELSEWHERE: dict[int, tuple[str, ...]] = {
    39: ("the watchdog is systemd's: tests/packaging",),
    41: ("needs a machine that enforces SELinux: ./dev test vm",),
}
