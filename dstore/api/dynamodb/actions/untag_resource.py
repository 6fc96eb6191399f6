"""UntagResource: take tags away from a table; a key that it does not have is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.members import request
from dstore.api.dynamodb.table_members import RESOURCE_ARN, TAG_KEYS
from dstore.api.dynamodb.table_tags import (
    set_tags,
    table_in_arn,
    tag_list,
    without_tags,
)

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    keys = tag_list(call, "TagKeys")
    name = table_in_arn(call)
    if not keys:
        raise validation("Atleast one Tag Key needs to be provided as Input.")
    without_tags({}, keys)  # what is wrong with them is said before the table is looked for
    await set_tags(call, name, lambda before: without_tags(before, keys))
    return None


ACTION: Final = Action(name="UntagResource", shape=request(RESOURCE_ARN, TAG_KEYS), run=_run)
