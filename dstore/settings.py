"""The settings of a process: TOML file < environment DSTORE_* < flags, by the one list of rows.

`setting_rows.SETTINGS` is that list. A bad value, or a key that the file should not have, is
refused with a sentence that names where it stands.

To add a setting: one row there, one field in `Settings`, one line in `config/dstore.toml`.
"""

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dstore.base.limits import JOIN_TOKEN_CHARS_MAX
from dstore.base.logging import LogFormat, LogLevel
from dstore.setting_kinds import BadValue
from dstore.setting_rows import ADMIN_PORT, PEER_PORT, SETTINGS, RequestLog, Setting

JOIN_TOKEN_VARIABLE: Final = "DSTORE_JOIN_TOKEN"  # noqa: S105 - a name
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class SettingsError(Exception):
    """The process was told something it can't start with; the message is a sentence to print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value; the row of the same name in `SETTINGS` explains it."""

    data: Path
    host: str
    port: int
    admin_host: str
    admin_port: int
    roles: tuple[str, ...]
    location: str
    zone: str
    workers: int
    ranges_per_table: int
    replication_factor: int
    scrub_period_s: float
    scrub_bytes_s: int
    split_size_bytes: int
    split_requests_per_s: int
    split_sustained_s: float
    insecure: bool
    drain_timeout_s: float
    page_cache_bytes: int
    entry_cache_bytes: int
    open_files_max: int
    wal_pages_checkpoint: int
    copy_bytes_per_s: int
    free_disk_bytes_min: int
    peer_host: str
    peer_port: int
    peer_url: str | None
    join_token_file: Path | None
    etcd_endpoints: tuple[str, ...] | None
    etcd_ca: Path | None
    etcd_cert: Path | None
    etcd_key: Path | None
    etcd_namespace: str | None
    control_store: str
    control_store_password_file: Path | None
    control_key_file: Path | None
    control_key_command: tuple[str, ...] | None
    log_level: LogLevel
    log_format: LogFormat
    log_requests: RequestLog
    tls_cert: Path | None
    tls_key: Path | None
    # The text of a join token that came by its variable: used once, and gone in minutes.
    join_token: str | None = field(default=None, repr=False)

    @property
    def has_tls(self) -> bool:
        """Tell whether the process serves HTTPS."""
        return self.tls_cert is not None

    @property
    def admin_port_wanted(self) -> int:
        """The admin port to ask for: free ones come in pairs, unless one was chosen."""
        return 0 if self.port == 0 and self.admin_port == ADMIN_PORT else self.admin_port

    @property
    def peer_port_wanted(self) -> int:
        """The port to ask for on behalf of other components, as `admin_port_wanted`."""
        return 0 if self.port == 0 and self.peer_port == PEER_PORT else self.peer_port

    def peer_url_at(self, port: int) -> str:
        """Tell where other components find this one, once its peer listener has `port`."""
        if self.peer_url is not None:
            return self.peer_url
        host = f"[{self.peer_host}]" if ":" in self.peer_host else self.peer_host
        return f"https://{host}:{port}"


def load(
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Read the settings of a process; what is given later overrules what is given before.

    Args:
        config: the TOML file, if there is one.
        environment: the process's variables; only the `DSTORE_*` of `SETTINGS` are read.
        flags: values by field name; None, or an empty sequence, means that the flag wasn't given.
    Raises: SettingsError: a sentence that names the source of what can't be used.
    """
    given = {setting.field: setting.default for setting in SETTINGS}
    for setting, value, source in _given(config, environment or {}, flags or {}):
        try:
            given[setting.field] = setting.kind(value)
        except BadValue as reason:
            raise SettingsError(f"{source} {reason}") from None
    settings = Settings(**given, join_token=_join_token(environment or {}))
    _check_together(settings)
    return settings


def _given(
    config: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> Iterator[tuple[Setting, object, str]]:
    """Yield each value that was given, weakest source first, with words for where it stands."""
    if config is not None:
        by_name = {setting.name: setting for setting in SETTINGS}
        for name, value in _flat(_read_toml(config), prefix=""):
            if name not in by_name:
                raise SettingsError(f"{config} has a key that dStore does not know: {name}.")
            yield by_name[name], value, f"{name} in {config}"
    for setting in SETTINGS:
        if setting.variable in environment:
            yield setting, environment[setting.variable], f"The variable {setting.variable}"
    for setting in SETTINGS:
        flag = flags.get(setting.field)
        if flag is not None and flag != ():
            yield setting, flag, f"The flag {setting.flag}"
    unknown = flags.keys() - {setting.field for setting in SETTINGS}
    assert not unknown, unknown


def _join_token(environment: Mapping[str, str]) -> str | None:
    """Take a join token from its variable; whoever uses it judges what it says."""
    token = environment.get(JOIN_TOKEN_VARIABLE)
    if token is None:
        return None
    if not 0 < len(token) <= JOIN_TOKEN_CHARS_MAX or not token.isascii():
        raise SettingsError(
            f"The variable {JOIN_TOKEN_VARIABLE} must be a join token, as `dstore control token "
            "create` prints it."
        )
    return token


def _read_toml(config: Path) -> Mapping[str, Any]:
    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{config} can't be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not TOML: {error}.") from None


def _flat(table: Mapping[str, Any], *, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, prefix=f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_together(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("tls.cert and tls.key go together: set both or neither.")
    for host in (settings.host, settings.admin_host):
        if not (settings.has_tls or settings.insecure or is_loopback(host)):
            raise SettingsError(
                f"Listening on {host} lets other machines in: set tls.cert and tls.key, "
                "or --insecure if the network is protected otherwise."
            )
    _check_cluster(settings)


def _check_cluster(settings: Settings) -> None:
    """Refuse what a component of a cluster could not work with."""
    if settings.peer_host in _ANY_ADDRESS and settings.peer_url is None:
        raise SettingsError(
            f"{settings.peer_host} in peer.host is every address of this machine: say in peer.url "
            "at which one other components find it, such as https://node-1.example:8001."
        )
    if (settings.etcd_cert is None) != (settings.etcd_key is None):
        raise SettingsError("etcd.cert and etcd.key go together: set both or neither.")
    if settings.etcd_cert is not None and settings.etcd_ca is None:
        raise SettingsError("etcd.cert needs etcd.ca, by which etcd itself is known.")
    hosts = [endpoint.rpartition(":")[0].strip("[]") for endpoint in settings.etcd_endpoints or ()]
    if not (settings.etcd_ca or settings.insecure or all(map(is_loopback, hosts))):
        raise SettingsError(
            "etcd is on another machine: set etcd.ca, or --insecure if the network is protected "
            "otherwise."
        )
    if settings.join_token is not None and settings.join_token_file is not None:
        raise SettingsError(
            f"There are two join tokens: the variable {JOIN_TOKEN_VARIABLE} and join.token_file; "
            "set one."
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address; a name other than localhost never is."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
