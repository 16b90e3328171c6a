"""Data sets of the administrator's that kernels of a profile read at /data: whether they are where they should be."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from appliance.config import Config

_OTHERS_MAY_LIST = stat.S_IROTH | stat.S_IXOTH


def check(config: Config) -> None:
    """Raise `ConfigError` naming the profile whose data sets are missing, or closed to kernels."""
    for name, directory in config.data_directories.items():
        where = f"profile.{name}.data"
        try:
            mode = os.stat(directory).st_mode
        except OSError as exc:
            raise ConfigError(
                f"{where}: {directory} cannot be looked at ({exc.strerror}); until it is there, no kernel starts. "
                "Make it, mount what belongs there, or take the key out"
            ) from exc
        if not stat.S_ISDIR(mode):
            raise ConfigError(f"{where}: {directory} is no directory, so no kernel starts")
        if mode & _OTHERS_MAY_LIST != _OTHERS_MAY_LIST:
            raise ConfigError(
                f"{where}: {directory} is closed to accounts that do not own it, and kernels have such; "
                f"let them read it: chmod -R o+rX {directory}"
            )
