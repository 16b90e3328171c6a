"""The web role as a service: everything is put together here, and nowhere else."""

from __future__ import annotations

import datetime
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, TimeoutError, execute, maybeDeferred  # noqa: A004 - Twisted's own
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint
from zope.interface import implementer

from appliance import self_connection, unix_socket
from appliance.config import Config, TcpAddress, UnixAddress
from appliance.errors import ApplianceError
from appliance.event_sender import EventSender
from appliance.notify import inherited_socket
from appliance.web import analytics
from appliance.web.access import Access
from appliance.web.downloads import Downloads
from appliance.web.file_routes import FileRoutes
from appliance.web.health import MAX_FACTOR, MIN_FACTOR, Health
from appliance.web.jupyter_routes import JupyterRoutes
from appliance.web.jupyter_sessions import JupyterSessions
from appliance.web.kept_files import KeptFiles
from appliance.web.kernel_routes import KernelRoutes
from appliance.web.kernels import Kernels
from appliance.web.lease_routes import LeaseRoutes
from appliance.web.metrics import MetricsRoutes, WebMetrics
from appliance.web.openapi import Description
from appliance.web.page import Page
from appliance.web.permalink_client import PermalinkClient
from appliance.web.permalink_routes import PermalinkRoutes
from appliance.web.pool_client import PoolClient
from appliance.web.request_log import RequestLog
from appliance.web.results import Results
from appliance.web.service_routes import ServiceRoutes
from appliance.web.site import CellSite, FileBody, FileBudget, Router
from appliance.web.sockjs_routes import SockJsRoutes
from appliance.web.static import StaticFiles
from appliance.web.terms import Documents
from appliance.web.uploads import Uploads, too_large, too_slow

if TYPE_CHECKING:
    from collections.abc import Sequence

log = Logger()

#: Name of the socket that systemd passes (FileDescriptorName=).
SOCKET_NAME = "web"

SOCKJS_SOCKET_NAME = "sockjs"

METRICS_SOCKET_NAME = "metrics"

#: Connections that wait to be accepted: a class opens the page in the same second.
BACKLOG = 1024

#: Mode of a Unix socket: its directory decides who may come near.
SOCKET_MODE = 0o660


def utc_now() -> str:
    """Return the time in ISO 8601, as headers of messages have it."""
    return datetime.datetime.now(datetime.UTC).isoformat()


def random_factor() -> int:
    """Return a number for the health check."""
    return MIN_FACTOR + secrets.randbelow(MAX_FACTOR - MIN_FACTOR + 1)


class WebService(MultiService):
    """The web role."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        kernels: Kernels,
        pool: PoolClient,
        listening: Sequence[StreamServerEndpointService],
        router: Router,
        site: CellSite,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stop_seconds = config.web.stop_seconds
        self._reactor = reactor
        self.kernels = kernels
        self._pool = pool
        self._listening = listening
        self.router = router
        self._site = site

    def stopService(self) -> Deferred[Any]:  # noqa: N802 - IService
        """Accept no more, let answers under way end, then close everything; whoever comes finds another instance."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for one in self._listening:
            await maybeDeferred(one.stopService)
        try:
            await self.router.finish().addTimeout(self._stop_seconds, self._reactor)
        except TimeoutError:
            log.warn("some answers were still under way after {seconds} s", seconds=self._stop_seconds)
        await maybeDeferred(super().stopService)

    async def prove(self) -> None:
        """Answer a request of our own."""
        status = await self_connection.http_status(self._reactor, self._site, "/livez")
        if status != 200:
            raise ApplianceError(f"the web role answers itself with status {status}")

    def healthy(self) -> bool:
        """Return whether connections are accepted; what this role needs from others is in ``/healthz``."""
        ports: list[Any] = [one._waitingForPort for one in self._listening]
        return bool(self.running) and all(
            port is not None and port.called and getattr(port.result, "connected", False) for port in ports
        )

    def status(self) -> str:
        """Return one line on what is going on."""
        link = "pool connected" if self._pool.connected else "pool not connected"
        return f"{self.kernels.count} kernels, {self.kernels.clients} clients, {link}"


