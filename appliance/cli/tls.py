"""``cellctl tls``: the certificate that HAProxy shows visitors; its state, a new one, one to begin with, none.

HAProxy reads one file with certificate, chain and key. It lies where only root may write and only HAProxy's group may
read, and is put in place whole. What would not work is refused before anything is changed.
"""

from __future__ import annotations

import contextlib
import datetime
import grp
import hashlib
import os
import pathlib
import re
import socket
import ssl
import stat
import tempfile
from typing import TYPE_CHECKING, Any

from appliance.cli import certificate, check, units
from appliance.cli.target import edge_target
from appliance.errors import ApplianceError, ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from appliance.cli.target import Target

#: Where the certificate is kept that this command installs, and whose members may read it.
INSTALLED = pathlib.Path("/etc/cell-appliance/tls/certificate.pem")
GROUP = "cell-edge"

VARIABLE = "CELL_TLS_CERTIFICATE"

#: A certificate that ends so soon should have been renewed: authorities renew thirty days before.
RENEW_DAYS = 14.0

#: Days of a certificate to begin with.
SELF_SIGNED_DAYS = 90

#: Seconds for HAProxy to show its certificate.
HANDSHAKE_SECONDS = 5.0


def add_parser(commands: Any) -> None:
    """Add the command and its verbs to cellctl's."""
    top = commands.add_parser(
        "tls",
        help="show, install or make the certificate that visitors see",
        description="Without a verb, show the certificate that HAProxy is told to use, and what is wrong with it. Exit "
        "status 0: nothing is; 1: something is, or there is none. Verbs: install, self-signed, off.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        return added

    verb("status", "show the certificate, as without a verb")
    put = verb("install", "check a certificate and its key, put them in place, and have HAProxy use them")
    put.add_argument("certificate", metavar="CERTIFICATE", help="PEM file: the certificate, then its chain")
    put.add_argument("key", metavar="KEY", nargs="?", help="PEM file of the key; without it, CERTIFICATE holds it, too")
    begin = verb("self-signed", "make and use a certificate that browsers warn of, to begin with")
    begin.add_argument("names", metavar="NAME", nargs="+", help="host name that visitors use")
    verb("off", "serve without TLS; the certificate stays where it is")


def findings(environment: Mapping[str, str], now: datetime.datetime) -> list[str]:
    """Return what is wrong with the certificate that the edge is told to use, as sentences."""
    name = environment.get(VARIABLE, "")
    if not name:
        return []
    path = pathlib.Path(name)
    try:
        pem = certificate.read(path)
        certificate.check_key(certificate.join(pem, pem, name), name)
        found = certificate.examine(pem, name)
    except ConfigError as exc:
        return [f"{VARIABLE}: {exc.message}"]
    wrong = []
    days = found.days_left(now)
    if days <= 0:
        wrong.append(f"{name}: the certificate ended on {found.ends:%Y-%m-%d}; browsers refuse it")
    elif days < RENEW_DAYS:
        wrong.append(f"{name}: the certificate ends in {days:.0f} days, on {found.ends:%Y-%m-%d}; is renewal at work?")
    if found.begins > now:
        wrong.append(
            f"{name}: the certificate is not valid before {found.begins:%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    if not readable_by_edge(path):
        wrong.append(f"{name}: the group {GROUP} cannot read it (chgrp {GROUP}, chmod 640; its directory, too)")
    return wrong


def readable_by_edge(path: pathlib.Path) -> bool:
    """Return whether HAProxy's account may read a file, by modes of it and of the directories above."""
    try:
        gid = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return False
    resolved = path.resolve()
    for place, group_bit, other_bit in (
        (resolved, stat.S_IRGRP, stat.S_IROTH),
        *((parent, stat.S_IXGRP, stat.S_IXOTH) for parent in resolved.parents),
    ):
        state = place.stat()
        if not state.st_mode & (group_bit if state.st_gid == gid else other_bit):
            return False
    return True


def served(target: Target) -> str:
    """Return the SHA-256 of the certificate that HAProxy shows on this machine. Raises `OSError`."""
    context = target.context()
    if context is None:
        raise OSError("no TLS is configured")
    with (
        socket.create_connection((target.host, target.port), HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    return hashlib.sha256(shown or b"").hexdigest()


def status() -> int:
    """Print what certificate is used and what is wrong with it; return 0 if nothing is, else 1."""
    environment = check.edge_environment()
    name = environment.get(VARIABLE, "")
    if not name:
        print(f"no certificate: visitors are served without TLS ({VARIABLE} is empty)")
        print("  -> cellctl tls install CERTIFICATE KEY, or cellctl tls self-signed NAME to begin with")
        return 1
    now = datetime.datetime.now(datetime.UTC)
    wrong = findings(environment, now)
    with contextlib.suppress(ConfigError):
        pem = certificate.read(pathlib.Path(name))
        found = certificate.examine(pem, name)
        print(f"{name}: {', '.join(found.names) or found.subject}")
        who = "signed by itself: browsers warn of it" if found.self_signed else f"signed by {found.issuer}"
        print(f"{who}; {found.chain} more in its chain")
        print(f"valid until {found.ends:%Y-%m-%d %H:%M} UTC, {found.days_left(now):.0f} days")
        if units.is_active("cell-haproxy.service"):
            wrong += _compared(pem, environment)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    return 1 if wrong else 0


def _compared(pem: str, environment: Mapping[str, str]) -> list[str]:
    """Return that HAProxy shows something else than the file holds."""
    ours = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.first(pem))).hexdigest()
    try:
        if served(edge_target(environment)) == ours:
            print("HAProxy shows it")
            return []
        return ["HAProxy still shows another certificate: systemctl reload-or-restart cell-haproxy.service"]
    except OSError as exc:
        return [f"HAProxy does not answer by TLS: {exc.strerror or exc}"]


def install(certificates: pathlib.Path, key: pathlib.Path | None) -> int:
    """Check a certificate and its key, put them in place and have HAProxy use them. Raises `ConfigError`."""
    pem = certificate.read(certificates)
    what = str(certificates) if key is None else f"{certificates} and {key}"
    joined = certificate.join(pem, pem if key is None else certificate.read(key), what)
    certificate.check_key(joined, what)
    found = certificate.examine(joined, str(certificates))
    now = datetime.datetime.now(datetime.UTC)
    if found.days_left(now) <= 0:
        raise ConfigError(f"{certificates}: the certificate ended on {found.ends:%Y-%m-%d}")
    if not found.names:
        raise ConfigError(f"{certificates}: the certificate names no host (subjectAltName), so browsers refuse it")
    if not found.self_signed and not found.chain:
        print(f"{certificates}: no chain follows the certificate; some browsers will not find who signed it")
    return use(joined)


def self_signed(names: list[str]) -> int:
    """Make a certificate that nobody vouches for, and use it. Raises `ConfigError`."""
    return use(certificate.make_self_signed(names, SELF_SIGNED_DAYS))


def use(pem: str) -> int:
    """Put certificate and key in place and have HAProxy use them. Raises `ApplianceError`; then all is as it was."""
    before = INSTALLED.read_bytes() if INSTALLED.exists() else None
    write(INSTALLED, pem.encode("ascii"), GROUP)
    try:
        set_variable(check.EDGE_FILES[1], VARIABLE, str(INSTALLED))
    except ApplianceError:
        if before is None:
            INSTALLED.unlink()
        else:
            write(INSTALLED, before, GROUP)
        raise
    print(f"{INSTALLED}: in place")
    _reload()
    return 0


def off() -> int:
    """Have HAProxy serve without TLS; the certificate stays where it is. Raises `ApplianceError`."""
    set_variable(check.EDGE_FILES[1], VARIABLE, "")
    print("visitors are served without TLS")
    _reload()
    return 0


def _reload() -> None:
    if units.is_active("cell-haproxy.service"):
        units.restart("cell-haproxy.service", gently=True)
        print("HAProxy uses it; no connection was cut")
    else:
        print("HAProxy does not run: systemctl enable --now cell-edge.target starts it")


def write(path: pathlib.Path, data: bytes, group: str) -> None:
    """Write a file whole or not at all, which only root may write and only ``group`` may read. Raises `ConfigError`."""
    try:
        gid = grp.getgrnam(group).gr_gid
        path.parent.mkdir(mode=0o750, exist_ok=True)
        os.chown(path.parent, 0, gid)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchown(file.fileno(), 0, gid)
                os.fchmod(file.fileno(), 0o640)
                os.fsync(file.fileno())
            os.rename(name, path)
        except BaseException:
            pathlib.Path(name).unlink(missing_ok=True)
            raise
    except KeyError as exc:
        raise ConfigError(f"there is no group {group}: the appliance is not installed as a package here") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror or exc}") from exc


def with_variable(text: str, name: str, value: str) -> str:
    """Return the text of an environment file with a variable set: in its line, else in a new one."""
    line = f"{name}={value}"
    pattern = re.compile(rf"^\s*{name}=.*$", re.MULTILINE)
    if pattern.search(text):
        return pattern.sub(line.replace("\\", r"\\"), text)
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"


def set_variable(path: pathlib.Path, name: str, value: str) -> None:
    """Set a variable of the edge unless HAProxy would refuse it: raises `ConfigError`."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    after = with_variable(before or "", name, value)
    try:
        path.write_text(after, encoding="utf-8")
        check.check_edge()
    except (OSError, ConfigError) as exc:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(before, encoding="utf-8")
        raise ConfigError(exc.message if isinstance(exc, ConfigError) else f"{path}: {exc}") from exc


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says. Raises `ApplianceError`."""
    match arguments.verb:
        case "install":
            key = pathlib.Path(arguments.key) if arguments.key else None
            return install(pathlib.Path(arguments.certificate), key)
        case "self-signed":
            return self_signed(arguments.names)
        case "off":
            return off()
        case _:
            return status()
