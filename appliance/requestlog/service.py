"""The request log as a service: roles connect to one Unix socket, send lines, and are told how many are on disk."""

from __future__ import annotations

import datetime
import pathlib
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from appliance import unix_socket
from appliance.config import Config, uid_of
from appliance.errors import ConfigError
from appliance.peercred import require_peer
from appliance.protocol.request_event import MAX_LINE_BYTES, parse
from appliance.requestlog.spool import Spool
from appliance.requestlog.syslog import Forwarder, tls_context

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

log = Logger()

#: Bytes of one sender that wait for the disk; then it is not read until they are there.
MAX_WAITING_BYTES = 8_388_608

#: Ids of events that are remembered, to take none twice: more than a sender keeps.
MAX_RECENT = 50_000

#: Pause after the disk has refused, as when it is full.
RETRY_SECONDS = 1.0


class _Sender(Protocol):
    """A connection of a role."""

    def __init__(self, log_service: RequestLogService) -> None:
        self._log = log_service
        self._partial = b""
        self._waiting = 0
        self._open = True

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        transport: Any = self.transport
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > MAX_LINE_BYTES:
            log.error("a sender's line has no end: disconnected")
            transport.abortConnection()
            return
        if lines:
            self._waiting += sum(map(len, lines))
            if self._waiting > MAX_WAITING_BYTES:
                transport.pauseProducing()
            self._log.take(self, lines)

    def kept(self, lines: list[bytes]) -> None:
        """Tell the sender that lines are on disk."""
        self._waiting -= sum(map(len, lines))
        if self._open:
            transport: Any = self.transport
            transport.write(b"%d\n" % len(lines))
            transport.resumeProducing()

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        self._open = False


class RequestLogService(Service):
    """Keeps events while it runs, and passes them on."""

    def __init__(self, config: Config, reactor: Any, today: Any = None) -> None:
        self._config = config
        self._reactor = reactor
        self._today = today or (lambda: datetime.datetime.now(datetime.UTC).date())
        self._port: IListeningPort | None = None
        self._spool: Spool | None = None
        self._forwarder: Forwarder | None = None
        self._batch: list[tuple[_Sender, list[bytes]]] = []
        self._busy = False
        self._idle: list[Deferred[None]] = []
        self._recent: dict[str, None] = {}
        self._ill = ""

    def startService(self) -> None:  # noqa: N802 - IService
        """Open the files and listen; raise `ConfigError` or `OSError`."""
        config, limits = self._config, self._config.requestlog
        try:
            self._spool = Spool(config.requestlog_path, limits.max_bytes, limits.retention_days)
        except OSError as exc:
            raise ConfigError(f"requestlog.directory: {config.requestlog_path}: {exc}") from exc
        if limits.syslog:
            host, port = config.syslog_address
            context = tls_context(limits.syslog_ca, limits.syslog_certificate)
            self._forwarder = Forwarder(self._spool, host, port, context, limits.syslog_name)
        factory = Factory.forProtocol(lambda: _Sender(self))
        factory.noisy = False
        senders = frozenset({uid_of(config.users.web)})
        self._port = unix_socket.listen(self._reactor, require_peer(factory, senders), config.requestlog_socket)
        if self._forwarder is not None:
            self._forwarder.start()
        super().startService()  # type: ignore[no-untyped-call]
        log.info("request log in {directory}", directory=str(pathlib.Path(config.requestlog_path)))

    def take(self, sender: _Sender, lines: list[bytes]) -> None:
        """Keep lines of a sender; those that come while the disk is busy are kept together."""
        self._batch.append((sender, lines))
        if not self._busy:
            self._busy = True
            ensureDeferred(self._write()).addErrback(
                lambda failure: log.failure("the request log has failed", failure=failure)
            )

    async def _write(self) -> None:
        spool = self._spool
        try:
            while self._batch and spool is not None:
                batch, self._batch = self._batch, []
                good = [line + b"\n" for _, lines in batch for line in lines if self._good(line)]
                while good:
                    try:
                        pool = self._reactor.getThreadPool()
                        await deferToThreadPool(self._reactor, pool, spool.append, good, self._today())
                    except OSError as exc:
                        if not self._ill:
                            log.error("the request log cannot be written: {error}", error=str(exc))
                        self._ill = str(exc)
                        await deferLater(self._reactor, RETRY_SECONDS)
                    else:
                        self._ill = ""
                        break
                if self._config.requestlog.journal:
                    for line in good:
                        _tell(line)
                for sender, lines in batch:
                    sender.kept(lines)
        finally:
            self._busy = False
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _good(self, line: bytes) -> bool:
        """Return whether a line is an event that was not taken before, as after a broken connection."""
        try:
            event = parse(line)
        except (ValueError, RecursionError) as exc:
            log.error("a sender's line is no event: {reason}", reason=str(exc))
            return False
        if event.id in self._recent:
            return False
        self._recent[event.id] = None
        if len(self._recent) > MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        return True

    async def _stop(self) -> None:
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            unix_socket.remove(self._config.requestlog_socket)
        if self._busy and not self._ill:
            self._idle.append(Deferred())
            await self._idle[-1]
        if self._forwarder is not None:
            self._forwarder.stop()
        if self._spool is not None:
            self._spool.close()

    def stopService(self) -> Any:  # noqa: N802 - IService
        """Stop listening, keep what was taken; what was not passed on is, after the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        return ensureDeferred(self._stop())

    def healthy(self) -> bool:
        """Return whether events are taken. A full disk is told in the log; a restart would not cure it."""
        return self._port is not None and bool(self.running)

    async def prove(self) -> None:
        """Have a turn of the threads that write: when all of them hang, nothing is kept."""
        await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), int)

    def status(self) -> str:
        """Return one line for ``systemctl status``."""
        if self._ill:
            return f"cannot write: {self._ill}"
        parts = [f"{self._spool.dropped if self._spool else 0} events dropped"]
        if self._forwarder is not None:
            parts.append(f"syslog server {'connected' if self._forwarder.connected else 'not connected'}")
        return ", ".join(parts)


def _tell(line: bytes) -> None:
    """Put an event into the journal, or on standard error, with its fields."""
    event = parse(line)
    log.info(
        "{kind} {outcome} {seconds:.3f} s {language} {page} {address} {kernel}",
        kind=event.kind,
        outcome=event.outcome,
        seconds=event.seconds,
        language=event.language,
        profile=event.profile,
        page=event.page,
        address=event.address,
        kernel=event.kernel,
        event=event.id,
    )


def make_service(config: Config, reactor: Any) -> RequestLogService:
    """Return the request log role."""
    return RequestLogService(config, reactor)