class _Closing(Service):
    """Closes the connections to the permalink role when the web role stops."""

    def __init__(self, permalinks: PermalinkClient) -> None:
        self._permalinks = permalinks

    def stopService(self) -> Deferred[Any]:  # noqa: N802 - IService
        """Close them."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._permalinks.close()


@implementer(IStreamServerEndpoint)
class PassedUnixSocket:
    """The Unix socket that systemd passed: `AdoptedStreamServerEndpoint` would change and delete its file."""

    def __init__(self, reactor: Any, fd: int) -> None:
        self._reactor = reactor
        self._fd = fd

    def listen(self, factory: Any) -> Deferred[Any]:
        """Accept connections for ``factory``."""
        return execute(unix_socket.adopt, self._reactor, self._fd, factory)


def endpoint_of(address: TcpAddress | UnixAddress, reactor: Any) -> Any:
    """Return the endpoint of an address of the configuration."""
    if isinstance(address, UnixAddress):
        return UNIXServerEndpoint(reactor, address.path, BACKLOG, SOCKET_MODE, wantPID=True)  # type: ignore[no-untyped-call]
    if ":" in address.host:
        return TCP6ServerEndpoint(reactor, address.port, BACKLOG, address.host)  # type: ignore[no-untyped-call]
    return TCP4ServerEndpoint(reactor, address.port, BACKLOG, address.host)  # type: ignore[no-untyped-call]


def passed_endpoint(fd: int, reactor: Any) -> Any:
    """Return the endpoint of a listening socket that systemd passed."""
    with socket.socket(fileno=fd) as inherited:
        family = inherited.family
        inherited.detach()
    if family == socket.AF_UNIX:
        return PassedUnixSocket(reactor, fd)
    return AdoptedStreamServerEndpoint(reactor, fd, family)  # type: ignore[no-untyped-call]


def listening_endpoints(config: Config, reactor: Any) -> Sequence[Any]:
    """Return where to listen: the socket that systemd passed, else ``web.listen``.

    Of several web roles one is passed a second socket, for the sessions of SockJS that are many requests.
    """
    fd, sockjs = inherited_socket(SOCKET_NAME), inherited_socket(SOCKJS_SOCKET_NAME)
    endpoints = [endpoint_of(config.listen_address, reactor) if fd is None else passed_endpoint(fd, reactor)]
    if sockjs is not None:
        endpoints.append(passed_endpoint(sockjs, reactor))
    return [proxyEndpoint(endpoint) for endpoint in endpoints] if config.web.proxy_protocol else endpoints


def metrics_endpoint(config: Config, reactor: Any) -> Any:
    """Return where metrics are shown: the socket that systemd passed, else ``metrics.listen``; None for nowhere."""
    fd = inherited_socket(METRICS_SOCKET_NAME)
    if fd is not None:
        return passed_endpoint(fd, reactor)
    return endpoint_of(config.metrics_address, reactor) if config.metrics.listen else None


def make_service(config: Config, reactor: Any) -> WebService:
    """Return the web role."""
    pool = PoolClient(
        config,
        reactor,
        on_died=lambda kernel_id, reason, detail, used: kernels.died(kernel_id, reason, detail, used),
        on_wanted_elsewhere=lambda kernel_id: kernels.let_go(kernel_id),
        on_connected=lambda: kernels.pool_connected(),
    )
    events = EventSender(config, reactor) if config.requestlog.enabled else None
    metrics = WebMetrics()
    send = events.send if events is not None else None
    request_log = RequestLog(config.requestlog, send, time.time, reactor.seconds, metrics)
    kept = KeptFiles(
        config.files_path,
        seconds=config.web.files_seconds,
        max_bytes=config.web.max_files_bytes,
        max_kernel_bytes=config.web.max_files_bytes_per_kernel,
        now=time.time,
    )
    kernels = Kernels(config, reactor, pool, utc_now, kept, request_log)
    permalinks = PermalinkClient(config, reactor)
    access = Access(config)
    sockjs = SockJsRoutes(config, kernels, access, reactor, utc_now)
    results = Results(config, time.time)
    leases = LeaseRoutes(config, kernels, access, reactor, utc_now, results, request_log)
    jupyter = JupyterRoutes(config, kernels, access, reactor, utc_now)
    files = StaticFiles(config.static_path)
    description = Description()
    routes = (
        *KernelRoutes(config, kernels, access, reactor, utc_now).routes(),
        *FileRoutes(kernels, Uploads(config, reactor), Downloads(config, reactor), reactor).routes(),
        *ServiceRoutes(config, kernels, access, utc_now).routes(),
        *PermalinkRoutes(permalinks, config.permalink.max_code_bytes, request_log).routes(),
        *files.routes(),
        *Page(
            permalinks,
            config.permalink.max_code_bytes,
            files.current_name,
            analytics.load(config),
            default_language=config.default_language,
            several_languages=len(config.environment) > 1,
            explains_errors=config.web.explain_errors,
        ).routes(),
        *Health(config, kernels, pool, permalinks, reactor, random_factor, utc_now).routes(),
        *Documents(access).routes(),
        *sockjs.routes(),
        *leases.routes(),
        *description.routes(),
        *jupyter.routes(),
        *JupyterSessions(kernels, access, jupyter).routes(),
    )
    description.describe(routes)
    metrics.watch(kernels, events, results)
    router = Router(config, routes, metrics, reactor.seconds)
    max_file_bytes, seconds = config.web.max_upload_bytes, config.web.transfer_seconds
    coming = FileBudget(config.web.max_uploading_bytes, max_file_bytes)
    site = CellSite(
        router,
        config.web.max_body_bytes,
        reactor,
        lambda address: FileBody(
            max_file_bytes, too_large(max_file_bytes), coming, address, seconds=seconds, late=too_slow(seconds)
        ),
        body_seconds=config.web.body_seconds,
    )
    listening = [
        StreamServerEndpointService(endpoint, site)  # type: ignore[no-untyped-call]
        for endpoint in listening_endpoints(config, reactor)
    ]
    for one in listening:
        # an address that is taken must end the process with its reason, not leave it deaf
        one._raiseSynchronously = True
    service = WebService(config, reactor, kernels, pool, listening, router, site)
    door = metrics_endpoint(config, reactor)
    if door is not None:
        watched = CellSite(Router(config, MetricsRoutes(metrics, pool, permalinks).routes()), 0, reactor)
        metrics_listening = StreamServerEndpointService(door, watched)  # type: ignore[no-untyped-call]
        metrics_listening._raiseSynchronously = True
        metrics_listening.setServiceParent(service)  # type: ignore[no-untyped-call]
    before = [events] if events is not None else []
    for part in (*before, sockjs, leases, kernels, pool, _Closing(permalinks), *listening):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service
