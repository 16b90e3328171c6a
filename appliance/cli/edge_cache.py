"""What nginx keeps of permalinks, so that a takedown ends it at once (`nginx/permalinks.conf`)."""

from __future__ import annotations

import os
import pathlib
import stat

#: Where nginx keeps it: ``CacheDirectory=`` of its unit.
DIRECTORY = pathlib.Path("/var/cache/cell-appliance/permalinks")


def clear(directory: pathlib.Path = DIRECTORY) -> int:
    """Remove every file of the cache; return how many. nginx asks again for what is gone. Raises `OSError`.

    The directory is another account's: no link in it is followed (os.fwalk).
    """
    removed = 0
    if not directory.is_dir():
        return removed
    for _, _, names, handle in os.fwalk(directory, follow_symlinks=False):
        for name in names:
            try:
                if stat.S_ISREG(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=handle)
                    removed += 1
            except FileNotFoundError:
                continue  # nginx was faster
    return removed
