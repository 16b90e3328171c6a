from __future__ import annotations

import datetime
import os
import pathlib
import tempfile

import pytest

from appliance.cli import certificate, check, tls
from appliance.errors import ConfigError

#: Later than what is made here.


def now() -> datetime.datetime:
    """Return a time at which what this test makes is valid."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)


@pytest.fixture(scope="module")
def pem() -> str:
    return certificate.make_self_signed(["cells.example.org", "*.example.org"], 90)


@pytest.fixture(autouse=True)
def group(monkeypatch: pytest.MonkeyPatch) -> None:
    """HAProxy's group is ours: it exists only where the package is installed."""
    entry = tls.grp.getgrgid(os.getgid())
    monkeypatch.setattr(tls.grp, "getgrnam", lambda _: entry)


def parts(pem: str) -> tuple[str, str]:
    """Return certificate and key."""
    begin = pem.index("-----BEGIN PRIVATE KEY-----")
    return pem[:begin], pem[begin:]


def test_a_certificate_to_begin_with(pem: str) -> None:
    found = certificate.examine(pem, "made")
    assert found.names == ["cells.example.org", "*.example.org"]
    assert found.self_signed
    assert found.chain == 0
    assert 89 < found.days_left(now()) <= 90
    certificate.check_key(pem, "made")


@pytest.mark.parametrize("name", ["", "a b", "x,DNS:y", "-a", "a/b", "a" * 300, "ä.example"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no host name"):
        certificate.make_self_signed([name], 1)


def test_what_is_wrong_with_the_files_is_named(pem: str) -> None:
    ours, key = parts(pem)
    assert certificate.join(ours, key, "f") == pem
    with pytest.raises(ConfigError, match="f: holds no certificate"):
        certificate.join(key, key, "f")
    with pytest.raises(ConfigError, match="f: holds no private key"):
        certificate.join(ours, ours, "f")
    with pytest.raises(ConfigError, match="f: holds 2 private keys"):
        certificate.join(ours, key * 2, "f")
    with pytest.raises(ConfigError, match="f: the key has a passphrase"):
        certificate.join(ours, key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "f")
    other = parts(certificate.make_self_signed(["a"], 1))[1]
    with pytest.raises(ConfigError, match="f: the key is not that of the first certificate"):
        certificate.check_key(ours + other, "f")
    with pytest.raises(ConfigError, match="f: "):
        certificate.examine("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "f")


def test_a_file_that_cannot_be_read_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem: No such file"):
        certificate.read(tmp_path / "missing.pem")
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * (certificate.MAX_PEM_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        certificate.read(large)


def test_findings(pem: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cell.pem"
    environment = {tls.VARIABLE: str(file)}
    assert tls.findings({}, now()) == []
    assert tls.findings({tls.VARIABLE: ""}, now()) == []
    (missing,) = tls.findings(environment, now())
    assert missing == f"CELL_TLS_CERTIFICATE: {file}: No such file or directory"
    file.write_text(pem)
    monkeypatch.setattr(tls, "readable_by_edge", lambda _: True)
    assert tls.findings(environment, now()) == []
    (soon,) = tls.findings(environment, now() + datetime.timedelta(days=80))
    assert "ends in 10 days" in soon
    (over,) = tls.findings(environment, now() + datetime.timedelta(days=100))
    assert "the certificate ended on" in over
    (early,) = tls.findings(environment, now() - datetime.timedelta(days=2))
    assert "not valid before" in early
    monkeypatch.setattr(tls, "readable_by_edge", lambda _: False)
    (closed,) = tls.findings(environment, now())
    assert "the group cell-edge cannot read it" in closed


def test_who_may_read_a_file() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = pathlib.Path(name)
        file = directory / "cell.pem"
        file.write_text("")
        directory.chmod(0o710)
        file.chmod(0o640)
        assert tls.readable_by_edge(file)
        file.chmod(0o600)
        assert not tls.readable_by_edge(file)
        file.chmod(0o640)
        directory.chmod(0o700)
        assert not tls.readable_by_edge(file)


def test_a_variable_is_set_in_its_line() -> None:
    assert tls.with_variable("", "A", "1") == "A=1\n"
    assert tls.with_variable("# x\nB=2", "A", "1") == "# x\nB=2\nA=1\n"
    assert tls.with_variable("A=0\nB=2\n", "A", "1") == "A=1\nB=2\n"
    assert tls.with_variable("#A=0\n", "A", "1") == "#A=0\nA=1\n"
    assert tls.with_variable("A=0\n", "A", r"\1") == "A=\\1\n"


def test_what_haproxy_would_refuse_changes_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise ConfigError("haproxy.cfg: no")

    monkeypatch.setattr(check, "check_edge", refuse)
    file = tmp_path / "edge.env"
    with pytest.raises(ConfigError, match=r"haproxy.cfg: no"):
        tls.set_variable(file, "A", "1")
    assert not file.exists()
    file.write_text("B=1\n")
    with pytest.raises(ConfigError):
        tls.set_variable(file, "A", "1")
    assert file.read_text() == "B=1\n"


def test_install(
    pem: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, key = parts(pem)
    (tmp_path / "c.pem").write_text(ours)
    (tmp_path / "k.pem").write_text(key)
    installed = tmp_path / "tls" / "certificate.pem"
    settings = tmp_path / "edge.env"
    restarted = []
    monkeypatch.setattr(tls, "INSTALLED", installed)
    monkeypatch.setattr(check, "EDGE_FILES", (tmp_path / "shipped", settings))
    monkeypatch.setattr(check, "check_edge", list)
    monkeypatch.setattr(tls.os, "chown", lambda *_: None)
    monkeypatch.setattr(tls.os, "fchown", lambda *_: None)
    monkeypatch.setattr(tls.units, "is_active", lambda _: True)
    monkeypatch.setattr(tls.units, "restart", lambda unit, *, gently: restarted.append((unit, gently)))
    assert tls.install(tmp_path / "c.pem", tmp_path / "k.pem") == 0
    assert installed.read_text() == pem
    assert oct(installed.stat().st_mode & 0o777) == "0o640"
    assert settings.read_text() == f"CELL_TLS_CERTIFICATE={installed}\n"
    assert restarted == [("cell-haproxy.service", True)]
    assert "no connection was cut" in capsys.readouterr().out

    def refuse() -> list[str]:
        raise ConfigError("haproxy.cfg: no")

    monkeypatch.setattr(check, "check_edge", refuse)
    with pytest.raises(ConfigError):
        tls.self_signed(["other.example.org"])
    assert installed.read_text() == pem
