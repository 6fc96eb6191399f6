"""Tables as requests name them: a name, or an ARN with the name in it; and the ARNs that answer.

An ARN is accepted wherever a table's name is. Its region is not compared: a signature's region is
free text to dStore, and one tenant's tables are the same in all of them. Its account is always
twelve zeros; another account's tables are not there to be seen.
Source: DynamoDB API reference, TableName: "You can also provide the Amazon Resource Name (ARN)".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.errors import AwsError, Namespace, resource_not_found, validation
from dstore.base.limits import TABLE_NAME_CHARS_MAX, TABLE_NAME_CHARS_MIN

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call
    from dstore.model.ranges import Table

ACCOUNT: Final = "000000000000"
NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"

_NAME: Final = re.compile(NAME_PATTERN)
_ARN_PARTS: Final = 6
_ARN_FORMAT: Final = (
    "Valid ARN format is 'arn:<awsPartition>:<vendor>:<region>:<subscriber>:"
    "resourceType/resourceName', where Resource name must have length less than or equal to 255, "
    "Resource name must have length greater than or equal to 3, Resource name must satisfy regular "
    f"expression pattern: {NAME_PATTERN}"
)


def table_of(call: Call, given: str) -> Table:
    """Find the table that `given` names, by its name or ARN; a name costs two look-ups.

    Raises: AwsError: there is none (ResourceNotFoundException, in the words of item operations),
        or `given` can be no table's name or ARN (ValidationException).
    """
    found = _find(call, given)
    if found is None:
        raise resource_not_found()
    return found


def described_table(call: Call, given: str) -> Table:
    """Find a table as `table_of` does, for an operation on tables, whose refusal says the name."""
    found = _find(call, given)
    if found is None:
        raise no_such_table(name_of(given))
    return found


def no_such_table(name: str) -> AwsError:
    """Make what an operation on tables answers if there is none of that name."""
    return resource_not_found(f"Requested resource not found: Table: {name} not found")


def name_of(given: str) -> str:
    """Read a table's name from a name or an ARN.

    Raises: AwsError: it is neither.
    """
    if given.startswith("arn:"):
        return name_in_arn(given)
    if not TABLE_NAME_CHARS_MIN <= len(given) <= TABLE_NAME_CHARS_MAX:
        raise validation(
            f"TableName must be at least {TABLE_NAME_CHARS_MIN} characters long and at most "
            f"{TABLE_NAME_CHARS_MAX} characters long"
        )
    if _NAME.fullmatch(given) is None:
        raise validation(
            f"1 validation error detected: Value '{given}' at 'tableName' failed to satisfy "
            f"constraint: Member must satisfy regular expression pattern: {NAME_PATTERN}"
        )
    return given


def name_in_arn(arn: str) -> str:
    """Read a table's name from its ARN.

    Raises: AwsError: it is no table's ARN, or it is of another account.
    """
    parts = arn.split(":", _ARN_PARTS - 1)
    kind, _, name = parts[-1].partition("/")
    if len(parts) < _ARN_PARTS or (not name and kind != "table"):
        raise _no_arn(arn, _ARN_FORMAT)
    if kind != "table" or parts[2] != "dynamodb":
        raise _no_arn(arn, "Invalid resource type")
    if len(name) < TABLE_NAME_CHARS_MIN:
        raise _no_arn(
            arn,
            f"Table name of ARN must have length greater than or equal to {TABLE_NAME_CHARS_MIN}",
        )
    if len(name) > TABLE_NAME_CHARS_MAX or _NAME.fullmatch(name) is None:
        raise _no_arn(arn, _ARN_FORMAT)
    check_account(parts[4])
    return name


def check_account(account: str) -> None:
    """Refuse another account than the one there is. Raises: AwsError: AccessDeniedException."""
    if account != ACCOUNT:
        raise AwsError("AccessDeniedException", "Access is denied", namespace=Namespace.SERVICE)


def table_arn(region: str, name: str) -> str:
    """Spell a table's ARN as a client of that region sees it."""
    return f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{name}"


def _find(call: Call, given: str) -> Table | None:
    tables = call.known_tenant().tables
    found = tables.get(given)
    return tables.get(name_of(given)) if found is None else found


def _no_arn(arn: str, constraint: str) -> AwsError:
    return validation(
        f"1 validation error detected: Value '{arn}' at 'tableName' failed to satisfy constraint: "
        f"{constraint}"
    )
