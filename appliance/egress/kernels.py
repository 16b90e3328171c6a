"""Which accounts of the host are kernels'."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from appliance.zygote.launcher import subordinate_range
from appliance.zygote.zygote import FIRST_SLOT

if TYPE_CHECKING:
    from appliance.config import Config


def kernel_uids(config: Config) -> range:
    """Return the uids that kernels have on the host, in the order of their slots from `FIRST_SLOT` on.

    Raises `ConfigError` when an ordinary user runs the appliance and has no subordinate ids. The maps are those that
    `appliance.zygote.launcher` writes.
    """
    count = config.ids.count - FIRST_SLOT
    if config.ids.base != os.getuid():
        return range(config.ids.base + FIRST_SLOT, config.ids.base + FIRST_SLOT + count)
    uid = os.getuid()
    first, _ = subordinate_range("/etc/subuid", pwd.getpwuid(uid).pw_name, uid, config.ids.count - 1)
    # Id 0 of the range is this user, id 1 its first subordinate one.
    return range(first + FIRST_SLOT - 1, first + FIRST_SLOT - 1 + count)
