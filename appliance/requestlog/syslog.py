"""Passes events on to a syslog server over TLS (RFC 5425), from the files on disk and as fast as it takes them.

Syslog has no answers. An event counts as passed on when the other side's network stack has acknowledged its bytes
(SIOCOUTQ, tcp(7)). After a broken connection everything behind that is sent again: the server may get an event twice,
with the same id, and none gets lost on the way. A thread of its own does this: it waits, and the role does not.
"""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING

from twisted.logger import Logger

from appliance.errors import ConfigError
from appliance.protocol.request_event import framed, parse, syslog

if TYPE_CHECKING:
    from appliance.requestlog.spool import Spool

log = Logger()

#: Seconds between two looks for new events, and for acknowledgements.
LOOK_SECONDS = 0.25
ACKNOWLEDGED_SECONDS = 0.02

#: Seconds without progress (connecting, writing, acknowledgement) after which a connection is given up.
PATIENCE_SECONDS = 15.0

#: Pause between two attempts to connect: the first, and the longest.
PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 60.0


def tls_context(ca: str, certificate: str) -> ssl.SSLContext:
    """Return what checks the server by the authorities in ``ca``, and shows it ``certificate`` unless that is empty.

    Both are PEM files; an empty ``ca`` is the system's authorities. Raises `ConfigError`.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"requestlog: {ca or certificate} cannot be used: {exc}") from exc
    return context


class Forwarder(threading.Thread):
    """Keeps a connection and sends what the files hold, until it is told to stop."""

    def __init__(self, spool: Spool, host: str, port: int, context: ssl.SSLContext, server_name: str = "") -> None:
        super().__init__(name="requestlog-syslog", daemon=True)
        self._spool = spool
        self._address = (host, port)
        self._context = context
        self._server_name = server_name or host
        self._host_name = socket.gethostname()
        self._ending = threading.Event()
        self.connected = False
        spool.follow()

    def stop(self) -> None:
        """End within moments; what was not passed on is passed on after the next start."""
        self._ending.set()

    def run(self) -> None:
        """Connect and send, again and again."""
        pause = PAUSE_SECONDS
        while not self._ending.is_set():
            try:
                with (
                    socket.create_connection(self._address, PATIENCE_SECONDS) as plain,
                    self._context.wrap_socket(plain, server_hostname=self._server_name) as connection,
                ):
                    self.connected = True
                    pause = PAUSE_SECONDS
                    log.info("request log: connected to the syslog server {host}", host=self._address[0])
                    self._send_all(connection)
            except (OSError, ssl.SSLError) as exc:
                log.warn("request log: syslog server {host}: {error}", host=self._address[0], error=str(exc))
            finally:
                self.connected = False
            self._ending.wait(pause)
            pause = min(MAX_PAUSE_SECONDS, 2 * pause)

    def _send_all(self, connection: ssl.SSLSocket) -> None:
        """Send batch after batch. Raises `OSError` when the connection breaks."""
        while not self._ending.is_set():
            _check_open(connection)
            lines, place = self._spool.pending()
            if lines:
                connection.sendall(b"".join(filter(None, map(self._message, lines))))
                self._wait_for_acknowledgement(connection)
                self._spool.passed_on(place)
            else:
                self._ending.wait(LOOK_SECONDS)

    def _message(self, line: bytes) -> bytes:
        try:
            return framed(syslog(parse(line), self._host_name))
        except ValueError as exc:
            log.warn("request log: a line in the files is no event: {reason}", reason=str(exc))
            return b""

    def _wait_for_acknowledgement(self, connection: ssl.SSLSocket) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while _unacknowledged(connection):
            if self._ending.is_set() or time.monotonic() > end:
                raise TimeoutError("it does not acknowledge what was sent")
            _check_open(connection)
            time.sleep(ACKNOWLEDGED_SECONDS)


def _unacknowledged(connection: socket.socket) -> int:
    """Return how many bytes the other side has not acknowledged."""
    (number,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))
    return int(number)


def _check_open(connection: ssl.SSLSocket) -> None:
    """Raise `ConnectionError` when the other side has closed; it never says anything else."""
    if select.select([connection], [], [], 0)[0]:
        connection.setblocking(False)
        try:
            if not connection.recv(4096):
                raise ConnectionResetError("it has closed the connection")
        except ssl.SSLWantReadError:
            return  # TLS's own messages
        finally:
            connection.settimeout(PATIENCE_SECONDS)
