"""The one list of what an operator may set: names, kinds, defaults and their sentences.

From a name follow the TOML key (`tls.cert` is `cert` under `[tls]`), the variable
(`DSTORE_TLS_CERT`), the flag (`--tls-cert`) and the field of `settings.Settings` (`tls_cert`).
No secret is a setting: arguments and environments are read by too many. Files that hold one are.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from dstore.base import limits, scrub_limits, split_limits
from dstore.base.logging import LogFormat, LogLevel
from dstore.setting_kinds import (
    Choice,
    Kind,
    addresses,
    boolean,
    bytes_count,
    command,
    https_url,
    location,
    path,
    seconds,
    text,
    whole,
    words,
    zone,
)


class RequestLog(StrEnum):
    """Which requests get a line in the log."""

    NONE = "none"
    ERRORS = "errors"
    ALL = "all"


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
PEER_PORT: Final = 8001

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
        help="What this process is: control, node, proxy, several of them, or `all`.",
        flag_name="role",
    ),
    Setting(
        name="location",
        kind=location,
        default="NA",
        help="Where this installation rules, the fourth part of every resource id.",
    ),
    Setting(
        name="zone",
        kind=zone,
        default="default",
        help="What fails together with this process, such as a rack; placement spreads over zones.",
    ),
    Setting(
        name="workers",
        kind=whole(1, limits.WORKERS_MAX),
        default=1,
        help="How many processes of a proxy share its port; any other role is one process.",
    ),
    Setting(
        name="ranges_per_table",
        kind=whole(0, limits.NEW_TABLE_RANGES_MAX),
        default=0,
        help="In how many ranges control makes a table; 0 is one for each active node, 8 at most.",
    ),
    Setting(
        name="replication_factor",
        kind=whole(1, limits.REPLICATION_FACTOR_MAX),
        default=limits.REPLICATION_FACTOR_DEFAULT,
        help="How many copies of a new table control makes, each on a node of its own.",
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
        name="copy_bytes_per_s",
        kind=bytes_count(0),
        default=limits.REPLICA_COPY_BYTES_PER_S,
        help="What a node sends of copies of ranges in a second, all together; 0 is no limit.",
    ),
    Setting(
        name="scrub.period_s",
        kind=seconds(60, 366 * limits.DAY_S),
        default=scrub_limits.SCRUB_PERIOD_S,
        help="Seconds in which every range's replicas are read whole and compared once.",
    ),
    Setting(
        name="scrub.bytes_s",
        kind=bytes_count(64 * 1_024),
        default=scrub_limits.SCRUB_BYTES_S,
        help="Bytes a second that a node's scrubs read, what its ranges' other replicas read too.",
    ),
    Setting(
        name="split.size_bytes",
        kind=bytes_count(split_limits.SPLIT_BYTES_LEAST),
        default=split_limits.SPLIT_BYTES,
        help="Bytes of a replica from which on control splits its range in two.",
    ),
    Setting(
        name="split.requests_per_s",
        kind=whole(0, 1_000_000),
        default=split_limits.SPLIT_REQUESTS_PER_S,
        help="Requests a second from which on control splits a range; 0: none for its requests.",
    ),
    Setting(
        name="split.sustained_s",
        kind=seconds(0, limits.DAY_S),
        default=split_limits.SPLIT_SUSTAINED_S,
        help="Seconds for which so many requests must have come before a range is split.",
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
        name="peer.host",
        kind=text,
        default="127.0.0.1",
        help="The address on which other components reach this one, by mutual TLS always.",
    ),
    Setting(
        name="peer.port",
        kind=whole(0, 65_535),
        default=PEER_PORT,
        help="The TCP port for other components; 0 takes a free one, as the default if port is 0.",
    ),
    Setting(
        name="peer.url",
        kind=https_url,
        default=None,
        help="Where others find this component, if not at `peer.host` and `peer.port`.",
    ),
    Setting(
        name="join.token_file",
        kind=path,
        default=None,
        help="The file with the join token, read until this component has joined a control plane.",
    ),
    Setting(
        name="etcd.endpoints",
        kind=addresses,
        default=None,
        help="The etcd servers as host:port; without any, the topology is kept in this process.",
        flag_name="etcd-endpoint",
    ),
    Setting(
        name="etcd.ca",
        kind=path,
        default=None,
        help="The PEM file of the authority that etcd's certificates are signed by.",
    ),
    Setting(
        name="etcd.cert",
        kind=path,
        default=None,
        help="The PEM file of the certificate for etcd, if it wants one; goes with `etcd.key`.",
    ),
    Setting(
        name="etcd.key",
        kind=path,
        default=None,
        help="The PEM file of that certificate's private key, readable by this user only.",
    ),
    Setting(
        name="etcd.namespace",
        kind=text,
        default=None,
        help="What stands before every key in etcd, so that several control planes may share one.",
    ),
    Setting(
        name="control.store",
        kind=text,
        default="sqlite",
        help="Control's store: sqlite, sqlite:PATH, or postgresql://USER@HOST/DATABASE.",
    ),
    Setting(
        name="control.store_password_file",
        kind=path,
        default=None,
        help="The file with PostgreSQL's password, one line, readable by this user only.",
    ),
    Setting(
        name="control.key_file",
        kind=path,
        default=None,
        help="The file with control's own key, `control.key` under `data` if none is named.",
    ),
    Setting(
        name="control.key_command",
        kind=command,
        default=None,
        help="The command that prints control's own key, run without a shell; instead of a file.",
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
