"""A client's calls, done by the product's use cases: reads, writes, batches, scans of one table."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.expressions import Expressions
from dstore.model.errors import ConditionFailed, Unavailable
from dstore.model.keys import KeyKind, encode_key
from dstore.service.batches import BatchedRead, BatchedWrite, read_batch, write_batch
from dstore.service.item_writes import DeleteItem, Guard, PutItem, UpdateItem
from dstore.service.items import ItemKey, key_attributes
from dstore.service.queries import PageAsk, segment_span
from dstore.service.read_answers import WHOLE_ITEM
from dstore.service.write_answers import ReturnValues, WriteAsk
from dstore.storage.requests import RequestName
from tests.simulation.history import ANYTHING, Add, Call, Put, Read, Swap, Value

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from dstore.base.entropy import Entropy
    from dstore.model.errors import DStoreError
    from dstore.model.values import Attribute, Item
    from dstore.service.mutations import Mutation
    from dstore.service.use_cases import UseCases

_NAME: Final = "v"
_KEY: Final = "p"
_SORT: Final = "one"  # of every item, in a table that has a sort key
_NEW: Final = WriteAsk(returns=ReturnValues.UPDATED_NEW)
_WRITE_BYTES: Final = 100


class ItemStore:
    """One table, whose items hold one value each. A write is done once, by its request's name."""

    def __init__(self, cases: UseCases, *, tenant: str, table: str, entropy: Entropy) -> None:
        """Use a proxy's or a node's use cases."""
        self._items = cases.items
        self._walks = cases.walks
        self._directory = cases.directory
        self._tenant = tenant
        self._table = table
        self._entropy = entropy

    async def do(self, key: str, call: Call) -> Hashable:
        """Do a call. Returns: its answer, see `history`. Raises: as `Items`."""
        item = self._item(key)
        if isinstance(call, Read):
            found = await self._items.read(item)
            return None if found is None else _value_in(msgspec.json.decode(found.body))
        mutation = _mutation(call, item.attributes)
        request = self._named(key, call)
        ask = _NEW if isinstance(call, Add) else None
        try:
            written = await self._items.write(item, mutation, request=request, ask=ask)
        except ConditionFailed:
            return False
        match call:
            case Swap():
                return True
            case Add():
                told = written.attributes
                # What was done already is confirmed, and not told again.
                return ANYTHING if told is None else _value_in(msgspec.json.decode(told))
            case _:
                return None

    async def put_all(self, puts: Mapping[str, Put]) -> Sequence[DStoreError | None]:
        """Put values as one batch. Returns: of each why it is not put."""
        writes = []
        for key, call in puts.items():
            item = self._item(key)
            writes.append(
                BatchedWrite(
                    key=item,
                    apply=_mutation(call, item.attributes),
                    size_bytes=_WRITE_BYTES,
                    request=self._named(key, call),
                )
            )
        written = await write_batch(self._items, writes)
        return [each if isinstance(each, Unavailable) else None for each in written]

    async def read_all(self, keys: Sequence[str]) -> Sequence[Value]:
        """Read values as one batch. Raises: as `read_batch`."""
        reads = [BatchedRead(key=self._item(key), ask=WHOLE_ITEM) for key in keys]
        return [
            None if each.item is None else _value_in(msgspec.json.decode(each.item))
            for each in await read_batch(self._items, reads)
        ]

    async def scan(self) -> Mapping[str, Value]:
        """Read the whole table. Raises: as `RangeWalks.page`."""
        table = self._directory.table(self._tenant, self._table)
        page = await self._walks.page(table, PageAsk(span=segment_span(0, 1)))
        assert page.last is None, "the table fits into a page"
        items = msgspec.json.decode(b"[" + b",".join(map(bytes, page.items or ())) + b"]")
        keys = [item[_KEY]["S"] for item in items]
        assert len(set(keys)) == len(keys), f"a scan has read an item twice: {keys}"
        return {key: _value_in(item) for key, item in zip(keys, items, strict=True)}

    def _named(self, key: str, call: Call) -> RequestName:
        return RequestName(
            principal=self._tenant,
            request_id=self._entropy.uuid(),
            digest=sha256(repr((key, call)).encode()).digest(),
        )

    def _item(self, key: str) -> ItemKey:
        table = self._directory.table(self._tenant, self._table)
        sort = None if table.definition.sort is None else (KeyKind.STRING, _SORT)
        rid_id = encode_key((KeyKind.STRING, key), sort)
        attributes = key_attributes(table.definition, rid_id)
        return ItemKey(table=table, rid_id=rid_id, attributes=attributes)


def _mutation(call: Put | Swap | Add, key: Item) -> Mutation:
    match call:
        case Put(value=None):
            return DeleteItem(key=key)
        case Put():
            return PutItem(item={_NAME: _attribute(call.value)}, key=key)
        case Swap():
            return PutItem(item={_NAME: _attribute(call.value)}, key=key, guard=_guard(call))
        case Add():
            added = Expressions(None, {":a": _attribute(call.amount)})
            return UpdateItem(change=added.update(f"ADD {_NAME} :a"), key=key)


def _guard(call: Swap) -> Guard:
    if call.expected is None:
        return Guard(condition=Expressions().condition(f"attribute_not_exists({_NAME})"))
    expected = Expressions(None, {":e": _attribute(call.expected)})
    return Guard(condition=expected.condition(f"{_NAME} = :e"))


def _attribute(value: Value) -> Attribute:
    assert value is not None
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _value_in(item: dict[str, Any]) -> Value:
    ((kind, text),) = item[_NAME].items()
    return int(text) if kind == "N" else str(text)
