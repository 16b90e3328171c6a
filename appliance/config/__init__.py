"""The configuration: one TOML file, frozen into typed values before anything starts.

Every key has a default, a unit in its name and a reason in ``metadata["doc"]``; `render` with comments prints them all.
Unknown keys and wrong types are errors that name the key.
"""

from __future__ import annotations

from appliance.config.accounts import gid_of, uid_of
from appliance.config.addresses import TcpAddress, UnixAddress, listen_address
from appliance.config.checks import LOG_LEVELS, MAX_RUNTIME_DIR_BYTES, OPTIONAL_LAYERS, ROLE_IDS, check_environment
from appliance.config.files import (
    DECLARATION,
    SYSTEM_FILE,
    declarations,
    declared_environment,
    environment_python,
    load,
)
from appliance.config.model import DEFAULT_PROFILE, MIN_KERNEL_SLOTS, PACKAGE_DIR, PACKAGED_ENVIRONMENTS_DIR, Config
from appliance.config.tables import (
    Clocks,
    Egress,
    Environment,
    Ids,
    Metrics,
    Output,
    Permalink,
    Pool,
    Profile,
    Quota,
    RequestLog,
    Results,
    Sandbox,
    Users,
    Web,
)
from appliance.config.text import parse, render

__all__ = [
    "DECLARATION",
    "DEFAULT_PROFILE",
    "LOG_LEVELS",
    "MAX_RUNTIME_DIR_BYTES",
    "MIN_KERNEL_SLOTS",
    "OPTIONAL_LAYERS",
    "PACKAGED_ENVIRONMENTS_DIR",
    "PACKAGE_DIR",
    "ROLE_IDS",
    "SYSTEM_FILE",
    "Clocks",
    "Config",
    "Egress",
    "Environment",
    "Ids",
    "Metrics",
    "Output",
    "Permalink",
    "Pool",
    "Profile",
    "Quota",
    "RequestLog",
    "Results",
    "Sandbox",
    "TcpAddress",
    "UnixAddress",
    "Users",
    "Web",
    "check_environment",
    "declarations",
    "declared_environment",
    "environment_python",
    "gid_of",
    "listen_address",
    "load",
    "parse",
    "render",
    "uid_of",
]
