"""Which words an operation has for what is wrong with a request by itself.

AWS has two generations of checks of values, expressions and what goes together, and an operation
has one of them:

- PutItem, UpdateItem and DeleteItem the newer one, in an envelope: "1 validation error detected: ".
- GetItem, BatchGetItem and Query the newer one, without it.
- BatchWriteItem and Scan the older one, which is what the modules that check say first.

The newer one does not say which of ExpressionAttributeValues is wrong, lists the members of a set
in another manner, and reads exponents in full. A value without a type or with two, and what is too
large, stand outside the envelope; so does all that only the table or the item tells.

The writes of one item tell of their members otherwise, too, as long as none is missing: that a
table's name is empty hides the rest, and ReturnValues is complained of in another sentence, which
hides the rest of an UpdateItem.

Sources: paritysuite/dynamodb-conformance, tests/tier3/error-messages/valueLayers.test.ts,
putItem.test.ts and deleteItem.test.ts, run against the service in four regions in October 2026, and
captures/cross-region-latest.json and registry/splits.json; for what is bare nubo-db/dynoxide#152.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dstore.api.dynamodb.errors import AwsError, aws_error_of, validation
from dstore.api.dynamodb.shapes import listed
from dstore.expressions import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.api.dynamodb.action import Call

ENVELOPE: Final = "1 validation error detected: "
NOT_EMPTY: Final = "greater than or equal to 1"
_ABSENT: Final = "Value null at '"
_BOUND: Final = "failed to satisfy constraint: Member must have length"
_NO_NAME: Final = f"Value '' at 'tableName' {_BOUND} {NOT_EMPTY}"
_RETURN_VALUES: Final = (
    "' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
)
_RETURNED: Final = (  # UPDATE_NEW is AWS's
    "Failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
)
_CAPACITY: Final = "' at 'returnConsumedCapacity' failed to satisfy constraint: "
_VALIDATION: Final = "ValidationException"
_Read = TypeVar("_Read")


def enveloped(read: Callable[[Call], _Read], call: Call) -> _Read:
    """Read a request as the writes of one item do. Raises: AwsError: in their words."""
    try:
        return read(call)
    except (AwsError, ExpressionError) as error:
        told = aws_error_of(error)
        if told.name != _VALIDATION or told.newer is None:
            raise
        text = told.newer if told.is_bare else f"{ENVELOPE}{told.newer}"
        raise validation(text) from None


def newly(read: Callable[[Call], _Read], call: Call) -> _Read:
    """Read a request as GetItem, BatchGetItem and Query do. Raises: AwsError: in their words."""
    try:
        return read(call)
    except AwsError as error:
        if error.newer is None or error.newer == error.text:
            raise
        raise validation(error.newer) from None


def of_write(complaints: Sequence[str]) -> str:
    """Say what is wrong with the members of a PutItem or a DeleteItem."""
    if any(text.startswith(_ABSENT) for text in complaints):
        return listed(complaints)
    if _NO_NAME in complaints:
        return f"{ENVELOPE}Value at 'TableName' {_BOUND} {NOT_EMPTY}"
    others = [text for text in complaints if not text.endswith(_RETURN_VALUES)]
    if len(others) == len(complaints):
        return listed(complaints)
    place = 1 + next((at for at, text in enumerate(others) if _CAPACITY in text), -1)
    return listed([*others[:place], _RETURNED, *others[place:]])


def of_update(complaints: Sequence[str]) -> str:
    """Say what is wrong with the members of an UpdateItem."""
    text = of_write(complaints)
    return f"{ENVELOPE}{_RETURNED}" if _RETURNED in text else text


def out_of_bounds(path: str, bound: str) -> AwsError:
    """Say that a list or a map has too few or too many members, as the newer checks do.

    Args:
        path: where it stands, with its own capital letters.
        bound: such as "less than or equal to 100".
    """
    return validation(f"{ENVELOPE}Value at '{path}' {_BOUND} {bound}")
