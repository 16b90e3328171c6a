"""The permalink role as a service: a store behind HTTP on one Unix socket that only the web role may use."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.logger import Logger

from appliance import self_connection, unix_socket
from appliance.config import Config, uid_of
from appliance.errors import ApplianceError
from appliance.notify import inherited_socket
from appliance.peercred import require_peer
from appliance.permalink.resource import make_server
from appliance.permalink.sqlite import SQLiteStore
from appliance.permalink.store import Limits
from appliance.protocol.link_quota import LinkQuota
from appliance.protocol.metrics import Registry

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from appliance.permalink.store import PermalinkStore

log = Logger()

#: Name of the socket that systemd passes (FileDescriptorName=).
SOCKET_NAME = "permalink"


#: What a store tells of itself at any moment.
STORE_GAUGES = {
    "queue_writes": "Writes that wait for the disk.",
    "group_writes": "Writes of the last commit.",
    "database_bytes": "Size of the database after the last commit.",
    "database_limit_bytes": "Largest size of the database.",
    "damaged": "1 when damage was found and writing has ended.",
}


def _figure(store: PermalinkStore, name: str) -> dict[tuple[str, ...], float]:
    return {(): float(store.figures()[name])}


def store_of(config: Config) -> tuple[Any, Any]:
    """Return the class of the store that the configuration asks for, and where it is."""
    if config.database_url:
        from appliance.permalink.postgres import PostgresStore

        return PostgresStore, config.database_url
    return SQLiteStore, config.database_path


class PermalinkService(Service):
    """Serves permalinks while it runs."""

    def __init__(self, config: Config, reactor: Any, make_store: Any = None) -> None:
        self._config = config
        self._reactor = reactor
        self._make_store = make_store
        self._store: PermalinkStore | None = None
        self._server: Any = None
        self._port: IListeningPort | None = None
        self._inherited: int | None = None

    def startService(self) -> None:  # noqa: N802 - IService
        """Open the database and listen; raise `ConfigError` or `OSError` when that is impossible."""
        config = self._config
        web = uid_of(config.users.web)
        limits = config.permalink
        make, place = store_of(config)
        self._store = store = (self._make_store or make)(
            place,
            self._reactor,
            Limits(max_bytes=limits.max_database_bytes, expire_unread_days=limits.expire_unread_days),
        )
        registry = Registry()
        for name, text in STORE_GAUGES.items():
            registry.gauge(f"cell_permalink_{name}", text, functools.partial(_figure, store, name))
        quota = LinkQuota(limits.links_per_address_per_hour, limits.bytes_per_address_per_hour)
        server = make_server(self._store, limits.max_code_bytes, self._reactor, quota, registry)
        self._server = server
        factory = require_peer(server, frozenset({web}))
        factory.noisy = False
        self._inherited = inherited_socket(SOCKET_NAME)
        self._port = unix_socket.listen(self._reactor, factory, config.permalink_socket, inherited=self._inherited)
        super().startService()  # type: ignore[no-untyped-call]
        log.info(
            "permalinks in {database}", database=str(config.database_path) if make is SQLiteStore else "PostgreSQL"
        )

    async def _stop(self) -> None:
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            if self._inherited is None:
                unix_socket.remove(self._config.permalink_socket)
        if self._store is not None:
            await self._store.close()

    def stopService(self) -> Any:  # noqa: N802 - IService
        """Stop listening, commit what was accepted, close the database."""
        super().stopService()  # type: ignore[no-untyped-call]
        return ensureDeferred(self._stop())

    def healthy(self) -> bool:
        """Return whether the socket is open and the writer runs.

        A full disk is told to clients; a restart would not cure it.
        """
        return self._port is not None and self._store is not None and self._store.alive()

    async def prove(self) -> None:
        """Write and read the canary over HTTP. A database that says no has answered: restarting would not cure it."""
        if self._server is None or not await self_connection.http_status(self._reactor, self._server, "/healthz"):
            raise ApplianceError("the permalink role does not answer itself")

    def status(self) -> str:
        """Return one line for ``systemctl status``."""
        return "serving permalinks" if self.healthy() else "stopped"


def make_service(config: Config, reactor: Any) -> PermalinkService:
    """Return the permalink role."""
    return PermalinkService(config, reactor)
