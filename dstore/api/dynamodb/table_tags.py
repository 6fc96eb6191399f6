"""Tags of a table: what TagResource, UntagResource and CreateTable take, in AWS's words.

Sources: DynamoDB API reference, Tag; developer guide, "Tagging restrictions"; dynalite's recorded
answers (validations/tagResource); Alternator's suite (test_tag.py).
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import AwsError, resource_not_found, validation
from dstore.api.dynamodb.key_schemas import INVALID
from dstore.api.dynamodb.shape_values import lower_first, shown
from dstore.api.dynamodb.table_names import check_account
from dstore.base.limits import TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX
from dstore.model.errors import RefusalKind, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dstore.api.dynamodb.action import Call
    from dstore.model.table_settings import TableSettings
    from dstore.model.tables import TableDefinition

    Tags = Mapping[str, str]

# Letters, digits and white space of any language, and + - = . _ : / @
_TAG_TEXT: Final = re.compile(r"[\w\s+\-=.:/@]*")
_ARN: Final = re.compile(
    r"arn:[^:]+:(?P<service>[^:]+):[^:]+:(?P<account>[^:]+):(?P<resource>.+)", re.DOTALL
)
_TABLE: Final = re.compile(r"table/([a-zA-Z0-9_.-]{3,255})")
_STREAM: Final = re.compile(rf"{_TABLE.pattern}/stream/.+", re.DOTALL)
_RESERVED: Final = "aws:"


def table_in_arn(call: Call) -> str:
    """Read the table's name from a request's ResourceArn.

    Raises: AwsError: it is missing, no ARN, of no table, or of another account.
    """
    arn = call.members.get("ResourceArn")
    if arn is None:
        raise validation("Invalid TableArn")
    if not arn.startswith("arn:"):
        raise validation(f"{INVALID}ARNs must start with 'arn:': {arn}")
    match = _ARN.fullmatch(arn)
    if match is None or match["service"] != "dynamodb":
        raise validation(f"{INVALID}Provided Arn is not a DynamoDB resource arn: {arn}")
    name = _TABLE.fullmatch(match["resource"])
    if name is None:
        if _STREAM.fullmatch(match["resource"]):  # no table has one
            raise no_such_resource(call)
        raise validation(
            f"{INVALID}Invalid resource arn provided, only table or stream is accepted. "
            f"Provided resource arn: {arn}"
        )
    check_account(match["account"])
    return name[1]


def tag_list(call: Call, name: str) -> list[Any]:
    """Take the member `name`, of which there must be some; ResourceArn's absence comes first.

    Raises: AwsError: it is absent.
    """
    if call.members.get("ResourceArn") is None:
        raise validation("Invalid TableArn")
    found: list[Any] | None = call.members.get(name)
    if found is None:
        raise validation(
            f"1 validation error detected: Value null at '{lower_first(name)}' failed to satisfy "
            "constraint: Member must not be null"
        )
    return found


def no_such_resource(call: Call) -> AwsError:
    """Make what an ARN gets whose table is not there."""
    return resource_not_found(
        f"Requested resource not found: ResourceArn: {call.members['ResourceArn']} not found"
    )


async def set_tags(call: Call, name: str, change: Callable[[Tags], Tags]) -> None:
    """Set a table's tags to what `change` makes of them, in the tenant's turn.

    Raises: AwsError: what `change` raises; there is no such table.
    """

    def changed(definition: TableDefinition, _now_us: int) -> TableSettings:
        settings = definition.settings
        return replace(settings, tags=change(settings.tags))

    try:
        await call.cases.tables.update(call.tenant, name, changed, by=call.principal)
    except Refused as refused:
        if refused.kind is not RefusalKind.NOT_FOUND:
            raise
        raise no_such_resource(call) from None


def tags_at_creation(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Read CreateTable's Tags. Raises: AwsError: a ValidationException."""
    return with_tags({}, given)


def with_tags(before: Mapping[str, str], given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Add tags to those that a table has; a key that is there takes the new value.

    Raises: AwsError: a ValidationException, if a tag is none or there would be too many.
    """
    added: dict[str, str] = {}
    for tag in islice(given, TAGS_MAX + 1):  # one more is too many, or comes twice
        key, value = _key(tag.get("Key")), _value(tag.get("Value"))
        if key in added:
            raise validation(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        added[key] = value
    after = {**before, **added}
    if len(after) > TAGS_MAX:
        raise _too_many()
    return after


def without_tags(before: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """Take tags away; a key that is not there is none.

    Raises: AwsError: a key can be no tag's, or there are more of them than a table has tags.
    """
    gone = {_key(key) for key in islice(keys, TAGS_MAX)}
    if len(keys) > TAGS_MAX:
        raise _too_many()
    return {key: value for key, value in before.items() if key not in gone}


def _too_many() -> AwsError:
    return validation("Number of Tags exceed the current limit for the provided ResourceArn")


def _key(key: str | None) -> str:
    if key is None or not 1 <= len(key) <= TAG_KEY_CHARS_MAX or not _TAG_TEXT.fullmatch(key):
        raise validation(f"The Tag Key provided is invalid, Key: {_shown(key)}")
    if key.lower().startswith(_RESERVED):
        raise validation(f"Tag Key cannot be prefixed with aws:, Key: {key}")
    return key


def _value(value: str | None) -> str:
    if value is None or len(value) > TAG_VALUE_CHARS_MAX or not _TAG_TEXT.fullmatch(value):
        raise validation(f"The Tag Value provided is invalid, Value: {_shown(value)}")
    return value


def _shown(text: str | None) -> str:
    return "null" if text is None else shown([text])
