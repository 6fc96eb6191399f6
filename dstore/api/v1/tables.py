"""/v1/tenant/{tenant}/table: list, create, read, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.http.answer import Answer, json_answer
from dstore.api.v1.exchange import JSON, RID, Exchange
from dstore.api.v1.pages import PARAMETERS, page_of_names
from dstore.base.limits import TROUBLED_RANGES_SHOWN
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.model.replication import with_one_node_down
from dstore.model.rid import table_rid, tenant_rid
from dstore.model.status import ResourceStatus
from dstore.model.tables import IdType, is_integer_id
from dstore.model.values import NumberText
from dstore.service.directory import RangeTrouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from dstore.model.ranges import Table
    from dstore.service.directory import KnownIndex, TroubledRange
    from dstore.service.use_cases import UseCases

_FACTOR: Final = "replicationFactor"
INDEX_STATES: Final = {
    ResourceStatus.CREATING: "creating",
    ResourceStatus.UPDATING: "filling",
    ResourceStatus.ACTIVE: "active",
    ResourceStatus.DELETING: "deleting",
}
_ID_TYPES: Final = {id_type.value: id_type for id_type in IdType}


class TableHandlers:
    """The four operations on a tenant's tables."""

    def __init__(self, cases: UseCases) -> None:
        """Serve the tables of `cases`."""
        self._cases = cases

    async def list(self, request: web.Request) -> Answer:
        """List a tenant's tables by name."""
        exchange = await Exchange.receive(request, self._cases, allowed=PARAMETERS)
        tenant = exchange.value("tenant")
        found = self._cases.directory.tenant(tenant)
        names, after = page_of_names(found.table_names, exchange)
        return json_answer(
            {"tables": [self._summary(found.tables[name]) for name in names], "after": after},
            headers={RID: str(tenant_rid(tenant, location=self._cases.directory.location))},
        )

    async def create(self, request: web.Request) -> Answer:
        """Create a table; the same again is 200, another of the name 409."""
        exchange = await Exchange.receive(request, self._cases)
        exchange.media_type(JSON)
        id_type, factor = _defined(await exchange.json_object("table definition"))
        table, is_new = await self._cases.registrar.create_table(
            exchange.value("tenant"),
            exchange.value("table"),
            id_type=id_type,
            factor=factor,
            by=exchange.principal,
        )
        if is_new:
            self._audit(exchange, "create_table")
        return await self._described(table, status=201 if is_new else 200)

    async def read(self, request: web.Request) -> Answer:
        """Describe a table."""
        exchange = await Exchange.receive(request, self._cases)
        return await self._described(
            self._cases.directory.table(exchange.value("tenant"), exchange.value("table"))
        )

    async def delete(self, request: web.Request) -> Answer:
        """Delete a table with its files."""
        exchange = await Exchange.receive(request, self._cases)
        tenant, table = exchange.value("tenant"), exchange.value("table")
        await self._cases.registrar.delete_table(tenant, table, by=exchange.principal)
        self._audit(exchange, "delete_table")
        rid = table_rid(tenant, table, location=self._cases.directory.location)
        return Answer(status=204, headers={RID: str(rid)})

    def _audit(self, exchange: Exchange, operation: str) -> None:
        exchange.audit(operation, tenant=exchange.value("tenant"), table=exchange.value("table"))

    def _summary(self, table: Table) -> dict[str, Any]:
        definition = table.definition
        return {
            "table": definition.name,
            "rid": self._rid(table),
            "idType": definition.id_type,
            "entries": self._cases.directory.quantity(table),
            "copies": self._cases.directory.copies(table),
        }

    async def _described(self, table: Table, *, status: int = 200) -> Answer:
        definition = table.definition
        directory, summary = self._cases.directory, self._summary(table)
        factor = definition.settings.replication_factor
        description = summary | {
            "oneNodeDown": with_one_node_down(summary["copies"]),
            "ranges": len(table.ranges.refs),
            "troubles": _counted(troubled := directory.troubles(table)),
            "troubledRanges": [_troubled(each) for each in troubled[:TROUBLED_RANGES_SHOWN]],
            "tableId": definition.table_id,
            "createdAt": instant(definition.created_at_us),
            # What DynamoDB's door set is answered there.
            "settings": {} if factor is None else {_FACTOR: factor},
            "globalIndexes": [self._index(index) for index in directory.indexes(table)],
            "timeToLive": await self._time_to_live(table),
        }
        return json_answer(description, status=status, headers={RID: self._rid(table)})

    def _index(self, index: KnownIndex) -> dict[str, Any]:
        return {
            "index": index.name,
            "status": INDEX_STATES[index.status],
            "entries": self._cases.directory.quantity(index.table),
            "ranges": len(index.table.ranges.refs),
            "troubles": _counted(self._cases.directory.troubles(index.table)),
            "mayBeWrong": index.is_doubtful,
        }

    async def _time_to_live(self, table: Table) -> dict[str, Any] | None:
        """Say by which attribute items expire, and whether all of them do so by now."""
        found = table.definition.settings.time_to_live
        if found is None:
            return None
        is_settled = await self._cases.tables.is_expiry_settled(table)
        if not found.is_enabled and is_settled:
            return None
        words = ("enabling", "enabled") if found.is_enabled else ("disabling", "")
        return {"attribute": found.attribute, "status": words[is_settled]}

    def _rid(self, table: Table) -> str:
        definition = table.definition
        location = self._cases.directory.location
        return str(table_rid(definition.tenant, definition.name, location=location))


def _counted(troubled: Sequence[TroubledRange]) -> dict[str, int]:
    """Count ranges by what is the matter with them."""
    return {each: sum(one.trouble is each for one in troubled) for each in RangeTrouble}


def _troubled(found: TroubledRange) -> dict[str, Any]:
    return {
        "rangeId": found.range_id,
        "lowHash": found.low_hash,
        "highHash": found.high_hash,
        "trouble": found.trouble,
    }


def _defined(body: dict[str, Any]) -> tuple[IdType, int | None]:
    """Read a table definition: the type of its IDs, and its replication factor if it says one."""
    if not {"idType"} <= body.keys() <= {"idType", "settings"}:
        raise invalid(
            'A table definition is {"idType": "String" | "Integer" | "Bytes", "settings": {}}, '
            "where settings may be left out."
        )
    settings = body.get("settings", {})
    if not isinstance(settings, dict) or not settings.keys() <= {_FACTOR}:
        raise invalid(f'settings must be {{}} or {{"{_FACTOR}": 3}}: a table has no others.')
    found = body["idType"]
    if not isinstance(found, str) or found not in _ID_TYPES:
        raise invalid("idType must be String, Integer or Bytes.")
    return _ID_TYPES[found], _factor(settings)


def _factor(settings: dict[str, Any]) -> int | None:
    """Read how many copies are asked for; the bounds are checked where the table is made."""
    if _FACTOR not in settings:
        return None
    text = settings[_FACTOR]
    if not isinstance(text, NumberText) or not is_integer_id(text):
        raise invalid(f"{_FACTOR} must be a whole number.")
    return int(text)
