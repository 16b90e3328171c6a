from __future__ import annotations

import os
import pathlib
import re
import tomllib

import attrs
import pytest

from appliance import config
from appliance.config import Config, Environment, TcpAddress, UnixAddress
from appliance.errors import ConfigError


def test_defaults_are_valid_and_every_key_says_why() -> None:
    assert config.parse("") == Config()
    for item in (Config(), Config().web, Config().pool, Config().clocks, Config().profile["default"]):
        for field in attrs.fields(type(item)):
            value = getattr(item, field.name)
            if isinstance(value, str | int | float | tuple):
                assert len(field.metadata["doc"]) > 10, field.name


@pytest.mark.parametrize("comments", [False, True])
def test_rendered_text_reads_back_to_an_equal_value(comments: bool) -> None:
    changed = config.parse(
        """
        runtime_dir = "/run/x"
        [web]
        listen = "unix:/run/\\u007f \\"quoted\\" é"
        proxy_protocol = true
        [clocks]
        idle_seconds = 1e-7
        [profile.big]
        memory_bytes = 8_000_000_000
        [environment.python]
        preload = []
        [environment.sage-10]
        python = "/opt/sage/bin/python3"
        ready = 0
        """
    )
    for value in (Config(), changed):
        assert config.parse(config.render(value, comments=comments)) == value
    assert changed.profile["default"] == Config().profile["default"]
    assert set(changed.environment) == {"python", "sage-10"}
    assert changed.ready == {"python": changed.pool.ready, "sage-10": 0}


def test_profiles_are_exposed_on_purpose_but_for_the_default() -> None:
    assert Config().exposed_profiles == {"default"}
    text = "[profile.default]\nexposed = false\n[profile.heavy]\nexposed = true\n[profile.exam]\n"
    assert config.parse(text).exposed_profiles == {"default", "heavy"}


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(config.Output)])
def test_an_output_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"output.{name}"):
        config.parse(f"[output]\n{name} = 0")


def test_comments_hold_the_reason_of_every_key() -> None:
    text = config.render(Config(), comments=True)
    assert "# " + attrs.fields(config.Pool).refill_delay_seconds.metadata["doc"] in text
    keys = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    lines = text.splitlines()
    assert all(lines[lines.index(key) - 1].startswith("# ") for key in keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", ["unknown key colour", "runtime_dir"]),
        ("[web]\nlisen = 'x'", ["unknown key web.lisen", "listen"]),
        ("[profile.a]\negress = 'pypi.org'", ["profile.a.egress", "list of strings"]),
        ("[profile.a]\negress = ['https://pypi.org/']", ["profile.a.egress", "https://pypi.org/"]),
        ("[profile.a]\negress = ['10.0.0.1']", ["profile.a.egress", "10.0.0.1", "name a host"]),
        ("[egress]\nallow_addresses = ['10.0.0.1/8']", ["egress.allow_addresses", "10.0.0.1/8"]),
        ("[egress]\nidle_seconds = 0", ["egress.idle_seconds", "more than 0"]),
        ("[profile.default]\nmemory = 1", ["unknown key profile.default.memory"]),
        ("[web]\nlisten = 8888", ["web.listen", "expected str"]),
        ("[pool]\nmax_kernels = true", ["pool.max_kernels", "expected int"]),
        ("[pool]\nmax_kernels = 0", ["pool.max_kernels", "at least 1"]),
        ("[pool]\nready = -1", ["pool.ready", "negative"]),
        ("[pool]\nready = 41", ["pool.ready", "max_kernels"]),
        ("[web]\nmax_upload_bytes = 70_000_000", ["web.max_upload_bytes_per_kernel", "at least"]),
        ("[web]\nmax_uploading_bytes = 1", ["web.max_uploading_bytes", "at least"]),
        ('[profile.default]\ndata = "datasets"', ["profile.default.data", "absolute"]),
        ('[profile.default]\ndata = "/srv/../etc"', ["profile.default.data", "absolute"]),
        ('[profile.default]\ndata = "/"', ["profile.default.data", "absolute"]),
        ("[clocks]\nidle_seconds = inf", ["clocks.idle_seconds", "finite"]),
        ("[clocks]\nidle_seconds = nan", ["clocks.idle_seconds", "finite"]),
        ("pool = 3", ["pool", "expected a table"]),
        ("profile = 3", ["profile", "[profile.NAME]"]),
        ("[environment.'../x']\n", ["environment", "'../x'"]),
        ("[environment.bash]\nkernelspec = '../bash'", ["environment.bash.kernelspec", "no name of a kernelspec"]),
        ("[environment.r]\nready = -1", ["environment.r.ready", "negative"]),
        ("[environment.r]\nready = 'one'", ["environment.r.ready", "expected int"]),
        ("[environment.r]\nready = 41", ["environment.r.ready", "max_kernels"]),
        ("[environment.python]\npreload = [1]", ["environment.python.preload", "list of strings"]),
        ("runtime_dir = 'run'", ["runtime_dir", "absolute"]),
        (f"runtime_dir = '/{'x' * 50}'", ["runtime_dir", "50 bytes", "unix(7)"]),
        ("log_level = 'loud'", ["log_level", "loud"]),
        ("[ids]\ncount = 100", ["ids.count", "2000"]),
        ("[ids]\nbase = 4_294_967_000", ["ids", "base + count"]),
        ("[web]\nlisten = 'localhost'", ["web.listen", "ADDRESS:PORT"]),
        ("= 1", ["not TOML"]),
    ],
)
def test_mistakes_are_errors_that_name_the_file_and_the_key(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "/etc/x.toml")
    assert re.match(r"/etc/x\.toml(, line [12])?: ", caught.value.message)
    for word in words:
        assert word in caught.value.message


