"""Settings: who overrules whom, and what is refused with which words."""

from pathlib import Path
from typing import Any

import pytest

from dstore.base.logging import LogFormat, LogLevel
from dstore.setting_rows import SETTINGS, RequestLog, Setting
from dstore.settings import Settings, SettingsError, is_loopback, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A place for a TOML file."""
    return tmp_path / "dstore.toml"


def test_defaults_start_a_server_for_this_machine_only() -> None:
    """The first thing a newcomer runs has no file, no variable and no flag."""
    settings = load()
    assert settings.data == Path("dstore-data")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.roles, settings.location) == (("all",), "NA")
    assert (settings.has_tls, settings.insecure) == (False, False)
    assert settings.log_requests is RequestLog.ERRORS


def test_file_yields_to_environment_and_environment_to_flags(config: Path) -> None:
    """DESIGN section 3: TOML file < environment < flags."""
    config.write_text('port = 1\nlocation = "EU"\n[log]\nlevel = "debug"\n')
    environment = {"DSTORE_PORT": "2", "DSTORE_LOCATION": "AP", "DSTORE_TOKEN": "not a setting"}
    settings = load(config=config, environment=environment, flags={"port": 3, "roles": ()})
    assert (settings.port, settings.location) == (3, "AP")
    assert (settings.log_level, settings.roles) == (LogLevel.DEBUG, ("all",))


def test_a_flag_that_was_not_given_overrules_nothing() -> None:
    """The command line hands over None for every flag left out."""
    flags: dict[str, object] = {setting.field: None for setting in SETTINGS}
    assert load(environment={"DSTORE_PORT": "2"}, flags=flags).port == 2


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("DSTORE_DATA", "/srv/dstore", "data", Path("/srv/dstore")),
        ("DSTORE_ROLES", "node, proxy,node", "roles", ("node", "proxy")),
        ("DSTORE_INSECURE", "true", "insecure", True),
        ("DSTORE_INSECURE", "0", "insecure", False),
        ("DSTORE_DRAIN_TIMEOUT_S", "2.5", "drain_timeout_s", 2.5),
        ("DSTORE_PAGE_CACHE_BYTES", "1048576", "page_cache_bytes", 1_048_576),
        ("DSTORE_PAGE_CACHE_BYTES", "2MiB", "page_cache_bytes", 2_097_152),
        ("DSTORE_FREE_DISK_BYTES_MIN", "1 GiB", "free_disk_bytes_min", 1_073_741_824),
        ("DSTORE_LOG_FORMAT", "json", "log_format", LogFormat.JSON),
        ("DSTORE_ZONE", "eu-west.1_a", "zone", "eu-west.1_a"),
        ("DSTORE_PEER_URL", "https://node-1:8001/", "peer_url", "https://node-1:8001"),
        (
            "DSTORE_ETCD_ENDPOINTS",
            "127.0.0.1:1, [::1]:2",
            "etcd_endpoints",
            ("127.0.0.1:1", "[::1]:2"),
        ),
        ("DSTORE_CONTROL_KEY_COMMAND", "kms 'a b' c", "control_key_command", ("kms", "a b", "c")),
    ],
)
def test_variable_is_read_by_its_kind(variable: str, text: str, field: str, value: object) -> None:
    """A variable is text; the field is typed."""
    assert getattr(load(environment={variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DSTORE_PORT", "65536"),
        ("DSTORE_PORT", "-1"),
        ("DSTORE_PORT", "８０"),
        ("DSTORE_PORT", "1_0"),
        ("DSTORE_PORT", ""),
        ("DSTORE_HOST", ""),
        ("DSTORE_HOST", "a\nb"),
        ("DSTORE_ROLES", ""),
        ("DSTORE_ROLES", "Node"),
        ("DSTORE_INSECURE", "yes"),
        ("DSTORE_DRAIN_TIMEOUT_S", "nan"),
        ("DSTORE_DRAIN_TIMEOUT_S", "3601"),
        ("DSTORE_PAGE_CACHE_BYTES", "64MB"),
        ("DSTORE_PAGE_CACHE_BYTES", "99999999999999TiB"),
        ("DSTORE_LOG_LEVEL", "loud"),
        ("DSTORE_LOCATION", "N/A"),
        ("DSTORE_TLS_CERT", ""),
        ("DSTORE_ZONE", "a/b"),
        ("DSTORE_WORKERS", "0"),
        ("DSTORE_PEER_URL", "http://node-1:8001"),
        ("DSTORE_PEER_URL", "https://n1"),
        ("DSTORE_PEER_URL", "https://node-1:8001/path"),
        ("DSTORE_PEER_URL", "https://user@node-1:8001"),
        ("DSTORE_PEER_URL", "https://[::1:8001"),
        ("DSTORE_ETCD_ENDPOINTS", ""),
        ("DSTORE_ETCD_ENDPOINTS", "a:1,,b:2"),
        ("DSTORE_ETCD_ENDPOINTS", "http://a:1"),
        ("DSTORE_ETCD_ENDPOINTS", "a:0"),
        ("DSTORE_CONTROL_KEY_COMMAND", "kms 'open"),
        ("DSTORE_CONTROL_KEY_COMMAND", "''"),
        ("DSTORE_JOIN_TOKEN", "é"),
    ],
)
def test_bad_variable_is_refused_by_name_without_its_value(variable: str, text: str) -> None:
    """The sentence says where to look, and repeats no value: it might be a misplaced secret."""
    with pytest.raises(SettingsError) as refusal:
        load(environment={variable: text})
    sentence = str(refusal.value)
    assert variable in sentence
    assert "must be" in sentence
    assert not text or text not in sentence


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("prot = 1", "prot"),
        ("[log]\nlevle = 'debug'", "log.levle"),
        ("[port]\nnumber = 1", "port.number"),
        ("port = '80a'", "port in"),
        ("port = true", "port in"),
        ("port = 1.5", "port in"),
        ("insecure = 1", "insecure in"),
        ("roles = []", "roles in"),
        ("roles = [1]", "roles in"),
        ("drain_timeout_s = inf", "drain_timeout_s in"),
        ("port = ", "not TOML"),
    ],
)
def test_bad_file_is_refused_by_file_and_key(config: Path, content: str, named: str) -> None:
    """A misspelt key that is silently ignored is found in production."""
    config.write_text(content)
    with pytest.raises(SettingsError) as refusal:
        load(config=config)
    assert str(config) in str(refusal.value)
    assert named in str(refusal.value)


def test_file_that_is_absent_or_binary_is_refused(config: Path) -> None:
    """A file that was named is meant to be read."""
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load(config=config)
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(config=config)


def test_bad_flag_is_refused_by_its_name() -> None:
    """The flag of `roles` is `--role`, and the sentence says what was typed."""
    with pytest.raises(SettingsError, match="The flag --role must be"):
        load(flags={"roles": ("No Role",)})


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing listens; the address is judged
        ("::", False),
        ("192.168.1.1", False),
        ("example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_only_loopback_addresses_count_as_this_machine(host: str, inside: bool) -> None:
    """A name may resolve to anything tomorrow."""
    assert is_loopback(host) is inside


def test_other_machines_are_let_in_by_tls_or_by_saying_insecure_only() -> None:
    """DESIGN section 9: clear text beyond this machine is a decision, not a default."""
    outside: dict[str, Any] = {"host": "::"}
    tls = {"tls_cert": Path("c.pem"), "tls_key": Path("k.pem")}
    with pytest.raises(SettingsError, match="--insecure"):
        load(flags=outside)
    assert load(flags=outside | {"insecure": True}).host == "::"
    assert load(flags=outside | tls).has_tls


def test_certificate_and_key_go_together() -> None:
    """One without the other would silently serve clear text."""
    with pytest.raises(SettingsError, match="go together"):
        load(flags={"tls_cert": Path("c.pem")})
    with pytest.raises(SettingsError, match="go together"):
        load(environment={"DSTORE_TLS_KEY": "k.pem"})


def test_etcd_elsewhere_needs_its_authority_or_saying_insecure() -> None:
    """The topology decides who serves what; nobody else may write it."""
    etcd: dict[str, Any] = {"etcd_endpoints": ("etcd-1:2379",)}
    with pytest.raises(SettingsError, match=r"etcd\.ca"):
        load(flags=etcd)
    assert load(flags=etcd | {"insecure": True}).etcd_endpoints == ("etcd-1:2379",)
    assert load(flags=etcd | {"etcd_ca": Path("ca.pem")}).etcd_endpoints == ("etcd-1:2379",)
    here = {"etcd_endpoints": ("127.0.0.1:2379", "[::1]:2379", "localhost:1")}
    assert load(flags=here).etcd_ca is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"etcd_cert": Path("c.pem")}, "go together"),
        ({"etcd_cert": Path("c.pem"), "etcd_key": Path("k.pem")}, r"needs etcd\.ca"),
        ({"peer_host": "::"}, r"peer\.url"),
    ],
)
def test_settings_of_a_cluster_that_contradict_are_refused(
    flags: dict[str, object], sentence: str
) -> None:
    """Each would start and then not work, or work otherwise than it was meant."""
    with pytest.raises(SettingsError, match=sentence):
        load(flags=flags)


def test_others_find_a_component_at_its_peer_url() -> None:
    """A listener on every address has none to tell others; a free port is known late."""
    assert load().peer_url_at(8001) == "https://127.0.0.1:8001"
    assert load(flags={"peer_host": "::1"}).peer_url_at(9) == "https://[::1]:9"
    told = load(flags={"peer_host": "::", "peer_url": "https://node-1:1"})
    assert told.peer_url_at(9) == "https://node-1:1"
    assert load(flags={"port": 0}).peer_port_wanted == 0
    assert load(flags={"port": 0, "peer_port": 9}).peer_port_wanted == 9


def test_join_token_comes_by_a_variable_or_a_file_and_shows_nowhere() -> None:
    """It admits a component, so it is no argument, and in no line that is logged."""
    settings = load(environment={"DSTORE_JOIN_TOKEN": "dstore-join-v1.AbC"})
    assert settings.join_token == "dstore-join-v1.AbC"
    assert "AbC" not in repr(settings)
    with pytest.raises(SettingsError, match="two join tokens"):
        load(
            environment={"DSTORE_JOIN_TOKEN": "dstore-join-v1.AbC"},
            flags={"join_token_file": Path("token")},
        )


def test_names_of_a_setting_follow_from_one() -> None:
    """One name to remember: key, variable, flag and field."""
    setting = next(setting for setting in SETTINGS if setting.name == "tls.cert")
    assert (setting.flag, setting.variable, setting.field) == (
        "--tls-cert",
        "DSTORE_TLS_CERT",
        "tls_cert",
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_field_a_readable_default_and_a_sentence(setting: Setting) -> None:
    """A row of the table is complete or the process fails at its first start."""
    assert setting.field in Settings.__slots__
    assert setting.default is None or setting.kind(setting.default) == setting.default
    assert setting.help.endswith(".")
    is_file = setting.field.endswith("_file")
    assert is_file or not {"secret", "token", "password"} & set(setting.field.split("_"))
