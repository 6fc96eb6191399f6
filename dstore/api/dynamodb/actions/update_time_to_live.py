"""UpdateTimeToLive: say by which attribute items expire, or that none does any more.

Sources of the refusals, their sentences and their order: DynamoDB API reference and botocore's
model; what AWS answered the suites of ScyllaDB's Alternator (test_ttl.py) and of the lab behind
ack-api-quirks (services/dynamodb, DDB-TABLE-143 to 147): another change is refused for half an
hour, whatever the state is by then, and only if nothing else is wrong with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.members import TABLE_NAME, Member, request, structure
from dstore.api.dynamodb.shapes import Boolean, String
from dstore.api.dynamodb.table_names import described_table, name_of, no_such_table
from dstore.base.clock import US_PER_S
from dstore.base.expiry_limits import EXPIRY_CHANGE_S
from dstore.base.limits import KEY_ATTRIBUTE_NAME_CHARS_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.model.table_settings import TimeToLive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.api.dynamodb.action import Call, Reply
    from dstore.model.table_settings import TableSettings
    from dstore.model.tables import TableDefinition

_SPECIFICATION: Final = Member(
    "TimeToLiveSpecification",
    structure(
        "TimeToLiveSpecification",
        Member("Enabled", Boolean(), required=True),
        Member("AttributeName", String(min=1, max=KEY_ATTRIBUTE_NAME_CHARS_MAX), required=True),
    ),
    required=True,
)


async def _run(call: Call) -> Reply:
    specification = call.members["TimeToLiveSpecification"]
    name = name_of(call.members["TableName"])
    described_table(call, name)

    def change(definition: TableDefinition, now_us: int) -> TableSettings:
        return changed(definition.settings, specification, now_us=now_us)

    try:
        await call.cases.tables.update(call.tenant, name, change, by=call.principal)
    except Refused as refused:
        if refused.kind is RefusalKind.NOT_FOUND:  # since it was found here
            raise no_such_table(name) from None
        raise
    return {"TimeToLiveSpecification": specification}


def changed(
    before: TableSettings, specification: Mapping[str, Any], *, now_us: int
) -> TableSettings:
    """Make of a table's settings what they are to be.

    A clock that was set back does not lock a table: a change of the future is none.

    Raises: AwsError: ValidationException.
    """
    attribute, is_enabled = specification["AttributeName"], specification["Enabled"]
    former, active = before.time_to_live, before.expires_by
    if active is None and not is_enabled:
        raise validation("TimeToLive is already disabled")
    if active is not None and attribute != active:
        raise validation(
            f"TimeToLive is active on a different AttributeName: current AttributeName is {active}"
        )
    if active is not None and is_enabled:
        raise validation("TimeToLive is already enabled")
    if former is not None and 0 <= now_us - former.changed_at_us < EXPIRY_CHANGE_S * US_PER_S:
        raise validation("Time to live has been modified multiple times within a fixed interval")
    return replace(
        before,
        time_to_live=TimeToLive(attribute=attribute, is_enabled=is_enabled, changed_at_us=now_us),
    )


ACTION: Final = Action(
    name="UpdateTimeToLive", shape=request(TABLE_NAME.first(), _SPECIFICATION), run=_run
)
