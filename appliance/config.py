"""The configuration: one TOML file, frozen into typed values before anything starts.

Every key has a default, a unit in its name and a reason in ``metadata["doc"]``; `render` with comments prints them all.
Unknown keys and wrong types are errors that name the key.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import pwd
import re
import tomllib
from typing import TYPE_CHECKING, Any, get_type_hints

import attrs

from appliance.config_lines import line_of
from appliance.errors import ConfigError
from appliance.protocol import egress as egress_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_FILE = pathlib.Path("/etc/cell-appliance/appliance.toml")

#: Environments that packages install, one directory each.
PACKAGED_ENVIRONMENTS_DIR = pathlib.Path("/usr/lib/cell-appliance/environments")

#: Profile of whoever asks for none.
DEFAULT_PROFILE = "default"

#: Layers of confinement that not every host offers.
OPTIONAL_LAYERS = ("cgroup", "overlay", "landlock", "selinux")

#: Accounts that kernels take in turn, at the least.
MIN_KERNEL_SLOTS = 64

PACKAGE_DIR = pathlib.Path(__file__).resolve().parent

#: sun_path holds 108 bytes (unix(7)); the longest name below the runtime directory is kernels/<36>/control.
MAX_RUNTIME_DIR_BYTES = 50

#: Names of environments and profiles become names of directories, units and processes.
_TABLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

#: Names of kernelspecs are names of directories (Jupyter client, "Kernel specs").
_KERNELSPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[^\0]*", re.DOTALL)

#: What an environment's directory says of it.
DECLARATION = "environment.toml"

LOG_LEVELS = ("debug", "info", "warn", "error")

#: Ids after the range that ``cellctl serve`` gives to roles that have no account on the host.
ROLE_IDS = 5

#: The request log is kept in sixteen files at least, and one event may have a megabyte.
MIN_REQUESTLOG_BYTES = 33_554_432

#: Ids are 32-bit; the last one means "none" to chown(2).
_MAX_ID = 2**32 - 2


def _key(default: Any, doc: str) -> Any:
    if isinstance(default, tuple | list | dict):
        return attrs.field(factory=lambda: default, metadata={"doc": doc})
    return attrs.field(default=default, metadata={"doc": doc})


@attrs.frozen(kw_only=True)
class Web:
    """The HTTP and WebSocket role."""

    listen: str = _key("127.0.0.1:8888", "Address and port, or unix:PATH. Ignored when systemd passes a socket.")
    proxy_protocol: bool = _key(False, "Expect a PROXY v2 header on each connection: true only behind HAProxy.")
    static_dir: str = _key("", "Folder of built front-end files. Empty: those inside the package.")
    max_body_bytes: int = _key(1_048_576, "Largest request body; a larger one is answered 413. Cells are text.")
    max_message_bytes: int = _key(1_048_576, "Largest WebSocket message from a client; a larger one closes with 1009.")
    max_connections_per_kernel: int = _key(4, "WebSocket connections that may share a kernel, in each web role.")
    allowed_origins: tuple[str, ...] = _key(
        (),
        "Origins (https://HOST, or null) whose pages may use this server, beside its own. Empty: pages of every site. "
        "Clients that are no browsers send no origin and are not asked for one.",
    )
    api_tokens: tuple[str, ...] = _key(
        (),
        "Secrets of which clients of Jupyter's addresses below /api and of /service must send one, as Authorization: "
        "token SECRET. Empty: anybody may use them. Cells never need one.",
    )
    terms_file: str = _key(
        "",
        "File with terms of service, as HTML without scripts. Visitors must accept them before they evaluate. Empty: "
        "there are none.",
    )
    analytics_file: str = _key(
        "",
        "File with HTML that is put at the end of the page at / to count visits. Empty: nothing is. Embedded cells "
        "never have it.",
    )
    analytics_origins: tuple[str, ...] = _key(
        (), "Origins (https://HOST) that its scripts may come from, and may tell. Empty: this server alone."
    )
    explain_errors: bool = _key(
        False,
        "The cell of the page at / explains errors to who asks. Embedded cells do what their pages say (explain).",
    )
    waiting_connections: int = _key(
        2000, "Connections of pages on which nobody has evaluated yet; further pages ask for kernels by POST."
    )
    sockjs_sessions: int = _key(2000, "SockJS sessions open at once; further ones are refused. One is one page.")
    files_seconds: float = _key(
        600.0, "Files that a program left can be fetched for this long after its kernel's end. 0: never."
    )
    max_files_bytes: int = _key(
        134_217_728, "All such files that one web role keeps, in runtime_dir, which is memory; then the oldest go."
    )
    max_files_bytes_per_kernel: int = _key(33_554_432, "Such files of one kernel; then its oldest go.")
    max_upload_bytes: int = _key(
        16_777_216, "Largest file that a visitor may bring to a kernel; a larger one is answered 413. 0: none."
    )
    max_upload_bytes_per_kernel: int = _key(
        67_108_864,
        "All files brought to one kernel; what is more is answered 413. They count in the kernel's memory and in its "
        "profile's scratch_bytes as well.",
    )
    max_uploading_bytes: int = _key(
        134_217_728,
        "Such files on their way at once, which one web role holds in its memory. One address may have half.",
    )
    service_seconds: float = _key(30.0, "Wall time of one POST /service, after which success is false.")
    health_cache_seconds: float = _key(5.0, "How long an answer of /healthz is reused, so that probes cost little.")
    health_seconds: float = _key(10.0, "Longest evaluation of /healthz that counts as healthy.")
    instances: int = _key(0, "Web roles that systemd runs beside each other. 0: one for each core, at least two.")
    stop_seconds: float = _key(35.0, "Requests under way when a web role stops have this long to end by themselves.")


@attrs.frozen(kw_only=True)
class Pool:
    """Kernels: how many, and how they are prepared."""

    max_kernels: int = _key(40, "Kernels alive at once, ready ones included. About 12 MiB each when idle.")
    ready: int = _key(4, "Kernels kept started and verified for the next visitors.")
    ready_max: int = _key(12, "Kernels kept ready at most, when many are asked for: the number follows the arrivals.")
    ready_age_seconds: float = _key(1800.0, "A ready kernel older than this is replaced by a fresh one.")
    max_starting: int = _key(2, "Kernels being started at once: each costs about 40 ms of one core.")
    refill_delay_seconds: float = _key(0.15, "Pause before a dealt kernel is replaced, so that it does not compete.")
    start_seconds: float = _key(15.0, "A kernel not verified by then is ended and its start counted as failed.")
    lease_wait_seconds: float = _key(10.0, "Longest wait for a kernel that is still starting.")
    queue_length: int = _key(
        100, "Visitors in line for a kernel while all are taken; 0 is no line. Clients that do not wait are refused."
    )
    queue_seconds: float = _key(120.0, "Longest wait in that line; after it the answer is 503.")
    retry_after_seconds: int = _key(5, "Retry-After of a 503 when the pool is exhausted.")
    memory_reserve_bytes: int = _key(536_870_912, "With less memory available, no kernel is kept ready.")
    memory_pressure_percent: float = _key(10.0, "Share of time that tasks waited for memory (PSI) counting as short.")
    zygote_max_forks: int = _key(
        2000,
        "A zygote is replaced after this many forks, which share a layout of addresses and the seed of hash(). "
        "With 1 no two kernels do, and each costs seconds of processor time and all its libraries' memory.",
    )


@attrs.frozen(kw_only=True)
class Clocks:
    """The three clocks of a leased kernel."""

    idle_seconds: float = _key(900.0, "No evaluation for this long ends the kernel.")
    busy_seconds: float = _key(120.0, "One evaluation longer than this ends the kernel.")
    background_seconds: float = _key(
        0.5, "Processor time of one evaluation after which its kernel gives way to others until it ends; 0 is never."
    )
    cpu_seconds: float = _key(60.0, "Processor time of one evaluation after which the kernel ends; 0 is no limit.")
    life_seconds: float = _key(3600.0, "Age at which a kernel ends whatever it does.")


@attrs.frozen(kw_only=True)
class Output:
    """What one evaluation may send. What is above a limit is left out, counted and told; of text the end is kept."""

    max_bytes: int = _key(
        16_777_216, "Everything together, as JSON. A large picture is 3 MB; a page with 64 MB of output is slow."
    )
    max_messages: int = _key(10_000, "Messages: a progress bar makes ten a second for all of clocks.busy_seconds.")
    max_displays: int = _key(2000, "Displayed results and updates of them: each costs a page more than text does.")
    stream_characters: int = _key(800_000, "Text that is printed: a page shows a million characters in all.")
    text_characters: int = _key(
        200_000, "One text (a printed one, a traceback, a result): of a longer one beginning and end are kept."
    )
    messages_per_second: int = _key(
        200, "Messages a second; five seconds' worth may come at once. Printed text is only held back by it."
    )


@attrs.frozen(kw_only=True)
class Quota:
    """What one page and one network address (IPv4, or IPv6 /64) may have. 0 is no limit. In total: pool.max_kernels."""

    kernels_per_page: int = _key(16, "Kernels of one page at once: linked cells share one, others have one each.")
    kernels_per_address: int = _key(
        30, "Kernels of one address at once. A class behind one address has room; nobody takes all of the default 40."
    )
    cpu_seconds_per_hour: float = _key(
        7200.0,
        "Processor time of one address within an hour; after that it starts no kernels. Two cores all the time.",
    )


@attrs.frozen(kw_only=True)
class Profile:
    """Limits of one kernel. A request may ask for any exposed profile by name."""

    exposed: bool = _key(False, "Whether visitors may ask for it: POST /kernel?profile=NAME. The default always is.")
    memory_bytes: int = _key(
        1_073_741_824,
        "Memory: memory.max where cgroup v2 is delegated, else RLIMIT_DATA for each process and a watch of them all, "
        "beyond what it has of its zygote.",
    )
    processes: int = _key(64, "Processes and threads: pids.max where cgroup v2 is delegated, else RLIMIT_NPROC.")
    cpu_percent: int = _key(100, "Processor share, 100 is one core: cpu.max where cgroup v2 is delegated.")
    scratch_bytes: int = _key(268_435_456, "All files a cell writes (/home/visitor, /tmp, /dev/shm) together.")
    scratch_inodes: int = _key(16_384, "Number of files a cell may have.")
    open_files: int = _key(1024, "RLIMIT_NOFILE.")
    egress: tuple[str, ...] = _key(
        (),
        "Hosts a kernel may reach, by HTTP and HTTPS only: HOST or HOST:PORT; *.HOST is every name below HOST. Without "
        "a port, 443 and 80. Empty: no network at all.",
    )

    data: str = _key(
        "",
        "Directory of the host that kernels see at /data: data sets, to be read and nothing else. Every account must "
        "be able to read what is in it. Empty: none.",
    )

    @property
    def limits(self) -> dict[str, int]:
        """What zygotes are told (T4): the fields of `appliance.zygote.sandbox.Limits`."""
        return attrs.asdict(self, filter=attrs.filters.exclude("exposed", "egress", "data"))


@attrs.frozen(kw_only=True)
class Egress:
    """The proxy through which kernels reach the hosts that their profile names; it runs only if one does."""

    allow_addresses: tuple[str, ...] = _key(
        (),
        "Ranges (ADDRESS/BITS) that may be reached although they are private, loopback or otherwise not the internet. "
        "Names must still be on a profile's list.",
    )
    connections_per_kernel: int = _key(16, "Connections of one kernel at once. pip opens up to ten.")
    requests_per_minute: int = _key(240, "Requests of one kernel in a minute; each is a line or two in the log.")
    connections: int = _key(256, "Connections of all kernels at once: two descriptors and up to 256 KiB each.")
    head_seconds: float = _key(10.0, "A request whose head has not come by then is answered 408.")
    connect_seconds: float = _key(10.0, "Longest wait for the resolver, and for each address of a host.")
    idle_seconds: float = _key(60.0, "A connection that has carried nothing for this long is closed.")
    max_request_bytes: int = _key(16_777_216, "Largest body of a plain http request; a larger one is answered 413.")
    max_connection_bytes: int = _key(
        536_870_912, "Bytes of one connection, both ways; then it is closed. Twice a kernel's scratch space."
    )


@attrs.frozen(kw_only=True)
class Sandbox:
    """What every kernel is confined by."""

    require: tuple[str, ...] = _key(
        (),
        "Layers without which no kernel may start: cgroup, overlay, landlock, selinux. All others are always required.",
    )


@attrs.frozen(kw_only=True)
class Environment:
    """What kernels run: an interpreter with libraries that one zygote preloads, or the program of a kernelspec."""

    python: str = _key(
        "",
        "Interpreter of the environment's virtual environment. Empty: .envs/NAME/bin/python beside the package, which "
        "./dev builds, or /usr/lib/cell-appliance/environments/NAME/bin/python.",
    )
    preload: tuple[str, ...] = _key(
        ("numpy", "scipy", "sympy", "matplotlib.pyplot", "pandas", "ipywidgets"),
        "Modules imported once, before any kernel is forked.",
    )
    title: str = _key("", "What visitors read in menus. Empty: the name.")
    language: str = _key("", "Language of the code, which chooses the editor's grammar. Empty: the environment's name.")
    kernelspec: str = _key(
        "",
        "Name of a Jupyter kernelspec that kernels execute instead, in any language; preload then means nothing. It is "
        "looked for below the prefix of python if that is set, else where Jupyter looks.",
    )
    warm_up: tuple[str, ...] = _key(
        (), "Cells run once before any kernel is forked, so that what they load and compute is there at once."
    )
    variables: tuple[str, ...] = _key((), "Environment variables of its kernels, each as NAME=VALUE.")
    ready: int | None = _key(
        None, "Kernels of this environment kept ready, 0 for one that is seldom asked for. Left out: pool.ready."
    )


@attrs.frozen(kw_only=True)
class Ids:
    """The pool of user accounts."""

    base: int = _key(1_879_048_192, "First id of the range on the host; 0x70000000 is above systemd's own ranges.")
    count: int = _key(65_536, "Number of ids; each live kernel has one of its own.")


@attrs.frozen(kw_only=True)
class Users:
    """Accounts of the roles, as names or numbers."""

    web: str = _key("cell-web", "Account of the web role; also the group that may connect to kernels.")
    pool: str = _key("cell-pool", "Account of the pool role.")
    permalink: str = _key("cell-permalink", "Account of the permalink role.")
    egress: str = _key("cell-egress", "Account of the egress role, which has a network.")
    requestlog: str = _key("cell-requestlog", "Account of the request log, which may connect to a syslog server.")


@attrs.frozen(kw_only=True)
class Permalink:
    """The permalink store."""

    database: str = _key(
        "",
        "SQLite file, or postgresql://USER:PASSWORD@HOST/NAME for appliances that share one. Empty: "
        "permalinks.sqlite3 in state_dir.",
    )
    max_code_bytes: int = _key(65_536, "Largest code or interact state of a permalink; a larger one is answered 413.")
    max_database_bytes: int = _key(
        10_737_418_240,
        "Largest size of the database; beyond it new cells are answered 507 and those that are there still served.",
    )
    links_per_address_per_hour: int = _key(
        600, "Cells that one network address may share within an hour, then 429; 0 is no limit. A class has room."
    )
    bytes_per_address_per_hour: int = _key(
        16_777_216, "Bytes of the cells that one network address may share within an hour, then 429; 0 is no limit."
    )
    expire_unread_days: int = _key(
        0, "Age in days at which a permalink that nobody ever opened is deleted; 0 keeps all for ever."
    )


@attrs.frozen(kw_only=True)
class RequestLog:
    """The request log: an event of each evaluation and permalink, kept on disk and passed on."""

    enabled: bool = _key(False, "Whether there is one. Off: nobody's use is written down unless you decide so.")
    directory: str = _key("", "Folder of its files. Empty: state_dir with -requests at its end.")
    address: str = _key("short", "Visitors' addresses: short (an IPv4 /24, an IPv6 /48), full, or none.")
    code: bool = _key(False, "Whether the code itself is kept. Tell your visitors if it is.")
    retention_days: int = _key(400, "Age at which files are removed: a year and the weeks to compare it with.")
    max_bytes: int = _key(
        1_073_741_824, "Largest size of all files; then the oldest goes, and what was not passed on is counted."
    )
    journal: bool = _key(False, "Whether events are also put into the journal, with their fields.")
    syslog: str = _key("", "HOST:PORT of a syslog server that speaks TLS (RFC 5425), usually port 6514. Empty: none.")
    syslog_ca: str = _key("", "PEM file of the authorities that may have signed its certificate. Empty: the system's.")
    syslog_name: str = _key("", "Name in its certificate. Empty: HOST.")
    syslog_certificate: str = _key("", "PEM file with our certificate and key, if the server asks for one.")


@attrs.frozen(kw_only=True)
class Metrics:
    """Figures for Prometheus, on a door of their own."""

    listen: str = _key(
        "",
        "Address and port, or unix:PATH, where GET /metrics shows them. Empty: nowhere. Keep it from visitors. Ignored "
        "when systemd passes a socket, as it does in an installed appliance: cell-web-metrics@.socket.",
    )


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration."""

    runtime_dir: str = _key("/run/cell-appliance", "Sockets and kernel records; emptied at boot. At most 50 bytes.")
    state_dir: str = _key("/var/lib/cell-appliance", "What must survive: the permalink database.")
    environments_dir: str = _key(
        str(PACKAGED_ENVIRONMENTS_DIR),
        "Where environments are installed, one directory each. The declaration in one (environment.toml, see "
        "cellctl env) counts as a table [environment.NAME], unless there is such a table.",
    )
    log_level: str = _key("info", "One of debug, info, warn, error.")
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


