"""The whole configuration, and what follows from it."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import attrs

from appliance.config.addresses import TcpAddress, UnixAddress, listen_address
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
    key,
)
from appliance.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Environments that packages install, one directory each.
PACKAGED_ENVIRONMENTS_DIR = pathlib.Path("/usr/lib/cell-appliance/environments")

#: Profile of whoever asks for none.
DEFAULT_PROFILE = "default"

#: Accounts that kernels take in turn, at the least.
MIN_KERNEL_SLOTS = 64

#: The package ``appliance``, which holds the built front end.
PACKAGE_DIR = pathlib.Path(__file__).resolve().parent.parent


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration."""

    runtime_dir: str = key("/run/cell-appliance", "Sockets and kernel records; emptied at boot. At most 50 bytes.")
    state_dir: str = key("/var/lib/cell-appliance", "What must survive: the permalink database.")
    environments_dir: str = key(
        str(PACKAGED_ENVIRONMENTS_DIR),
        "Where environments are installed, one directory each. The declaration in one (environment.toml, see "
        "cellctl env) counts as a table [environment.NAME], unless there is such a table.",
    )
    log_level: str = key("info", "One of debug, info, warn, error.")
    web: Web = attrs.field(factory=Web)
    pool: Pool = attrs.field(factory=Pool)
    clocks: Clocks = attrs.field(factory=Clocks)
    output: Output = attrs.field(factory=Output)
    quota: Quota = attrs.field(factory=Quota)
    permalink: Permalink = attrs.field(factory=Permalink)
    requestlog: RequestLog = attrs.field(factory=RequestLog)
    metrics: Metrics = attrs.field(factory=Metrics)
    egress: Egress = attrs.field(factory=Egress)
    sandbox: Sandbox = attrs.field(factory=Sandbox)
    results: Results = attrs.field(factory=Results)
    ids: Ids = attrs.field(factory=Ids)
    users: Users = attrs.field(factory=Users)
    profile: Mapping[str, Profile] = attrs.field(factory=lambda: {DEFAULT_PROFILE: Profile()})
    environment: Mapping[str, Environment] = attrs.field(factory=lambda: {"python": Environment()})

    @property
    def runtime_path(self) -> pathlib.Path:
        """The runtime directory."""
        return pathlib.Path(self.runtime_dir)

    @property
    def kernels_path(self) -> pathlib.Path:
        """Holds one directory of sockets per kernel; owned by the pool, group of the web role, mode 2750."""
        return self.runtime_path / "kernels"

    @property
    def files_path(self) -> pathlib.Path:
        """Holds the files that programs left, by kernel; its own, mode 0700. See `appliance.web.kept_files`."""
        return self.runtime_path / "files"

    @property
    def default_environment(self) -> str:
        """The environment of clients that name none."""
        usual = "python" if "python" in self.environment else next(iter(self.environment))
        return self.web.default_environment or usual

    @property
    def default_language(self) -> str:
        """The language of the page at / where its address names none."""
        name = self.web.default_environment
        return (self.environment[name].language or name) if name else "python"

    @property
    def results_path(self) -> pathlib.Path:
        """Holds kept results, which the web role makes within its own directory. See `appliance.web.results`."""
        return self.files_path / "results"

    @property
    def pool_socket(self) -> pathlib.Path:
        """AMP socket of the pool (T3); its directory is owned by the pool, group of the web role, mode 2750."""
        return self.runtime_path / "pool" / "pool.sock"

    @property
    def zygote_socket(self) -> pathlib.Path:
        """SEQPACKET socket on which the pool waits for zygotes (T4); its directory is owned by the pool, mode 0711."""
        return self.runtime_path / "zygote" / "zygote.sock"

    @property
    def permalink_socket(self) -> pathlib.Path:
        """HTTP socket of the permalink role (T8), its owner; the directory has the group of the web role, mode 2750."""
        return self.runtime_path / "permalink" / "permalink.sock"

    @property
    def requestlog_socket(self) -> pathlib.Path:
        """Socket on which the request log takes events (T10); the directory has the web role's group, mode 2750."""
        return self.runtime_path / "requestlog" / "requestlog.sock"

    @property
    def requestlog_path(self) -> pathlib.Path:
        """Holds the files of the request log; its own directory, since roles do not share state."""
        return pathlib.Path(self.requestlog.directory or f"{self.state_dir.rstrip('/')}-requests")

    @property
    def syslog_address(self) -> tuple[str, int]:
        """Host and port of the syslog server. Raises `ConfigError`."""
        host, _, port = self.requestlog.syslog.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigError(f"requestlog.syslog: expected HOST:PORT, found {self.requestlog.syslog!r}")
        return host, int(port)

    @property
    def ready(self) -> Mapping[str, int]:
        """How many kernels of each environment are kept ready."""
        return {
            name: self.pool.ready if environment.ready is None else environment.ready
            for name, environment in self.environment.items()
        }

    @property
    def kernel_slots(self) -> int:
        """Number of accounts that kernels take in turn: so many that none is soon used again."""
        return max(MIN_KERNEL_SLOTS, 2 * self.pool.max_kernels)

    @property
    def data_directories(self) -> Mapping[str, str]:
        """Directory of data sets by the name of the profile whose kernels see it."""
        return {name: profile.data for name, profile in self.profile.items() if profile.data}

    @property
    def egress_profiles(self) -> tuple[str, ...]:
        """Names of the profiles whose kernels may reach some host."""
        return tuple(name for name, profile in self.profile.items() if profile.egress)

    @property
    def egress_path(self) -> pathlib.Path:
        """Holds one directory for each of those profiles; kernels see theirs. All are the egress role's, mode 0711."""
        return self.runtime_path / "egress"

    def egress_socket(self, profile: str) -> pathlib.Path:
        """Socket of the proxy for the kernels of ``profile`` (T9). Short: see `MAX_RUNTIME_DIR_BYTES`."""
        return self.egress_path / profile / "proxy"

    @property
    def database_path(self) -> pathlib.Path:
        """The permalink database."""
        return pathlib.Path(self.permalink.database or os.path.join(self.state_dir, "permalinks.sqlite3"))

    @property
    def database_url(self) -> str:
        """The permalink database where it is PostgreSQL's, else empty."""
        url = self.permalink.database
        return url if url.startswith(("postgresql://", "postgres://")) else ""

    @property
    def static_path(self) -> pathlib.Path:
        """The built front end."""
        return pathlib.Path(self.web.static_dir) if self.web.static_dir else PACKAGE_DIR / "frontend" / "dist"

    @property
    def exposed_profiles(self) -> frozenset[str]:
        """Names of the profiles that visitors may ask for."""
        return frozenset(name for name, profile in self.profile.items() if profile.exposed or name == DEFAULT_PROFILE)

    @property
    def metrics_address(self) -> TcpAddress | UnixAddress:
        """Where metrics are shown when no socket is passed; raises `ConfigError`."""
        return listen_address(self.metrics.listen, "metrics.listen")

    @property
    def listen_address(self) -> TcpAddress | UnixAddress:
        """Where the web role listens when no socket is passed to it."""
        return listen_address(self.web.listen)