def test_the_longest_runtime_directory_leaves_room_for_the_longest_socket() -> None:
    longest = config.parse(f"runtime_dir = '/{'x' * (config.MAX_RUNTIME_DIR_BYTES - 1)}'")
    assert len(os.fsencode(longest.kernels_path / ("0" * 36) / "control")) < 108
    proxy = longest.egress_socket("x" * 32)
    assert len(os.fsencode(proxy.with_name(f".{proxy.name}.{2**22}"))) < 108  # its name until it listens


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("127.0.0.1:8888", TcpAddress("127.0.0.1", 8888), "http://127.0.0.1:8888"),
        ("0.0.0.0:80", TcpAddress("0.0.0.0", 80), "http://127.0.0.1:80"),
        ("[::1]:8080", TcpAddress("::1", 8080), "http://[::1]:8080"),
        ("[::]:8080", TcpAddress("::", 8080), "http://[::1]:8080"),
        ("localhost:1", TcpAddress("localhost", 1), "http://localhost:1"),
        ("unix:/run/web.sock", UnixAddress("/run/web.sock"), "unix:/run/web.sock"),
    ],
)
def test_listen_addresses(text: str, address: TcpAddress | UnixAddress, url: str) -> None:
    assert config.listen_address(text) == address
    assert address.url == url


@pytest.mark.parametrize("text", ["", "8888", ":8888", "a:0", "a:65536", "::1:80", "a b:80", "unix:relative", "a:-1"])
def test_other_listen_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.listen"):
        config.listen_address(text)


def test_load_reads_a_file_and_names_it_when_it_cannot(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text('log_level = "debug"\n')
    assert config.load(file).log_level == "debug"
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        config.load(tmp_path / "missing.toml")
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"appliance\.toml"):
        config.load(file)


def test_load_without_a_path_uses_the_system_file_when_there_is_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.config.files.SYSTEM_FILE", tmp_path / "system.toml")
    assert config.load() == Config()
    (tmp_path / "system.toml").write_text('state_dir = "/srv/cells"')
    assert config.load().database_path == pathlib.Path("/srv/cells/permalinks.sqlite3")


def test_the_interpreter_of_an_environment_is_the_configured_the_built_or_the_packaged_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.config.files.PACKAGE_DIR", tmp_path / "checkout" / "appliance")
    monkeypatch.setattr("appliance.config.files.PACKAGED_ENVIRONMENTS_DIR", tmp_path / "lib")

    def install(path: pathlib.Path) -> pathlib.Path:
        path.parent.mkdir(parents=True)
        path.write_text("")
        path.chmod(0o755)
        return path

    with pytest.raises(ConfigError) as caught:
        config.environment_python("sage", Environment())
    assert str(tmp_path / "checkout/.envs/sage/bin/python") in caught.value.message
    assert str(tmp_path / "lib/sage/bin/python") in caught.value.message
    packaged = install(tmp_path / "lib/sage/bin/python")
    assert config.environment_python("sage", Environment()) == packaged
    built = install(tmp_path / "checkout/.envs/sage/bin/python")
    assert config.environment_python("sage", Environment()) == built
    with pytest.raises(ConfigError, match="/nowhere/python"):
        config.environment_python("sage", Environment(python="/nowhere/python"))


def test_accounts_by_number_and_by_name() -> None:
    assert (config.uid_of("1879113729"), config.gid_of("1879113729")) == (1879113729, 1879113729)
    assert (config.uid_of("root"), config.gid_of("root")) == (0, 0)
    for lookup in (config.uid_of, config.gid_of):
        with pytest.raises(ConfigError, match="no-such-account"):
            lookup("no-such-account")


def test_defaults_are_plain_toml() -> None:
    assert tomllib.loads(config.render(Config()))["web"]["listen"] == "127.0.0.1:8888"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("max_result_bytes = 0", "results.max_result_bytes"),
        ("max_result_bytes = 8388609", "results.max_result_bytes"),
        ("max_bytes = 1000", "results.max_result_bytes"),
        ("keep_seconds = 0", "results.keep_seconds"),
    ],
)
def test_results_have_limits(text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        config.parse(f"[results]\n{text}")


def test_the_default_environment_is_python_the_first_or_the_one_that_is_named() -> None:
    assert (Config().default_environment, Config().default_language) == ("python", "python")
    one = Config(environment={"science": Environment(), "r": Environment()})
    assert (one.default_environment, one.default_language) == ("science", "python")
    named = config.parse('[web]\ndefault_environment = "math"\n[environment.math]\nlanguage = "sage"')
    assert (named.default_environment, named.default_language) == ("math", "sage")


def test_a_default_environment_may_be_one_that_was_added_and_no_other(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(f'environments_dir = "{tmp_path}"\n[web]\ndefault_environment = "sage"\n')
    with pytest.raises(ConfigError, match=r"web\.default_environment.*python.*'sage'"):
        config.load(file)
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage/environment.toml").write_text('name = "sage"\n[environment]\nkernelspec = "sage"\n')
    assert config.load(file).default_environment == "sage"
