"""The tables of the configuration file: each key with its default, a unit in its name, and its reason."""

from __future__ import annotations

from typing import Any

import attrs


def key(default: Any, doc: str) -> Any:
    """Return a field with its default and its reason."""
    if isinstance(default, tuple | list | dict):
        return attrs.field(factory=lambda: default, metadata={"doc": doc})
    return attrs.field(default=default, metadata={"doc": doc})


@attrs.frozen(kw_only=True)
class Web:
    """The HTTP and WebSocket role."""

    listen: str = key("127.0.0.1:8888", "Address and port, or unix:PATH. Ignored when systemd passes a socket.")
    proxy_protocol: bool = key(False, "Expect a PROXY v2 header on each connection: true only behind HAProxy.")
    static_dir: str = key("", "Folder of built front-end files. Empty: those inside the package.")
    max_body_bytes: int = key(1_048_576, "Largest request body; a larger one is answered 413. Cells are text.")
    max_message_bytes: int = key(1_048_576, "Largest WebSocket message from a client; a larger one closes with 1009.")
    max_connections_per_kernel: int = key(4, "WebSocket connections that may share a kernel, in each web role.")
    allowed_origins: tuple[str, ...] = key(
        (),
        "Origins (https://HOST, or null) whose pages may use this server, beside its own. Empty: pages of every site. "
        "Clients that are no browsers send no origin and are not asked for one.",
    )
    api_tokens: tuple[str, ...] = key(
        (),
        "Secrets of which clients of Jupyter's addresses below /api and of /service must send one, as Authorization: "
        "token SECRET. Empty: anybody may use them. Cells never need one.",
    )
    default_environment: str = key(
        "",
        "Environment of clients that name none: of /service, of Jupyter's addresses, of programs for SageMathCell; its "
        "language is that of the page at /. Empty: python, or the first where there is no python. Cells name theirs.",
    )
    terms_file: str = key(
        "",
        "File with terms of service, as HTML without scripts. Visitors must accept them before they evaluate. Empty: "
        "there are none.",
    )
    analytics_file: str = key(
        "",
        "File with HTML that is put at the end of the page at / to count visits. Empty: nothing is. Embedded cells "
        "never have it.",
    )
    analytics_origins: tuple[str, ...] = key(
        (), "Origins (https://HOST) that its scripts may come from, and may tell. Empty: this server alone."
    )
    explain_errors: bool = key(
        False,
        "The cell of the page at / explains errors to who asks. Embedded cells do what their pages say (explain).",
    )
    waiting_connections: int = key(
        2000, "Connections of pages on which nobody has evaluated yet; further pages ask for kernels by POST."
    )
    sockjs_sessions: int = key(2000, "SockJS sessions open at once; further ones are refused. One is one page.")
    files_seconds: float = key(
        600.0, "Files that a program left can be fetched for this long after its kernel's end. 0: never."
    )
    max_files_bytes: int = key(
        134_217_728, "All such files that one web role keeps, in runtime_dir, which is memory; then the oldest go."
    )
    max_files_bytes_per_kernel: int = key(33_554_432, "Such files of one kernel; then its oldest go.")
    max_upload_bytes: int = key(
        16_777_216, "Largest file that a visitor may bring to a kernel; a larger one is answered 413. 0: none."
    )
    max_upload_bytes_per_kernel: int = key(
        67_108_864,
        "All files brought to one kernel; what is more is answered 413. They count in the kernel's memory and in its "
        "profile's scratch_bytes as well.",
    )
    max_uploading_bytes: int = key(
        134_217_728,
        "Such files on their way at once, which one web role holds in its memory. One address may have half.",
    )
    max_download_bytes: int = key(
        268_435_456,
        "Largest file that is fetched from a kernel while it lives; a larger one is answered 413. 0: none.",
    )
    transfer_seconds: float = key(
        900.0, "A file that is brought to a kernel, or fetched from one, may be on its way for so long."
    )
    body_seconds: float = key(60.0, "Any other body of a request must have come whole within this time.")
    service_seconds: float = key(30.0, "Wall time of one POST /service, after which success is false.")
    health_cache_seconds: float = key(5.0, "How long an answer of /healthz is reused, so that probes cost little.")
    health_seconds: float = key(10.0, "Longest evaluation of /healthz that counts as healthy.")
    instances: int = key(0, "Web roles that systemd runs beside each other. 0: one for each core, at least two.")
    stop_seconds: float = key(35.0, "Requests under way when a web role stops have this long to end by themselves.")


