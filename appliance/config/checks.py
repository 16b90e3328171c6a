"""What the values of the configuration must be beside their types; each error names the key."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import attrs

from appliance.config.addresses import listen_address
from appliance.errors import ConfigError
from appliance.protocol import egress as egress_rules

if TYPE_CHECKING:
    from appliance.config.model import Config
    from appliance.config.tables import Environment

#: Layers of confinement that not every host offers.
OPTIONAL_LAYERS = ("cgroup", "overlay", "landlock", "selinux")

#: sun_path holds 108 bytes (unix(7)); the longest name below the runtime directory is kernels/<36>/control.
MAX_RUNTIME_DIR_BYTES = 50

LOG_LEVELS = ("debug", "info", "warn", "error")

#: A result is sent at once, and this much is kept for a browser that does not read (`appliance.web.websocket`).
LARGEST_RESULT_BYTES = 8_388_608

#: Ids after the range that ``cellctl serve`` gives to roles that have no account on the host.
ROLE_IDS = 5

#: The request log is kept in sixteen files at least, and one event may have a megabyte.
MIN_REQUESTLOG_BYTES = 33_554_432

#: Ids are 32-bit; the last one means "none" to chown(2).
_MAX_ID = 2**32 - 2

#: Names of environments and profiles become names of directories, units and processes.
_TABLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

#: Names of kernelspecs are names of directories (Jupyter client, "Kernel specs").
_KERNELSPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[^\0]*", re.DOTALL)


def check_name(where: str, name: str) -> None:
    """Raise `ConfigError` when ``name`` cannot be that of an environment or a profile."""
    if not _TABLE_NAME.fullmatch(name):
        raise ConfigError(f"{where}: {name!r} is no name; use 1 to 32 of a-z, 0-9 and -")


def check(config: Config) -> None:
    """Raise `ConfigError` naming the first key whose value cannot be."""
    for name in ("runtime_dir", "state_dir", "environments_dir"):
        value = getattr(config, name)
        if not os.path.isabs(value):
            raise ConfigError(f"{name}: must be an absolute path, found {value!r}")
    if len(os.fsencode(config.runtime_dir)) > MAX_RUNTIME_DIR_BYTES:
        raise ConfigError(
            f"runtime_dir: {config.runtime_dir!r} is longer than {MAX_RUNTIME_DIR_BYTES} bytes, "
            "too long for the names of the sockets in it (unix(7))"
        )
    for layer in config.sandbox.require:
        if layer not in OPTIONAL_LAYERS:
            raise ConfigError(f"sandbox.require: expected names out of {', '.join(OPTIONAL_LAYERS)}, found {layer!r}")
    if config.log_level not in LOG_LEVELS:
        raise ConfigError(f"log_level: expected {', '.join(LOG_LEVELS)}, found {config.log_level!r}")
    listen_address(config.web.listen)
    if config.metrics.listen:
        config.metrics_address  # noqa: B018 - raises
    for name, environment in config.environment.items():
        check_environment(name, environment)
        if environment.ready is not None and environment.ready > config.pool.max_kernels:
            raise ConfigError(f"environment.{name}.ready: must not be larger than pool.max_kernels")
    for name, number in (("max_kernels", config.pool.max_kernels), ("max_starting", config.pool.max_starting)):
        if number < 1:
            raise ConfigError(f"pool.{name}: must be at least 1")
    for name, number in attrs.asdict(config.output).items():
        if number < 1:
            raise ConfigError(f"output.{name}: must be at least 1")
    _check_egress(config)
    if not 0 < config.results.max_result_bytes <= min(config.results.max_bytes, LARGEST_RESULT_BYTES):
        raise ConfigError(
            f"results.max_result_bytes: must be from 1 to {LARGEST_RESULT_BYTES}, and no more than results.max_bytes"
        )
    if config.results.keep_seconds <= 0:
        raise ConfigError("results.keep_seconds: must be more than 0; results.enabled = false keeps none")
    for name in ("max_upload_bytes_per_kernel", "max_uploading_bytes"):
        if getattr(config.web, name) < config.web.max_upload_bytes:
            raise ConfigError(f"web.{name}: must be at least web.max_upload_bytes, {config.web.max_upload_bytes}")
    for name in ("transfer_seconds", "body_seconds"):
        if not getattr(config.web, name) >= 1:
            raise ConfigError(f"web.{name}: must be at least 1")
    for name, directory in config.data_directories.items():
        if not os.path.isabs(directory) or os.path.normpath(directory) != directory or directory == "/":
            raise ConfigError(f"profile.{name}.data: must be the absolute path of a directory, found {directory!r}")
    if config.requestlog.address not in ("short", "full", "none"):
        raise ConfigError(f"requestlog.address: expected short, full or none, found {config.requestlog.address!r}")
    if config.requestlog.syslog:
        config.syslog_address  # noqa: B018 - raises
    if config.requestlog.max_bytes < MIN_REQUESTLOG_BYTES or config.requestlog.retention_days < 1:
        raise ConfigError(f"requestlog: max_bytes must be at least {MIN_REQUESTLOG_BYTES}, retention_days at least 1")
    for name, value in attrs.asdict(config.permalink).items():
        least = 1 if name.startswith("max_") else 0
        if isinstance(value, int) and value < least:
            raise ConfigError(f"permalink.{name}: must be at least {least}")
    if config.pool.ready > config.pool.max_kernels:
        raise ConfigError("pool.ready: must not be larger than pool.max_kernels")
    if config.ids.count < 2 * config.pool.max_kernels + 2000:
        raise ConfigError("ids.count: must be at least twice pool.max_kernels + 2000")
    if config.ids.base == 0 or config.ids.base + config.ids.count + ROLE_IDS > _MAX_ID:
        raise ConfigError(f"ids: base must not be 0, and base + count + {ROLE_IDS} must not exceed {_MAX_ID}")


def check_environment(name: str, environment: Environment) -> None:
    """Raise `ConfigError` naming what is wrong in an environment, whatever else is configured."""
    if environment.kernelspec and not _KERNELSPEC.fullmatch(environment.kernelspec):
        raise ConfigError(f"environment.{name}.kernelspec: {environment.kernelspec!r} is no name of a kernelspec")
    for variable in environment.variables:
        if not _VARIABLE.fullmatch(variable):
            raise ConfigError(f"environment.{name}.variables: expected NAME=VALUE, found {variable!r}")


def _check_egress(config: Config) -> None:
    for name, number in attrs.asdict(config.egress).items():
        if isinstance(number, int | float) and number <= 0:
            raise ConfigError(f"egress.{name}: must be more than 0")
    try:
        where = "egress.allow_addresses"
        for text in config.egress.allow_addresses:
            egress_rules.parse_network(text)
        for profile in config.egress_profiles:
            where = f"profile.{profile}.egress"
            for text in config.profile[profile].egress:
                egress_rules.parse_rule(text)
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
