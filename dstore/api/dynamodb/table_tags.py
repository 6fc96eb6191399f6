"""Tags of a table: what TagResource, UntagResource and CreateTable take, in AWS's words.

Sources: DynamoDB API reference, Tag; developer guide, "Tagging restrictions"; dynalite's recorded
answers (validations/tagResource); Alternator's suite (test_tag.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import AwsError, Namespace, validation
from dstore.api.dynamodb.table_names import ACCOUNT, name_in_arn, no_such_table
from dstore.base.limits import TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.api.dynamodb.action import Call
    from dstore.storage.node_records import TableRecord

# Letters, digits and white space of any language, and + - = . _ : / @
_TAG_TEXT: Final = re.compile(r"[\w\s+\-=.:/@]*")
_ARN_LIKE: Final = re.compile(r".+:.+:.+:.+:.+:.+/.+", re.DOTALL)
_RESERVED: Final = "aws:"


def tagged_table(call: Call) -> TableRecord:
    """Find the table that a request's ResourceArn names.

    Raises: AwsError: it is no ARN, or not of a table; or there is no such table.
    """
    arn: str = call.members["ResourceArn"]
    name = name_in_arn(arn)
    found = call.node.catalog.tenant(call.tenant).tables.get(name)
    if found is None:
        raise no_such_table(name)
    return found


def check_arn(call: Call, operation: str) -> None:
    """Refuse a ResourceArn that is missing, or does not even look like one."""
    arn = call.members.get("ResourceArn")
    if arn is None:
        raise validation("Invalid TableArn")
    if _ARN_LIKE.fullmatch(arn) is None:
        raise AwsError(
            "AccessDeniedException",
            f"User: arn:aws:iam::{ACCOUNT}:{call.tenant} is not authorized to perform: "
            f"dynamodb:{operation} on resource: {arn or '*'}",
            namespace=Namespace.SERVICE,
        )


def tags_at_creation(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Read CreateTable's Tags. Raises: AwsError: a ValidationException."""
    return with_tags({}, given)


def with_tags(before: Mapping[str, str], given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Add tags to those that a table has; a key that is there takes the new value.

    Raises: AwsError: a ValidationException, if a tag is none or there would be too many.
    """
    added: dict[str, str] = {}
    for tag in given:
        key, value = _key(tag.get("Key")), _value(tag.get("Value"))
        if key in added:
            raise validation(f"Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}")
        added[key] = value
    after = {**before, **added}
    if len(after) > TAGS_MAX:
        raise validation("Number of Tags exceed the current limit for the provided ResourceArn")
    return after


def without_tags(before: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """Take tags away; a key that is not there is none. Raises: AwsError: a key can be no tag's."""
    gone = {_key(key) for key in keys}
    return {key: value for key, value in before.items() if key not in gone}


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
    return "null" if text is None else text