@attrs.frozen(kw_only=True)
class Pool:
    """Kernels: how many, and how they are prepared."""

    max_kernels: int = key(40, "Kernels alive at once, ready ones included. About 12 MiB each when idle.")
    ready: int = key(4, "Kernels kept started and verified for the next visitors.")
    ready_max: int = key(12, "Kernels kept ready at most, when many are asked for: the number follows the arrivals.")
    ready_age_seconds: float = key(1800.0, "A ready kernel older than this is replaced by a fresh one.")
    max_starting: int = key(2, "Kernels being started at once: each costs about 40 ms of one core.")
    refill_delay_seconds: float = key(0.15, "Pause before a dealt kernel is replaced, so that it does not compete.")
    start_seconds: float = key(15.0, "A kernel not verified by then is ended and its start counted as failed.")
    lease_wait_seconds: float = key(10.0, "Longest wait for a kernel that is still starting.")
    queue_length: int = key(
        100, "Visitors in line for a kernel while all are taken; 0 is no line. Clients that do not wait are refused."
    )
    queue_seconds: float = key(120.0, "Longest wait in that line; after it the answer is 503.")
    retry_after_seconds: int = key(5, "Retry-After of a 503 when the pool is exhausted.")
    memory_reserve_bytes: int = key(536_870_912, "With less memory available, no kernel is kept ready.")
    memory_pressure_percent: float = key(10.0, "Share of time that tasks waited for memory (PSI) counting as short.")
    zygote_max_forks: int = key(
        2000,
        "A zygote is replaced after this many forks, which share a layout of addresses and the seed of hash(). "
        "With 1 no two kernels do, and each costs seconds of processor time and all its libraries' memory.",
    )


@attrs.frozen(kw_only=True)
class Clocks:
    """The three clocks of a leased kernel."""

    idle_seconds: float = key(900.0, "No evaluation for this long ends the kernel.")
    busy_seconds: float = key(120.0, "One evaluation longer than this ends the kernel.")
    background_seconds: float = key(
        0.5, "Processor time of one evaluation after which its kernel gives way to others until it ends; 0 is never."
    )
    cpu_seconds: float = key(60.0, "Processor time of one evaluation after which the kernel ends; 0 is no limit.")
    life_seconds: float = key(3600.0, "Age at which a kernel ends whatever it does.")


@attrs.frozen(kw_only=True)
class Output:
    """What one evaluation may send. What is above a limit is left out, counted and told; of text the end is kept."""

    max_bytes: int = key(
        16_777_216, "Everything together, as JSON. A large picture is 3 MB; a page with 64 MB of output is slow."
    )
    max_messages: int = key(10_000, "Messages: a progress bar makes ten a second for all of clocks.busy_seconds.")
    max_displays: int = key(2000, "Displayed results and updates of them: each costs a page more than text does.")
    stream_characters: int = key(800_000, "Text that is printed: a page shows a million characters in all.")
    text_characters: int = key(
        200_000, "One text (a printed one, a traceback, a result): of a longer one beginning and end are kept."
    )
    messages_per_second: int = key(
        200, "Messages a second; five seconds' worth may come at once. Printed text is only held back by it."
    )


@attrs.frozen(kw_only=True)
class Quota:
    """What one page and one network address (IPv4, or IPv6 /64) may have. 0 is no limit. In total: pool.max_kernels."""

    kernels_per_page: int = key(16, "Kernels of one page at once: linked cells share one, others have one each.")
    kernels_per_address: int = key(
        30, "Kernels of one address at once. A class behind one address has room; nobody takes all of the default 40."
    )
    cpu_seconds_per_hour: float = key(
        7200.0,
        "Processor time of one address within an hour; after that it starts no kernels. Two cores all the time.",
    )