@attrs.frozen
class TcpAddress:
    """An internet address: a literal IPv4 or IPv6 address, or ``localhost``, and a port."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@attrs.frozen
class UnixAddress:
    """A Unix socket."""

    path: str

    @property
    def url(self) -> str:
        """The socket, for a message."""
        return f"unix:{self.path}"


def listen_address(text: str, key: str = "web.listen") -> TcpAddress | UnixAddress:
    """Return the address written as ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.

    Raises `ConfigError`.
    """
    if text.startswith("unix:/"):
        return UnixAddress(text.removeprefix("unix:"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65_536:
        raise ConfigError(f"{key}: expected ADDRESS:PORT, [IPV6]:PORT or unix:/PATH, found {text!r}")
    return TcpAddress(match[1] or match[2], int(match[3]))


def environment_python(name: str, environment: Environment) -> pathlib.Path:
    """Return the interpreter of an environment: the configured one, else the built one, else the packaged one.

    Raises `ConfigError` naming every place that was looked at.
    """
    places = (
        [pathlib.Path(environment.python)]
        if environment.python
        else [PACKAGE_DIR.parent / ".envs" / name / "bin/python", PACKAGED_ENVIRONMENTS_DIR / name / "bin/python"]
    )
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise ConfigError(
        f"environment.{name}: there is no interpreter at {' or '.join(map(str, places))}; "
        f"./dev builds it in a checkout, a package brings it; else set environment.{name}.python"
    )


def uid_of(user: str) -> int:
    """Return the uid of an account given by name or number.

    Raises `ConfigError` when there is no such account.
    """
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as exc:
        raise ConfigError(f"users: there is no account named {user!r} on this host") from exc


def gid_of(user: str) -> int:
    """Return the primary gid of an account given by name; of a number, the same number."""
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError as exc:
        raise ConfigError(f"users: there is no account named {user!r} on this host") from exc


def _typed(where: str, value: Any, kind: Any) -> Any:
    """Return ``value`` as ``kind``, or raise `ConfigError` naming the key."""
    if kind == int | None:
        kind = int
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{where}: expected a list of strings, found {value!r}")
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, found {value!r}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}: must be a finite number, found {value!r}")
    if kind in (int, float) and value < 0:
        raise ConfigError(f"{where}: must not be negative, found {value!r}")
    return value


def _section(where: str, cls: Any, table: Any) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, found {table!r}")
    hints = get_type_hints(cls)
    values = {}
    for name, value in table.items():
        if name not in hints:
            raise ConfigError(f"unknown key {where}.{name}; known keys: {', '.join(hints)}")
        values[name] = _typed(f"{where}.{name}", value, hints[name])
    return cls(**values)


_TABLES: dict[str, Any] = {
    "web": Web,
    "pool": Pool,
    "clocks": Clocks,
    "output": Output,
    "quota": Quota,
    "permalink": Permalink,
    "requestlog": RequestLog,
    "metrics": Metrics,
    "egress": Egress,
    "sandbox": Sandbox,
    "ids": Ids,
    "users": Users,
}
_NAMED_TABLES: dict[str, Any] = {"profile": Profile, "environment": Environment}
#: How messages begin that are about a key.
_NAMED_KEY = re.compile(r"(?:unknown key )?([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?=[:; ])")
_SCALARS = ("runtime_dir", "state_dir", "environments_dir", "log_level")


def parse(text: str, source: str = "configuration") -> Config:
    """Return the configuration written in TOML ``text``.

    Raises `ConfigError` naming ``source``, the line where it can be told, and the key.
    """
    try:
        document = tomllib.loads(text)
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name in _SCALARS:
                values[name] = _typed(name, value, str)
            elif name in _TABLES:
                values[name] = _section(name, _TABLES[name], value)
            elif name in _NAMED_TABLES:
                if not isinstance(value, dict):
                    raise ConfigError(f"{name}: expected tables [{name}.NAME], found {value!r}")
                for key in value:
                    if not _TABLE_NAME.fullmatch(key):
                        raise ConfigError(f"{name}: {key!r} is no name; use 1 to 32 of a-z, 0-9 and -")
                tables = {key: _section(f"{name}.{key}", _NAMED_TABLES[name], table) for key, table in value.items()}
                default = attrs.fields_dict(Config)[name].default.factory()  # type: ignore[union-attr]
                values[name] = {**default, **tables}
            else:
                known = (*_SCALARS, *_TABLES, *(f"{key}.NAME" for key in _NAMED_TABLES))
                raise ConfigError(f"unknown key {name}; known keys: {', '.join(known)}")
        config = Config(**values)
        _check(config)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{source}: not TOML: {exc}") from exc
    except ConfigError as exc:
        named = _NAMED_KEY.match(exc.message)
        line = line_of(text, named[1]) if named else None
        raise ConfigError(f"{source}{f', line {line}' if line else ''}: {exc.message}") from exc
    return config


def _check(config: Config) -> None:
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
    for name in ("max_upload_bytes_per_kernel", "max_uploading_bytes"):
        if getattr(config.web, name) < config.web.max_upload_bytes:
            raise ConfigError(f"web.{name}: must be at least web.max_upload_bytes, {config.web.max_upload_bytes}")
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


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration file; with no path, the system's file if there is one, else the defaults.

    Raises `ConfigError` when the file cannot be read or is wrong.
    """
    file = pathlib.Path(path) if path is not None else SYSTEM_FILE
    if path is None and not file.exists():
        return _with_declared(Config())
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    return _with_declared(parse(text, str(file)))


