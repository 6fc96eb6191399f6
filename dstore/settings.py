"""What an operator may set: TOML file < environment DSTORE_* < flags, in one declarative table.

`SETTINGS` is the only list. From a name follow the TOML key (`tls.cert` is `cert` under `[tls]`),
the variable (`DSTORE_TLS_CERT`), the flag (`--tls-cert`) and the field of `Settings` (`tls_cert`).
A bad value, or a key that the file should not have, is refused with a sentence that names where it
stands. No secret is a setting: arguments and environments are read by too many.

To add a setting: one row in `SETTINGS`, one field in `Settings`, one line in `config/dstore.toml`.
"""

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from dstore.base import limits
from dstore.base.logging import LogFormat, LogLevel
from dstore.setting_kinds import (
    BadValue,
    Choice,
    Kind,
    boolean,
    bytes_count,
    location,
    path,
    seconds,
    text,
    whole,
    words,
)


class RequestLog(StrEnum):
    """Which requests get a line in the log."""

    NONE = "none"
    ERRORS = "errors"
    ALL = "all"


class SettingsError(Exception):
    """The process was told something it can't start with; the message is a sentence to print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row: its dotted name, how a value is read, what holds without one, and its help."""

    name: str
    kind: Kind
    default: Any
    help: str
    flag_name: str | None = None  # where the flag isn't the name, as `--role` of `roles`

    @property
    def field(self) -> str:
        """The name of the field of `Settings`."""
        return self.name.replace(".", "_")

    @property
    def flag(self) -> str:
        """The name of the flag, as in `--tls-cert`."""
        return "--" + (self.flag_name or self.field.replace("_", "-"))

    @property
    def variable(self) -> str:
        """The name of the environment variable, as in `DSTORE_TLS_CERT`."""
        return "DSTORE_" + self.field.upper()


ADMIN_PORT: Final = 8002

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        name="data",
        kind=path,
        default=Path("dstore-data"),
        help="The directory that holds everything this process stores; made if absent.",
    ),
    Setting(
        name="host",
        kind=text,
        default="127.0.0.1",
        help="The address to listen on; beyond this machine it needs TLS or `insecure`.",
    ),
    Setting(
        name="port",
        kind=whole(0, 65_535),
        default=8000,
        help="The TCP port of the public API; 0 takes a free one.",
    ),
    Setting(
        name="roles",
        kind=words,
        default=("all",),
        help="The roles of this process; `all` means every role there is.",
        flag_name="role",
    ),
    Setting(
        name="location",
        kind=location,
        default="NA",
        help="Where this installation rules, the fourth part of every resource id.",
    ),
    Setting(
        name="insecure",
        kind=boolean,
        default=False,
        help="Listen beyond this machine without TLS, for a network that is protected otherwise.",
    ),
    Setting(
        name="drain_timeout_s",
        kind=seconds(0, 3_600),
        default=limits.DRAIN_TIMEOUT_S,
        help="How many seconds requests under way get to end after SIGTERM.",
    ),
    Setting(
        name="page_cache_bytes",
        kind=bytes_count(limits.MIB),
        default=limits.PAGE_CACHE_BYTES,
        help="Memory for opened pages, of all files together, in bytes.",
    ),
    Setting(
        name="entry_cache_bytes",
        kind=bytes_count(0),
        default=limits.ENTRY_CACHE_BYTES,
        help="Memory for decoded entries, of all files together, in bytes.",
    ),
    Setting(
        name="open_files_max",
        kind=whole(8, 100_000),
        default=limits.OPEN_FILES_MAX,
        help="Range files open at a time, twice that in a burst; each takes up to 11 descriptors.",
    ),
    Setting(
        name="wal_pages_checkpoint",
        kind=whole(100, 1_000_000),
        default=limits.WAL_PAGES_CHECKPOINT,
        help="Pages of 4,096 bytes that a file's log gathers before it is folded in.",
    ),
    Setting(
        name="free_disk_bytes_min",
        kind=bytes_count(0),
        default=limits.FREE_DISK_BYTES_MIN,
        help="Free bytes under `data` below which writes are refused and reads go on.",
    ),
    Setting(
        name="admin.host",
        kind=text,
        default="127.0.0.1",
        help="The address of the admin API: credentials, status, metrics.",
    ),
    Setting(
        name="admin.port",
        kind=whole(0, 65_535),
        default=ADMIN_PORT,
        help="The TCP port of the admin API; 0 takes a free one, as does the default if port is 0.",
    ),
    Setting(
        name="log.level",
        kind=Choice(LogLevel),
        default=LogLevel.INFO,
        help="The least severe event that is logged.",
    ),
    Setting(
        name="log.format",
        kind=Choice(LogFormat),
        default=LogFormat.AUTO,
        help="How a log line looks; `auto` is console on a terminal and JSON elsewhere.",
    ),
    Setting(
        name="log.requests",
        kind=Choice(RequestLog),
        default=RequestLog.ERRORS,
        help="Which requests get a line in the log; `errors` are those answered 500 or above.",
    ),
    Setting(
        name="tls.cert",
        kind=path,
        default=None,
        help="The PEM file of the certificate, its chain after it; goes with `tls.key`.",
    ),
    Setting(
        name="tls.key",
        kind=path,
        default=None,
        help="The PEM file of the certificate's private key, readable by this user only.",
    ),
)


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
    insecure: bool
    drain_timeout_s: float
    page_cache_bytes: int
    entry_cache_bytes: int
    open_files_max: int
    wal_pages_checkpoint: int
    free_disk_bytes_min: int
    log_level: LogLevel
    log_format: LogFormat
    log_requests: RequestLog
    tls_cert: Path | None
    tls_key: Path | None

    @property
    def has_tls(self) -> bool:
        """Tell whether the process serves HTTPS."""
        return self.tls_cert is not None

    @property
    def admin_port_wanted(self) -> int:
        """The admin port to ask for: free ones come in pairs, unless one was chosen."""
        return 0 if self.port == 0 and self.admin_port == ADMIN_PORT else self.admin_port


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
    settings = Settings(**given)
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


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address; a name other than localhost never is."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
