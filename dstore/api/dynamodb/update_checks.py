"""What UpdateTable refuses whatever the table is like; the service looks for the table after that.

Sources: DynamoDB API reference, UpdateTable; dynalite's recorded answers (validations/updateTable);
the service's own words as public issue threads quote them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.key_schemas import INVALID
from dstore.api.dynamodb.table_setting_checks import (
    CAPACITY_UNITS_MAX,
    check_stream,
    check_units,
    refuse_unoffered,
    sse_is_asked,
    table_class_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.api.dynamodb.action import Members

ACTIONS: Final = ("Update", "Create", "Delete")

# What a change is, and whether it may come with others: each of these may not, and the first of
# them that a request has is the one complained about.
_ALONE: Final = {
    "SSESpecification": "Server-Side Encryption modification",
    "TableClass": "TableClass modification",
    "DeletionProtectionEnabled": "DeletionProtection modification",
    "WarmThroughput": "WarmThroughput",
}
_MAY_BE_EMPTY: Final = ("OnDemandThroughput", "WarmThroughput")
_CHANGES: Final = (
    "ProvisionedThroughput",
    "BillingMode",
    "StreamSpecification",
    "GlobalSecondaryIndexUpdates",
    "OnDemandThroughput",
    *_ALONE,
)


def check_update(members: Members) -> None:
    """Check a request whose members have the right types.

    Raises: AwsError: a ValidationException, for the first of what is wrong.
    """
    refuse_unoffered(members)
    changes = _changes(members)
    if not changes and not says_nothing(members):
        raise validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
            "GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, "
            "MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, "
            "DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is "
            "required"
        )
    _check_alone(changes, members)
    _check_throughput(members)
    updates = members.get("GlobalSecondaryIndexUpdates", [])
    if not updates and "GlobalSecondaryIndexUpdates" in members:
        raise validation(f"{INVALID}List of GlobalSecondaryIndexUpdates is empty")
    _check_index_updates(updates)
    _check_with_indexes(members, updates)
    check_stream(members.get("StreamSpecification"), is_new=False)
    sse_is_asked(members.get("SSESpecification"))
    table_class_of(members)


def says_nothing(members: Members) -> bool:
    """Tell whether an empty structure of units is all that a request has to say."""
    return not _changes(members) and any(members.get(name) == {} for name in _MAY_BE_EMPTY)


def _changes(members: Members) -> list[str]:
    """List what a request changes; beside anything else, empty units are as good as none."""
    return [
        name
        for name in _CHANGES
        if members.get(name) not in (None, []) and not (name in _MAY_BE_EMPTY and not members[name])
    ]


def index_actions(updates: Sequence[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """Take the actions of one kind out of GlobalSecondaryIndexUpdates."""
    return [update[action] for update in updates if action in update]


def _check_alone(changes: Sequence[str], members: Members) -> None:
    if len(changes) == 1:
        return
    created = index_actions(members.get("GlobalSecondaryIndexUpdates", []), "Create")
    for name, what in _ALONE.items():
        if name in changes:
            if name == "WarmThroughput" and created:
                raise validation(
                    f"{INVALID}Create global secondary index cannot be specified when updating "
                    "WarmThroughput"
                )
            raise validation(f"{INVALID}{what} must be the only operation in the request")
    if "OnDemandThroughput" in changes and set(changes) != {"OnDemandThroughput", "BillingMode"}:
        raise validation(
            f"{INVALID}OnDemandThroughput can only be combined with BillingMode in an UpdateTable "
            "request"
        )


def _check_throughput(members: Members) -> None:
    throughput = members.get("ProvisionedThroughput")
    if throughput is None:
        if members.get("BillingMode") == "PROVISIONED":
            raise validation(
                f"{INVALID}ProvisionedThroughput must be specified when BillingMode is PROVISIONED"
            )
        return
    check_units(throughput)


def _check_index_updates(updates: Sequence[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for update in updates:
        actions = [update[action] for action in ACTIONS if action in update]
        if not actions:
            raise validation(
                f"{INVALID}One of GlobalSecondaryIndexUpdate.Update, "
                "GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be "
                "null"
            )
        if len(actions) > 1:
            raise validation(
                f"{INVALID}Only one global secondary index action is allowed per "
                "GlobalSecondaryIndexUpdate object"
            )
        name = actions[0]["IndexName"]
        if name in seen:
            raise validation(
                f"{INVALID}Only one global secondary index update per index is allowed "
                f"simultaneously. Index: {name}"
            )
        seen.add(name)
    for action in index_actions(updates, "Update"):
        _check_update_of_index(action)


def _check_update_of_index(action: dict[str, Any]) -> None:
    throughput = action.get("ProvisionedThroughput", {})
    if any(units > CAPACITY_UNITS_MAX for units in throughput.values()):
        raise validation(
            "This operation cannot be performed with given input values. Please contact DynamoDB "
            "service team for more info: Action Blocked: IndexUpdate"
        )
    if action.get("WarmThroughput") == {}:
        raise validation(
            f"{INVALID}WarmThroughput must have at least one of ReadUnitsPerSecond or "
            f"WriteUnitsPerSecond specified for index: {action['IndexName']}"
        )


def _check_with_indexes(members: Members, updates: Sequence[dict[str, Any]]) -> None:
    """Refuse throughput and streams beside an index that comes or goes, and beside each other."""
    is_structural = bool(index_actions(updates, "Create") or index_actions(updates, "Delete"))
    has_throughput = "ProvisionedThroughput" in members
    if has_throughput and is_structural:
        raise validation(f"{INVALID}You cannot create or delete index while updating table IOPS")
    if "StreamSpecification" in members and has_throughput:
        raise validation(f"{INVALID}You cannot modify stream status while updating table IOPS")
    if "StreamSpecification" in members and is_structural:
        raise validation(f"{INVALID}You cannot create or delete index while changing stream status")
