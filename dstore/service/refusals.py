"""What a client is told whose tenant or table can't be made, found or deleted: the same everywhere.

A stand-alone node and control decide the same way; both say it in these words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import REPLICATION_FACTOR_MAX, RETRY_AFTER_MS
from dstore.model.errors import (
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    excerpt,
    invalid,
)
from dstore.model.tables import Door

if TYPE_CHECKING:
    from dstore.model.tables import IdType, TableDefinition


_LISTED: Final = frozenset({"node", "range"})


def no_such(what: str, name: str) -> Refused:
    """Say that there is no such tenant or table; or of what nobody creates, such as a node."""
    advice = "list them to see which" if what in _LISTED else "create it first"
    return Refused(RefusalKind.NOT_FOUND, f"There is no {what} {excerpt(name)}; {advice}.")


def index_not_whole(name: str) -> Unavailable:
    """Say that an index is not filled yet, so that nothing can be looked up in it."""
    return Unavailable(
        UnavailableKind.OVERLOADED,
        f"The index {excerpt(name)} is being built; it can be asked once it is active.",
        retry_after_ms=RETRY_AFTER_MS,
    )


def table_exists(name: str) -> Refused:
    """Say that a table can't be declared a second time."""
    return Refused(RefusalKind.CONFLICT, f"Table already exists: {name}")


def tenant_has_tables(count: int) -> Refused:
    """Say that a tenant with tables is not deleted just so."""
    return Refused(
        RefusalKind.CONFLICT,
        f"The tenant still has {count} table(s); delete them first, or repeat with ?force=true.",
    )


def check_deletable(definition: TableDefinition) -> None:
    """Raises: Refused: the table is protected against deletion."""
    if definition.settings.is_protected:
        raise Refused(
            RefusalKind.CONFLICT,
            "Resource cannot be deleted as it is currently protected against deletion. "
            "Disable deletion protection first.",
        )


def check_factor(factor: int | None) -> None:
    """Check how many replicas a table is to have; None: it does not say. Raises: Refused."""
    if factor is not None and not 1 <= factor <= REPLICATION_FACTOR_MAX:
        raise invalid(f"replicationFactor must be 1 to {REPLICATION_FACTOR_MAX}.")


def check_same(definition: TableDefinition, id_type: IdType, factor: int | None) -> None:
    """Check that a table is the one that a v1 PUT asks for. Raises: Refused: it is another one.

    A PUT that says no factor asks for no other than the table has.
    """
    if definition.door is not Door.V1:
        raise Refused(
            RefusalKind.CONFLICT,
            "The table exists and was made through the DynamoDB API; choose another name.",
        )
    if definition.id_type is not id_type:
        raise Refused(
            RefusalKind.CONFLICT,
            f"The table exists with idType {definition.id_type}; "
            "delete it first, or choose another name.",
        )
    known = definition.settings.replication_factor
    if factor not in {None, known}:
        words = (
            "without a replicationFactor" if known is None else f"with replicationFactor {known}"
        )
        raise Refused(
            RefusalKind.CONFLICT,
            f"The table exists {words}; delete it first, or choose another name.",
        )
