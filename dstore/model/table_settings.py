"""What a table is set to beyond its keys: indexes, throughput, protection, tags, expiry.

Almost all of it is declared through DynamoDB's CreateTable and UpdateTable. A v1 table has the
defaults, but for its replication factor, and so has a table recorded before there were settings.
dStore does not throttle by what is set as throughput; it is kept so that it reads back. Times are
wall time in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from dstore.model.keys import KeyKind


class BillingMode(StrEnum):
    """How throughput is accounted for, in AWS's words."""

    PROVISIONED = "PROVISIONED"
    PAY_PER_REQUEST = "PAY_PER_REQUEST"


class TableClass(StrEnum):
    """AWS's price classes of storage; to dStore they are a label."""

    STANDARD = "STANDARD"
    STANDARD_INFREQUENT_ACCESS = "STANDARD_INFREQUENT_ACCESS"


class ProjectionType(StrEnum):
    """Which attributes an index holds beside the keys."""

    ALL = "ALL"
    KEYS_ONLY = "KEYS_ONLY"
    INCLUDE = "INCLUDE"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAttribute:
    """An attribute that is a key, of a table or of an index: its name and its type."""

    name: str
    kind: KeyKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Provisioned throughput; units are AWS's capacity units a second, 0 if on demand.

    `decreases` counts those of the UTC day of `decreased_at_us`, as NumberOfDecreasesToday does.
    """

    read_units: int = 0
    write_units: int = 0
    increased_at_us: int | None = None
    decreased_at_us: int | None = None
    decreases: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPair:
    """Read and write units of a second bound (on-demand maxima, warm throughput); None: unset."""

    read_units: int | None = None
    write_units: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A secondary index as it is declared; `included` are INCLUDE's attributes, in their order.

    A local index has its table's partition key, and throughput of its own it has none.
    """

    name: str
    hash_keys: tuple[str, ...]
    range_keys: tuple[str, ...] = ()
    projection: ProjectionType
    included: tuple[str, ...] = ()
    throughput: Throughput = field(default_factory=Throughput)
    on_demand: UnitPair | None = None
    warm: UnitPair | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All key attributes' names, HASH before RANGE."""
        return self.hash_keys + self.range_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToLive:
    """By which attribute items expire, or did until it was disabled at `changed_at_us`."""

    attribute: str
    is_enabled: bool
    changed_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """A table's settings. Names are stored: one that is renamed or re-typed breaks old directories.

    `index_attributes` are the attributes of index keys that are not keys of the table;
    `on_demand_since_us` is when the table was last switched to PAY_PER_REQUEST, if it was not made
    so. `replication_factor`: how many replicas its ranges are to have, 1 to REPLICATION_FACTOR_MAX;
    None: as many as the cluster is set to. `is_sse_asked`: a client asked for encryption with AWS's
    managed key; the files are always encrypted, with dStore's own keys. `time_to_live` is None
    until somebody enables it. `has_lost_base`, of the hidden table of a global index: after it was
    made an operator has accepted that its base table may have lost writes.
    """

    billing: BillingMode = BillingMode.PAY_PER_REQUEST
    on_demand_since_us: int | None = None
    throughput: Throughput = field(default_factory=Throughput)
    on_demand: UnitPair | None = None
    warm: UnitPair | None = None
    table_class: TableClass | None = None
    class_changed_at_us: int | None = None
    is_protected: bool = False
    is_sse_asked: bool = False
    index_attributes: tuple[KeyAttribute, ...] = ()
    local_indexes: tuple[Index, ...] = ()
    global_indexes: tuple[Index, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    replication_factor: int | None = None
    time_to_live: TimeToLive | None = None
    has_lost_base: bool = False

    @property
    def expires_by(self) -> str | None:
        """The attribute that says when an item expires; None: none of them does."""
        found = self.time_to_live
        return None if found is None or not found.is_enabled else found.attribute

    @property
    def indexes(self) -> tuple[Index, ...]:
        """All secondary indexes, local before global."""
        return self.local_indexes + self.global_indexes


NO_SETTINGS: Final = TableSettings()


def v1_settings(factor: int | None) -> TableSettings:
    """Give the settings of a table made through v1: its replication factor, or none."""
    return NO_SETTINGS if factor is None else TableSettings(replication_factor=factor)
