"""TagResource: add tags to a table, or give those that it has other values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.members import request
from dstore.api.dynamodb.table_members import RESOURCE_ARN, TAGS
from dstore.api.dynamodb.table_tags import (
    set_tags,
    table_in_arn,
    tag_list,
    with_tags,
)

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    tags = tag_list(call, "Tags")
    name = table_in_arn(call)
    if not tags:
        raise validation("Atleast one Tag needs to be provided as Input.")
    with_tags({}, tags)  # what is wrong with them is said before the table is looked for
    await set_tags(call, name, lambda before: with_tags(before, tags))
    return None


ACTION: Final = Action(name="TagResource", shape=request(RESOURCE_ARN, TAGS), run=_run)
