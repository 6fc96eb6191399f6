"""ListTagsOfResource: all of a table's tags at once; there are at most 50, so no page follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.key_schemas import INVALID
from dstore.api.dynamodb.members import Member, request
from dstore.api.dynamodb.shapes import String
from dstore.api.dynamodb.table_members import RESOURCE_ARN
from dstore.api.dynamodb.table_tags import no_such_resource, table_in_arn

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    name = table_in_arn(call)
    if call.members.get("NextToken") is not None:
        raise validation(f"{INVALID}NextToken is not one that this service gave")
    found = call.known_tenant().tables.get(name)
    if found is None:
        raise no_such_resource(call)
    tags = found.definition.settings.tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


ACTION: Final = Action(
    name="ListTagsOfResource", shape=request(RESOURCE_ARN, Member("NextToken", String())), run=_run
)
