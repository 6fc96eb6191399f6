"""An item's attributes as keys of secondary indexes: of the right type, not empty, not too long.

Of an attribute that is a key of several indexes, the first index by name is told.
Source: paritysuite/dynamodb-conformance, tests/tier3/error-messages (run against AWS); the sentence
about an update's sizes is from botocore's model, TransactWriteItems, "Validation Error".
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from dstore.api.dynamodb.attributes import TOO_DEEP
from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.item_keys import EMPTY, INVALID, NOT_VALID, empty_kind, too_long, type_of
from dstore.model.keys import KeyKind
from dstore.model.tables import IndexKey, TableDefinition, index_keys
from dstore.service.item_writes import ItemMisfit, Misfit, has_indexable_size
from dstore.service.items import key_names

if TYPE_CHECKING:
    from dstore.expressions import Condition, Projection, Update
    from dstore.model.values import Item

_by_index = attrgetter("index")


def check_index_keys(item: Item, definition: TableDefinition) -> None:
    """Refuse an item to be put that does not fit the table's indexes.

    Raises: AwsError: ValidationException, about a type anywhere first, then what is empty or long.
    """
    keys = index_keys(definition)
    if not keys:
        return
    present = [key for key in sorted(keys, key=_by_index) if key.attribute in item]
    for key in present:
        actual = type_of(item[key.attribute])
        if actual != key.kind:
            raise _mismatch(key, actual)
    for key in present:
        attribute = item[key.attribute]
        kind = empty_kind(attribute)
        if kind is not None:
            raise validation(
                f"{NOT_VALID}A value specified for a secondary index key is not supported. "
                f"{EMPTY.format(kind=kind)} IndexName: {key.index}, IndexKey: {key.attribute}"
            )
        if not has_indexable_size(attribute, key):
            raise too_long(is_partition=key.is_partition)


def check_assigned_types(change: Update, definition: TableDefinition) -> None:
    """Refuse an update that is known, before it meets an item, to give an index a wrong key.

    Raises: AwsError: ValidationException.
    """
    keys = index_keys(definition)
    if not keys:
        return
    assigned = change.assigned_types()
    for key in sorted(keys, key=_by_index):
        actual = assigned.get(key.attribute, key.kind)
        if actual != key.kind:
            raise _mismatch(key, actual)


def check_paths(expression: Condition | Projection | Update, definition: TableDefinition) -> None:
    """Refuse an expression that looks into a key, of the table or of an index: keys are scalars.

    Raises: ExpressionError.
    """
    keys, indexed = key_names(definition), index_key_names(definition)
    expression.check_key_paths(keys=keys, index_keys=indexed)


def index_key_names(definition: TableDefinition) -> list[str]:
    """Name the attributes that are keys of indexes."""
    return [key.attribute for key in index_keys(definition)]


def misfit_error(error: ItemMisfit) -> AwsError:
    """Say in AWS's words what is wrong with an item that an update has made."""
    match error.misfit:
        case Misfit.TOO_LARGE:
            return validation("Item size to update has exceeded the maximum allowed size")
        case Misfit.TOO_DEEP:
            return validation(TOO_DEEP)
        case Misfit.INDEX_KEY_TYPE:
            return validation(
                "The update expression attempted to update the secondary index key to "
                "unsupported type"
            )
        case Misfit.INDEX_KEY_EMPTY:
            is_binary = error.key is not None and error.key.kind is KeyKind.BINARY
            return validation(
                f"{NOT_VALID}The update expression attempted to update a secondary index key to "
                f"a value that is not supported. "
                f"{EMPTY.format(kind='binary' if is_binary else 'string')}"
            )
        case Misfit.INDEX_KEY_TOO_LONG:
            return validation(
                "The update expression attempted to update the secondary index key beyond "
                "allowed size limits"
            )


def _mismatch(key: IndexKey, actual: str) -> AwsError:
    return validation(
        f"{INVALID}Type mismatch for Index Key {key.attribute} Expected: {key.kind} "
        f"Actual: {actual} IndexName: {key.index}"
    )