def declarations(config: Config) -> dict[str, pathlib.Path]:
    """Return the declarations of environments that were added, by name. Raises `ConfigError`."""
    found = {}
    try:
        for directory in sorted(pathlib.Path(config.environments_dir).iterdir()):
            if (directory / DECLARATION).is_file():
                found[directory.name] = directory / DECLARATION
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"environments_dir: {config.environments_dir} cannot be read: {exc}") from exc
    for name in found:
        if not _TABLE_NAME.fullmatch(name):
            raise ConfigError(f"environments_dir: {name!r} is no name; use 1 to 32 of a-z, 0-9 and -")
    return found


def _with_declared(config: Config) -> Config:
    """Add the environments that were added. Raises `ConfigError`."""
    declared = {
        name: declared_environment(file)
        for name, file in declarations(config).items()
        if name not in config.environment
    }
    if not declared:
        return config
    config = attrs.evolve(config, environment={**config.environment, **declared})
    _check(config)
    return config


def declared_environment(file: pathlib.Path) -> Environment:
    """Return the environment of a declaration, with the interpreter that is made beside it if it has requirements.

    Raises `ConfigError` naming the file.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        environment: Environment = _section("environment", Environment, document.get("environment", {}))
        if environment.python:
            raise ConfigError("environment.python: it is the interpreter that is made from the lock; leave it out")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{file}: {exc.message}") from exc
    return (
        attrs.evolve(environment, python=str(file.parent / "bin/python"))
        if document.get("requirements")
        else environment
    )


def _toml(value: Any) -> str:
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one character that JSON allows in a string and TOML does not


def render(config: Config, *, comments: bool = False) -> str:
    """Return ``config`` as TOML text that `parse` reads back to an equal value; optionally each key with its reason."""
    lines: list[str] = []

    def emit(item: Any, names: list[str]) -> None:
        for field in attrs.fields(type(item)):
            if field.name in names:
                if comments:
                    lines.append(f"# {field.metadata['doc']}")
                value = getattr(item, field.name)
                if value is not None:
                    lines.append(f"{field.name} = {_toml(value)}")
                elif comments:
                    lines.append(f"# {field.name} =")

    def table(title: str, item: Any) -> None:
        lines.append("")
        if comments:
            lines.append(f"# {type(item).__doc__}")
        lines.append(f"[{title}]")
        emit(item, [field.name for field in attrs.fields(type(item))])

    emit(config, list(_SCALARS))
    for name in _TABLES:
        table(name, getattr(config, name))
    for name in _NAMED_TABLES:
        for key, item in getattr(config, name).items():
            table(f"{name}.{key}", item)
    return "\n".join(lines) + "\n"