@attrs.frozen(kw_only=True)
class Profile:
    """Limits of one kernel. A request may ask for any exposed profile by name."""

    exposed: bool = key(False, "Whether visitors may ask for it: POST /kernel?profile=NAME. The default always is.")
    memory_bytes: int = key(
        1_073_741_824,
        "Memory: memory.max where cgroup v2 is delegated, else RLIMIT_DATA for each process and a watch of them all, "
        "beyond what it has of its zygote.",
    )
    processes: int = key(64, "Processes and threads: pids.max where cgroup v2 is delegated, else RLIMIT_NPROC.")
    cpu_percent: int = key(100, "Processor share, 100 is one core: cpu.max where cgroup v2 is delegated.")
    scratch_bytes: int = key(268_435_456, "All files a cell writes (/home/visitor, /tmp, /dev/shm) together.")
    scratch_inodes: int = key(16_384, "Number of files a cell may have.")
    open_files: int = key(1024, "RLIMIT_NOFILE.")
    egress: tuple[str, ...] = key(
        (),
        "Hosts a kernel may reach, by HTTP and HTTPS only: HOST or HOST:PORT; *.HOST is every name below HOST. Without "
        "a port, 443 and 80. Empty: no network at all.",
    )

    data: str = key(
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

    allow_addresses: tuple[str, ...] = key(
        (),
        "Ranges (ADDRESS/BITS) that may be reached although they are private, loopback or otherwise not the internet. "
        "Names must still be on a profile's list.",
    )
    connections_per_kernel: int = key(16, "Connections of one kernel at once. pip opens up to ten.")
    requests_per_minute: int = key(240, "Requests of one kernel in a minute; each is a line or two in the log.")
    connections: int = key(256, "Connections of all kernels at once: two descriptors and up to 256 KiB each.")
    head_seconds: float = key(10.0, "A request whose head has not come by then is answered 408.")
    connect_seconds: float = key(10.0, "Longest wait for the resolver, and for each address of a host.")
    idle_seconds: float = key(60.0, "A connection that has carried nothing for this long is closed.")
    max_request_bytes: int = key(16_777_216, "Largest body of a plain http request; a larger one is answered 413.")
    max_connection_bytes: int = key(
        536_870_912, "Bytes of one connection, both ways; then it is closed. Twice a kernel's scratch space."
    )


@attrs.frozen(kw_only=True)
class Sandbox:
    """What every kernel is confined by."""

    require: tuple[str, ...] = key(
        (),
        "Layers without which no kernel may start: cgroup, overlay, landlock, selinux. All others are always required.",
    )


@attrs.frozen(kw_only=True)
class Environment:
    """What kernels run: an interpreter with libraries that one zygote preloads, or the program of a kernelspec."""

    python: str = key(
        "",
        "Interpreter of the environment's virtual environment. Empty: .envs/NAME/bin/python beside the package, which "
        "./dev builds, or /usr/lib/cell-appliance/environments/NAME/bin/python.",
    )
    preload: tuple[str, ...] = key(
        ("numpy", "scipy", "sympy", "matplotlib.pyplot", "pandas", "ipywidgets"),
        "Modules imported once, before any kernel is forked.",
    )
    title: str = key("", "What visitors read in menus. Empty: the name.")
    language: str = key("", "Language of the code, which chooses the editor's grammar. Empty: the environment's name.")
    kernelspec: str = key(
        "",
        "Name of a Jupyter kernelspec that kernels execute instead, in any language; preload then means nothing. It is "
        "looked for below the prefix of python if that is set, else where Jupyter looks.",
    )
    warm_up: tuple[str, ...] = key(
        (), "Cells run once before any kernel is forked, so that what they load and compute is there at once."
    )
    variables: tuple[str, ...] = key((), "Environment variables of its kernels, each as NAME=VALUE.")
    ready: int | None = key(
        None, "Kernels of this environment kept ready, 0 for one that is seldom asked for. Left out: pool.ready."
    )


@attrs.frozen(kw_only=True)
class Results:
    """Results kept for the next visitor, of cells whose authors ask for it (keep-result)."""

    enabled: bool = key(True, "Whether any are kept. Off: such cells are evaluated each time, like all others.")
    max_bytes: int = key(
        67_108_864,
        "All results together, in runtime_dir, which is memory; then those go that nobody asked for lately. All web "
        "roles of one appliance share them.",
    )
    max_result_bytes: int = key(
        1_048_576, "Largest result that is kept, as JSON: text and a dozen pictures. At most 8388608."
    )
    keep_seconds: float = key(
        604_800.0, "Age at which a result is removed, however often it is asked for. It never outlives a boot."
    )


@attrs.frozen(kw_only=True)
class Ids:
    """The pool of user accounts."""

    base: int = key(1_879_048_192, "First id of the range on the host; 0x70000000 is above systemd's own ranges.")
    count: int = key(65_536, "Number of ids; each live kernel has one of its own.")


@attrs.frozen(kw_only=True)
class Users:
    """Accounts of the roles, as names or numbers."""

    web: str = key("cell-web", "Account of the web role; also the group that may connect to kernels.")
    pool: str = key("cell-pool", "Account of the pool role.")
    permalink: str = key("cell-permalink", "Account of the permalink role.")
    egress: str = key("cell-egress", "Account of the egress role, which has a network.")
    requestlog: str = key("cell-requestlog", "Account of the request log, which may connect to a syslog server.")


@attrs.frozen(kw_only=True)
class Permalink:
    """The permalink store."""

    database: str = key(
        "",
        "SQLite file, or postgresql://USER:PASSWORD@HOST/NAME for appliances that share one. Empty: "
        "permalinks.sqlite3 in state_dir.",
    )
    max_code_bytes: int = key(65_536, "Largest code or interact state of a permalink; a larger one is answered 413.")
    max_database_bytes: int = key(
        10_737_418_240,
        "Largest size of the database; beyond it new cells are answered 507 and those that are there still served.",
    )
    links_per_address_per_hour: int = key(
        600, "Cells that one network address may share within an hour, then 429; 0 is no limit. A class has room."
    )
    bytes_per_address_per_hour: int = key(
        16_777_216, "Bytes of the cells that one network address may share within an hour, then 429; 0 is no limit."
    )
    expire_unread_days: int = key(
        0, "Age in days at which a permalink that nobody ever opened is deleted; 0 keeps all for ever."
    )


@attrs.frozen(kw_only=True)
class RequestLog:
    """The request log: an event of each evaluation and permalink, kept on disk and passed on."""

    enabled: bool = key(False, "Whether there is one. Off: nobody's use is written down unless you decide so.")
    directory: str = key("", "Folder of its files. Empty: state_dir with -requests at its end.")
    address: str = key("short", "Visitors' addresses: short (an IPv4 /24, an IPv6 /48), full, or none.")
    code: bool = key(False, "Whether the code itself is kept. Tell your visitors if it is.")
    retention_days: int = key(400, "Age at which files are removed: a year and the weeks to compare it with.")
    max_bytes: int = key(
        1_073_741_824, "Largest size of all files; then the oldest goes, and what was not passed on is counted."
    )
    journal: bool = key(False, "Whether events are also put into the journal, with their fields.")
    syslog: str = key("", "HOST:PORT of a syslog server that speaks TLS (RFC 5425), usually port 6514. Empty: none.")
    syslog_ca: str = key("", "PEM file of the authorities that may have signed its certificate. Empty: the system's.")
    syslog_name: str = key("", "Name in its certificate. Empty: HOST.")
    syslog_certificate: str = key("", "PEM file with our certificate and key, if the server asks for one.")


@attrs.frozen(kw_only=True)
class Metrics:
    """Figures for Prometheus, on a door of their own."""

    listen: str = key(
        "",
        "Address and port, or unix:PATH, where GET /metrics shows them. Empty: nowhere. Keep it from visitors. Ignored "
        "when systemd passes a socket, as it does in an installed appliance: cell-web-metrics@.socket.",
    )
