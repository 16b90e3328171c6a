"""A category pair for each kernel, where SELinux runs and our policy module is loaded.

While single-threaded a process may change its own domain (``dyntransition``) by writing to /proc/self/attr/current. A
kernel goes from ``cell_zygote_t:s0`` to ``cell_kernel_t:s0:cA,cB`` with a pair that no other live kernel has. The type
is ``mcs_constrained`` in the policy: two pairs cannot touch each other's files, sockets or processes. Pairs follow from
slots, and slots are unique while their kernel lives.
"""

from __future__ import annotations

CURRENT = "/proc/self/attr/current"
ZYGOTE_TYPE = "cell_zygote_t"
KERNEL_TYPE = "cell_kernel_t"
SCRATCH_TYPE = "cell_kernel_scratch_t"
#: Categories c0 to c1023 (the default of targeted and mcs policies).
CATEGORIES = 1024


def pair(slot: int) -> tuple[int, int]:
    """Return two different categories, low one first, that no other slot from 0 to 523 775 has."""
    if not 0 <= slot < CATEGORIES * (CATEGORIES - 1) // 2:
        raise ValueError(f"no category pair for slot {slot}")
    # Pairs are numbered along the rows (1,0) (2,0) (2,1) (3,0) …: row r holds r of them.
    row = int(((8 * slot + 1) ** 0.5 + 1) / 2)
    if row * (row - 1) // 2 > slot:
        row -= 1
    return slot - row * (row - 1) // 2, row


def unavailable() -> str:
    """Return why kernels are not confined by SELinux, or an empty text when they can be."""
    try:
        with open(CURRENT, encoding="ascii") as file:
            context = file.read().rstrip("\0\n")
    except OSError:
        return "this kernel has no SELinux"
    fields = context.split(":")
    if len(fields) < 4:
        return "SELinux is not active on this host"
    if fields[2] != ZYGOTE_TYPE:
        return f"the policy module is not loaded: this process runs in {fields[2]}, not in {ZYGOTE_TYPE}"
    return ""


def kernel_context(context: str, slot: int) -> str:
    """Return the context of the kernel in ``slot`` forked by a zygote in ``context``."""
    user, role, _, _ = context.rstrip("\0\n").split(":", 3)
    low, high = pair(slot)
    return f"{user}:{role}:{KERNEL_TYPE}:s0:c{low},c{high}"


def scratch_context(slot: int) -> str:
    """Return the context of all files in the scratch space of the kernel in ``slot``; they cannot get another one.

    Source: mount(8), context=. For a user namespace's tmpfs Linux takes it as well.
    """
    low, high = pair(slot)
    return f"system_u:object_r:{SCRATCH_TYPE}:s0:c{low},c{high}"


def confine(slot: int) -> None:
    """Enter the domain of the kernel in ``slot``. Raises `OSError` when the policy refuses."""
    with open(CURRENT, encoding="ascii") as file:
        context = file.read()
    with open(CURRENT, "w", encoding="ascii") as file:
        file.write(kernel_context(context, slot))
