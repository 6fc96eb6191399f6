"""GlobalSecondaryIndexUpdates: indexes that come, go, or get another throughput.

Each function takes a table's settings and gives new ones; what becomes of the indexes themselves is
control's. One index comes or goes at a time.
Sources: DynamoDB API reference, UpdateTable; developer guide, "Managing Global Secondary Indexes";
dynalite's recorded answers (validations/updateTable); public issue threads with AWS's own words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dstore.api.dynamodb.errors import AwsError, resource_not_found, validation
from dstore.api.dynamodb.index_checks import Context, check_projected, global_index
from dstore.api.dynamodb.key_schemas import INVALID, attribute_kinds
from dstore.api.dynamodb.table_setting_checks import (
    check_changes,
    new_maxima,
    raised_warm,
    warm_at_start,
)
from dstore.api.dynamodb.update_checks import index_actions
from dstore.base.limits import GLOBAL_INDEXES_MAX
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import BillingMode, Index, TableSettings, Throughput
from dstore.model.tables import KeyAttribute
from dstore.service.tables import changed_throughput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dstore.api.dynamodb.action import Members
    from dstore.model.keys import KeyKind
    from dstore.model.tables import TableDefinition
    from dstore.service.directory import KnownIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexUpdates:
    """The actions of a request, the table as it was, and the billing that it asks for."""

    members: Members
    definition: TableDefinition
    billing: BillingMode
    now_us: int

    def applied(self, settings: TableSettings) -> TableSettings:
        """Do all actions. Raises: AwsError: one cannot be done; then none is."""
        updates = self.members.get("GlobalSecondaryIndexUpdates", [])
        created, deleted = index_actions(updates, "Create"), index_actions(updates, "Delete")
        if len(created) + len(deleted) > 1:
            raise one_at_a_time()
        for action in index_actions(updates, "Update"):
            settings = self._updated(settings, action)
        for action in deleted:
            settings = self._without(settings, action["IndexName"])
        for action in created:
            settings = self._with(settings, action)
        return settings

    def _updated(self, settings: TableSettings, action: dict[str, Any]) -> TableSettings:
        index = self._found(settings, action["IndexName"], verb="update")
        throughput = self._throughput(index, action)
        on_demand = action.get("OnDemandThroughput")
        after = replace(
            index,
            throughput=throughput,
            on_demand=new_maxima(
                index.on_demand, on_demand, billing=self.billing, where=f"index : {index.name}"
            ),
            warm=raised_warm(
                index.warm,
                action.get("WarmThroughput"),
                least=warm_at_start(self.billing, throughput),
                where=f"index {index.name}",
            ),
        )
        return replace(
            settings,
            global_indexes=tuple(
                after if one.name == index.name else one for one in settings.global_indexes
            ),
        )

    def _throughput(self, index: Index, action: dict[str, Any]) -> Throughput:
        given = action.get("ProvisionedThroughput")
        others = action.get("OnDemandThroughput") or action.get("WarmThroughput")
        if self.billing is BillingMode.PAY_PER_REQUEST:
            if not others:
                raise validation(
                    f"{INVALID}The only Updates for index: {index.name} when TableThroughputMode "
                    "is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
                )
            if given is not None:
                raise _units_on_demand(index.name)
            return index.throughput
        if given is None:
            if not others:
                raise _no_units(index.name)
            return index.throughput
        check_changes(index.throughput, given, what=f"index {index.name}")
        return changed_throughput(
            index.throughput,
            given["ReadCapacityUnits"],
            given["WriteCapacityUnits"],
            now_us=self.now_us,
        )

    def _without(self, settings: TableSettings, name: str) -> TableSettings:
        self._found(settings, name, verb="delete")
        left = tuple(one for one in settings.global_indexes if one.name != name)
        used = {key for index in settings.local_indexes + left for key in index.keys}
        attributes = tuple(one for one in settings.index_attributes if one.name in used)
        return replace(settings, global_indexes=left, index_attributes=attributes)

    def _with(self, settings: TableSettings, action: dict[str, Any]) -> TableSettings:
        name = action["IndexName"]
        if any(index.name == name for index in settings.indexes):
            raise validation("Attempting to create an index which already exists")
        if not self.members.get("AttributeDefinitions"):
            raise validation(f"{INVALID}AttributeDefinitions is not specified for index: {name}")
        if len(settings.global_indexes) >= GLOBAL_INDEXES_MAX:
            raise limit_exceeded(
                "Subscriber limit exceeded: GlobalSecondaryIndex count exceeds the per-table limit "
                f"of {GLOBAL_INDEXES_MAX}"
            )
        has_units = "ProvisionedThroughput" in action
        if has_units is (self.billing is BillingMode.PAY_PER_REQUEST):
            raise _units_on_demand(name) if has_units else _no_units(name)
        kinds = attribute_kinds(self.members["AttributeDefinitions"])
        table_keys = [key.name for key in self.definition.keys]
        index = global_index(
            action, Context(billing=self.billing, kinds=kinds, table_keys=table_keys)
        )
        known = self.definition.attributes
        _check_not_redefined(index, kinds, known)
        indexes = (*settings.global_indexes, index)
        check_projected(settings.local_indexes + indexes)
        added = (KeyAttribute(name=key, kind=kinds[key]) for key in index.keys if key not in known)
        return replace(
            settings,
            global_indexes=indexes,
            index_attributes=(*settings.index_attributes, *added),
        )

    def _found(self, settings: TableSettings, name: str, *, verb: str) -> Index:
        for index in settings.global_indexes:
            if index.name == name:
                return index
        if any(index.name == name for index in settings.local_indexes):
            raise validation(f"Cannot {verb} an index that is not a GlobalSecondaryIndex: {name}")
        raise resource_not_found(
            f"Requested resource not found: Index {name} for table {self.definition.name}"
        )


def check_idle(members: Members, definition: TableDefinition, known: Sequence[KnownIndex]) -> None:
    """Refuse to add or remove an index of a table while another comes or goes.

    One that is being filled may be removed, but not before it is placed.

    Raises: AwsError: it is refused.
    """
    updates = members.get("GlobalSecondaryIndexUpdates", [])
    deleted = {action["IndexName"] for action in index_actions(updates, "Delete")}
    if not deleted and not index_actions(updates, "Create"):
        return
    for index in known:
        if index.name in deleted and index.status is ResourceStatus.CREATING:
            raise AwsError(
                "ResourceInUseException",
                "Attempt to change a resource which is still in use: Index creation is in resource "
                "allocation phase. Retry deletion during backfilling phase or when the index is "
                f"active. Table: {definition.name} Index: {index.name}",
            )
        is_its_end = index.name in deleted and index.is_backfilling
        if index.status is not ResourceStatus.ACTIVE and not is_its_end:
            raise one_at_a_time()


def one_at_a_time() -> AwsError:
    """Make what a second index that comes or goes gets."""
    return limit_exceeded(
        "Subscriber limit exceeded: Only 1 online index can be created or deleted "
        "simultaneously per table"
    )


def limit_exceeded(message: str) -> AwsError:
    """Make what a change gets that AWS has a quota for."""
    return AwsError("LimitExceededException", message)


def _units_on_demand(index: str) -> AwsError:
    return validation(
        f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: "
        f"{index} when BillingMode is PAY_PER_REQUEST"
    )


def _no_units(index: str) -> AwsError:
    return validation(
        f"{INVALID}Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: "
        f"{index}"
    )


def _check_not_redefined(
    index: Index, kinds: dict[str, KeyKind], known: dict[str, KeyKind]
) -> None:
    if any(known.get(name, kinds[name]) is not kinds[name] for name in index.keys):
        raise validation(
            f"{INVALID}Attributes cannot be redefined. Please check that your attribute has the "
            "same type as previously defined. "
            f"Existing schema: {_schema(index, known)} New schema: {_schema(index, kinds)}"
        )


def _schema(index: Index, kinds: dict[str, KeyKind]) -> str:
    """Spell the keys of an index as AWS does, as far as their types are known."""
    both: Iterable[tuple[str, str]] = [(name, "HASH") for name in index.hash_keys] + [
        (name, "RANGE") for name in index.range_keys
    ]
    keys = [f"key{{{name}:{kinds[name]}:{role}}}" for name, role in both if name in kinds]
    return f"Schema:[SchemaElement: {', '.join(keys)}]"
