"""The egress role as a service: one listening socket for each profile that has an allow-list."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from appliance import unix_socket
from appliance.egress.kernels import kernel_uids
from appliance.egress.proxy import Policy, ProxyConnection
from appliance.protocol import egress as decisions
from appliance.zygote.zygote import FIRST_SLOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IListeningPort

    from appliance.config import Config

log = Logger()

#: Kernels pass through the directory and connect; who they are is told by their uid (`appliance.egress.kernels`).
DIRECTORY_MODE = 0o711
SOCKET_MODE = 0o666

#: Names resolved at once; the others wait, within egress.connect_seconds.
RESOLVER_THREADS = 16


class _ProxyFactory(Factory):
    noisy = False

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.connections: set[ProxyConnection] = set()

    def buildProtocol(self, addr: object) -> ProxyConnection:  # noqa: N802 - Twisted
        """Return the protocol for a new connection."""
        connection = ProxyConnection(self._policy, self.connections.discard)
        self.connections.add(connection)
        return connection


class EgressService(Service):
    """Serves kernels while it runs."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        limits = config.egress
        self._admission = decisions.Admission(
            limits.connections_per_kernel, limits.requests_per_minute, limits.connections
        )
        self._ports: dict[str, IListeningPort] = {}
        self._factories: list[_ProxyFactory] = []

    def startService(self) -> None:  # noqa: N802 - IService
        """Listen for the kernels of every profile that has an allow-list; raise `ConfigError` or `OSError`."""
        config = self._config
        uids = kernel_uids(config)
        self._reactor.suggestThreadPoolSize(RESOLVER_THREADS)
        for name in config.egress_profiles:
            policy = Policy(
                profile=name,
                rules=[decisions.parse_rule(text) for text in config.profile[name].egress],
                allowed_networks=[decisions.parse_network(text) for text in config.egress.allow_addresses],
                limits=config.egress,
                kernel_uids=uids,
                first_slot=FIRST_SLOT,
                admission=self._admission,
                resolve=self._resolve,
                reactor=self._reactor,
            )
            factory = _ProxyFactory(policy)
            path = config.egress_socket(name)
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(DIRECTORY_MODE)
            self._ports[name] = unix_socket.listen(self._reactor, factory, path, mode=SOCKET_MODE)
            self._factories.append(factory)
            log.info(
                "egress for profile {profile}: {rules}", profile=name, rules=", ".join(config.profile[name].egress)
            )
        super().startService()  # type: ignore[no-untyped-call]

    async def _resolve(self, host: str) -> Sequence[str]:
        """Return the addresses of ``host``, best first. Raises `OSError`."""
        found = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), socket.getaddrinfo, host, None, type=socket.SOCK_STREAM
        )
        return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))

    async def _stop(self) -> None:
        for name, port in self._ports.items():
            await maybeDeferred(port.stopListening)
            unix_socket.remove(self._config.egress_socket(name))
        self._ports.clear()
        for factory in self._factories:
            for connection in list(factory.connections):
                connection.stop()

    def stopService(self) -> Any:  # noqa: N802 - IService
        """Stop listening and end every connection."""
        super().stopService()  # type: ignore[no-untyped-call]
        return ensureDeferred(self._stop())

    def healthy(self) -> bool:
        """Return whether every socket is open."""
        return bool(self.running) and set(self._ports) == set(self._config.egress_profiles)

    async def prove(self) -> None:
        """Have a turn of the threads that resolve names: when all of them hang, nothing can be let through."""
        await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), int)

    def status(self) -> str:
        """Return one line for ``systemctl status``."""
        return f"{self._admission.open} connections, profiles {', '.join(self._ports) or 'none'}"


def make_service(config: Config, reactor: Any) -> EgressService:
    """Return the egress role."""
    return EgressService(config, reactor)
