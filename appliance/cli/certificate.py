"""Certificates in PEM files, as openssl(1) and `ssl` read them: who they are for, until when, whether the key fits."""

from __future__ import annotations

import datetime
import pathlib
import re
import ssl
import subprocess
import tempfile
from typing import TYPE_CHECKING

import attrs

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPENSSL = "/usr/bin/openssl"
OPENSSL_SECONDS = 30.0

#: Largest file that is read as certificates or key: a chain has a few KiB.
MAX_PEM_BYTES = 1 << 20

#: How openssl(1) writes times: "Nov 24 16:19:40 2026 GMT".
_TIME = "%b %d %H:%M:%S %Y %Z"

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?-----END (?:[A-Z]+ )?PRIVATE KEY-----\n?", re.DOTALL)
_ENCRYPTED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
_NAME = re.compile(
    r"(?:\*\.)?(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@attrs.frozen
class Certificate:
    """What a certificate says. ``names``: host names and addresses it is for; ``chain``: how many follow it."""

    subject: str
    issuer: str
    names: Sequence[str]
    begins: datetime.datetime
    ends: datetime.datetime
    chain: int

    @property
    def self_signed(self) -> bool:
        """Whether nobody else vouches for it."""
        return self.subject == self.issuer

    def days_left(self, now: datetime.datetime) -> float:
        """Return how many days it is still valid; negative when it has ended."""
        return (self.ends - now).total_seconds() / 86_400


def read(path: pathlib.Path) -> str:
    """Return the text of a PEM file. Raises `ConfigError` that names it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror or exc}") from exc
    if len(data) > MAX_PEM_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_PEM_BYTES} bytes, so no certificate or key")
    return data.decode("ascii", "replace")


def first(pem: str) -> str:
    """Return the first certificate of a PEM text, which holds one."""
    return str(_CERTIFICATE.findall(pem)[0])


def join(certificates: str, key: str, what: str) -> str:
    """Return one PEM text of certificate, chain and key, in the order that HAProxy wants.

    Raises `ConfigError` that begins with ``what`` when either is missing.
    """
    chain = _CERTIFICATE.findall(certificates)
    if not chain:
        raise ConfigError(f"{what}: holds no certificate (BEGIN CERTIFICATE)")
    found = _KEY.findall(key)
    if _ENCRYPTED.search(key):
        raise ConfigError(f"{what}: the key has a passphrase, which nobody could type at boot: openssl pkey removes it")
    if not found:
        raise ConfigError(f"{what}: holds no private key (BEGIN PRIVATE KEY)")
    if len(found) > 1:
        raise ConfigError(f"{what}: holds {len(found)} private keys")
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in (*chain, *found))


def check_key(pem: str, what: str) -> None:
    """Raise `ConfigError` that begins with ``what`` when the first certificate and the key do not belong together."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except ssl.SSLError as exc:
            if exc.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"{what}: the key is not that of the first certificate; the chain comes after the server's own"
                ) from exc
            raise ConfigError(f"{what}: {exc.reason or exc}") from exc


def parse(text: str, chain: int) -> Certificate:
    """Return what ``openssl x509 -subject -issuer -dates -ext subjectAltName`` printed."""
    fields = dict(
        line.split("=", 1) for line in text.splitlines() if re.match(r"(subject|issuer|notBefore|notAfter)=", line)
    )
    names = re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)

    def time(name: str) -> datetime.datetime:
        return datetime.datetime.strptime(fields[name].strip(), _TIME).replace(tzinfo=datetime.UTC)

    return Certificate(
        fields.get("subject", "").strip(),
        fields.get("issuer", "").strip(),
        names,
        time("notBefore"),
        time("notAfter"),
        chain,
    )


def _openssl(*arguments: str, text: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program
            [OPENSSL, *arguments], input=text, capture_output=True, text=True, check=False, timeout=OPENSSL_SECONDS
        )
    except FileNotFoundError as exc:
        raise ConfigError(f"{OPENSSL} is missing: install the package openssl") from exc
    if done.returncode != 0:
        raise ConfigError(f"openssl {arguments[0]}: {done.stderr.strip().splitlines()[0] if done.stderr else 'failed'}")
    return done.stdout


def examine(pem: str, what: str) -> Certificate:
    """Return what the first certificate of a PEM text says. Raises `ConfigError` that begins with ``what``."""
    certificates = _CERTIFICATE.findall(pem)
    if not certificates:
        raise ConfigError(f"{what}: holds no certificate (BEGIN CERTIFICATE)")
    options = ("-noout", "-subject", "-issuer", "-dates", "-ext", "subjectAltName", "-nameopt", "RFC2253")
    try:
        return parse(_openssl("x509", *options, text=certificates[0]), len(certificates) - 1)
    except (ConfigError, KeyError, ValueError) as exc:
        raise ConfigError(f"{what}: {exc}") from exc


def make_self_signed(names: Sequence[str], days: int) -> str:
    """Return a new key and a certificate for ``names`` that it signs itself. Raises `ConfigError`."""
    for name in names:
        if len(name) > 253 or not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no host name")
    alternative = ",".join(f"DNS:{name}" for name in names)
    with tempfile.TemporaryDirectory() as work:
        key = pathlib.Path(work) / "key.pem"
        made = _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days),
            "-subj", f"/CN={names[0][:64]}", "-addext", f"subjectAltName={alternative}",
            "-addext", "extendedKeyUsage=serverAuth", "-keyout", str(key),
        )  # fmt: skip
        return join(made, key.read_text(encoding="ascii"), "openssl req")
