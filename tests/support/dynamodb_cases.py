"""Cases of the DynamoDB API as tables: a request, what it must answer, and who says so.

    Case(
        name="empty-set",
        request={"TableName": "<P>", "Item": {"p": {"S": "<ID>"}, "a": {"SS": []}}},
        error=invalid("One or more parameter values were invalid: An string set  may not be empty"),
        source="dynalite test/putItem.js",
    )

`<P>` and the other names of `TABLES` stand for shared tables of the session, `<GONE>` for a table
that is not there, `<ID>` for a key that no other case uses. An expected answer is the whole body:
a member too many fails. Expected values are written from `source`, never from what a server said.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from itertools import count
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.dynamodb import Answer, DynamoDB

ACTIVE_S: Final = 10.0
_POLL_S: Final = 0.05
_NAME: Final = re.compile(r"<([A-Z]+)>")
_SETS: Final = ({"SS"}, {"NS"}, {"BS"})

# The keys of the shared tables, partition key first.
TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "P": {"p": "S"},
    "N": {"p": "N"},
    "B": {"p": "B"},
    "PC": {"p": "S", "c": "S"},
    "PN": {"p": "S", "c": "N"},
    "PB": {"p": "S", "c": "B"},
    "INDEXED": {"p": "S", "c": "S"},
    "LOCAL": {"p": "S", "c": "S"},
}
# <INDEXED> has a global index `gsi` on x (S), y (N), and a local one, `lsi`, on z (N).
INDEXES: Final[Mapping[str, Any]] = {
    "AttributeDefinitions": [
        {"AttributeName": "p", "AttributeType": "S"},
        {"AttributeName": "c", "AttributeType": "S"},
        {"AttributeName": "x", "AttributeType": "S"},
        {"AttributeName": "y", "AttributeType": "N"},
        {"AttributeName": "z", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "gsi",
            "KeySchema": [
                {"AttributeName": "x", "KeyType": "HASH"},
                {"AttributeName": "y", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "lsi",
            "KeySchema": [
                {"AttributeName": "p", "KeyType": "HASH"},
                {"AttributeName": "z", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}


def _local(name: str, sort: str, **projection: Any) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": sort, "KeyType": "RANGE"},
        ],
        "Projection": projection,
    }


# <LOCAL> has local indexes of every projection: on z (N), x (S), b (B), and its own sort key.
LOCALS: Final[Mapping[str, Any]] = {
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in {"p": "S", "c": "S", "z": "N", "x": "S", "b": "B"}.items()
    ],
    "LocalSecondaryIndexes": [
        _local("all", "z", ProjectionType="ALL"),
        _local("keys", "x", ProjectionType="KEYS_ONLY"),
        _local("some", "b", ProjectionType="INCLUDE", NonKeyAttributes=["a"]),
        _local("same", "c", ProjectionType="INCLUDE", NonKeyAttributes=["a"]),
    ],
}
_MORE: Final[Mapping[str, Mapping[str, Any]]] = {"INDEXED": INDEXES, "LOCAL": LOCALS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """An error's name and its sentence; a pattern where a source quotes only a part of it."""

    name: str
    text: str | re.Pattern[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what it must answer.

    Attributes:
        name: what is special about it; the test's id.
        request: the body; a text is sent as it stands.
        source: the public document, test or issue that settles the answer.
        error: the expected refusal; None expects a success.
        answer: the expected body of a success, whole; None does not look at it.
        given: items put into the request's table before.
        then: the item that the table holds afterwards under the request's key, None if none;
            `...` does not look.
        table: the shared table of `given` and `then`, if the request does not name it.
    """

    name: str
    request: Mapping[str, Any] | str
    source: str
    error: Error | None = None
    answer: Mapping[str, Any] | None = None
    given: Sequence[Mapping[str, Any]] = ()
    then: Mapping[str, Any] | EllipsisType | None = ...
    table: str = ""


@dataclass(slots=True)
class Tables:
    """The shared tables of a session and the names of this session's own."""

    dynamodb: DynamoDB
    prefix: str
    names: dict[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def create(self) -> None:
        """Create the shared tables, if that was not done yet."""
        if self.names:
            return
        names = {symbol: f"{self.prefix}.shared-{symbol}" for symbol in TABLES}
        for symbol, keys in TABLES.items():
            more = _MORE.get(symbol, {})
            self.dynamodb.do("CreateTable", {**definition(names[symbol], keys), **more})
        for name in names.values():
            self.wait_active(name)
        self.names = names | {"GONE": f"{self.prefix}.gone"}

    def new_name(self) -> str:
        """Name a table that nobody else knows."""
        return f"{self.prefix}.{next(self._numbers)}"

    def new(self, keys: Mapping[str, str], **more: Any) -> str:
        """Create a table and wait until it is active. Returns: its name."""
        name = self.new_name()
        self.dynamodb.do("CreateTable", definition(name, keys) | more)
        self.wait_active(name)
        return name

    def wait_active(self, name: str) -> None:
        """Wait until a table, and each of its indexes that becomes so, is ACTIVE."""
        deadline = time.monotonic() + ACTIVE_S
        while time.monotonic() < deadline:
            table = self.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
            if table["TableStatus"] == "ACTIVE":
                return
            time.sleep(_POLL_S)
        raise AssertionError(f"{name} is not active after {ACTIVE_S} s")

    def wait_gone(self, name: str) -> None:
        """Wait until a deleted table is no longer described."""
        deadline = time.monotonic() + ACTIVE_S
        while time.monotonic() < deadline:
            if self.dynamodb.call("DescribeTable", {"TableName": name}).status == 400:
                return
            time.sleep(_POLL_S)
        raise AssertionError(f"{name} is not gone after {ACTIVE_S} s")

    def fill(self, value: Any) -> Any:
        """Put this session's names and a key of its own into a request and its answer."""
        names = self.names | {"ID": f"id-{next(self._numbers)}"}
        return filled(value, names)


def definition(name: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """Spell a CreateTable request; `keys` are names and types, the partition key first."""
    kinds = ("HASH", "RANGE")
    return {
        "TableName": name,
        "KeySchema": [
            {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)
        ],
        "AttributeDefinitions": [
            {"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """Replace `<NAME>` in every text of a JSON value, an object's names included."""
    match value:
        case str():
            return _NAME.sub(lambda found: names.get(found[1], found[0]), value)
        case dict():
            return {filled(key, names): filled(part, names) for key, part in value.items()}
        case list() | tuple():
            return [filled(part, names) for part in value]
        case _:
            return value


def normal(value: Any) -> Any:
    """Sort the members of sets, which have no order on the wire."""
    match value:
        case dict():
            if value.keys() in _SETS:
                return {kind: sorted(members) for kind, members in value.items()}
            return {key: normal(part) for key, part in value.items()}
        case list():
            return [normal(part) for part in value]
        case _:
            return value


# ------------------------------------------------------------------------------ expected errors


def invalid(text: str | re.Pattern[str]) -> Error:
    """Expect a ValidationException."""
    return Error(name="ValidationException", text=text)


def enveloped(text: str) -> str:
    """Spell how the writes of one item tell what is wrong with a request by itself.

    Source: paritysuite/dynamodb-conformance tests/tier3/error-messages/putItem.test.ts,
    deleteItem.test.ts (us-east-1 and eu-west-2, October 2026), captures/cross-region-latest.json.
    """
    return f"1 validation error detected: {text}"


def unreadable(text: str | None) -> Error:
    """Expect a SerializationException."""
    return Error(name="SerializationException", text=text)


def violated(*violations: tuple[object, str, str]) -> Error:
    """Expect broken constraints, in this order: (value as printed or None, path, constraint)."""
    found = len(violations)
    listed = "; ".join(
        f"Value {_printed(value)} at '{path}' failed to satisfy constraint: {constraint}"
        for value, path, constraint in violations
    )
    return invalid(f"{found} validation error{'s' * (found > 1)} detected: {listed}")


def _printed(value: object) -> str:
    return "null" if value is None else f"'{value}'"


NOT_FOUND: Final = Error(name="ResourceNotFoundException", text="Requested resource not found")
CONDITION_FAILED: Final = Error(
    name="ConditionalCheckFailedException", text="The conditional request failed"
)

# ----------------------------------------------------------------------------------- the runner


def run(tables: Tables, operation: str, case: Case) -> Answer:
    """Make a case's items, send its request, compare; see `Case`."""
    case_parts = (case.request, case.answer, case.given, case.then, case.error and case.error.text)
    request, expected, given, then, text = tables.fill(list(case_parts))
    symbol = case.table or _symbol_of(case.request)
    for item in given:
        tables.dynamodb.do("PutItem", {"TableName": tables.names[symbol], "Item": item})
    answer = tables.dynamodb.call(operation, request)
    if case.error is None:
        assert answer.status == 200, (case.source, answer.body)
        if expected is not None:
            assert normal(answer.body) == normal(expected), (case.source, answer.body)
    else:
        refused(case, text, answer)
    if then is not ...:
        kept = item_of(tables, symbol, then or request.get("Key") or request.get("Item"))
        assert normal(kept) == normal(then), (case.source, kept)
    return answer


def refused(case: Case, text: str | re.Pattern[str] | None, answer: Answer) -> None:
    """Compare a refusal with the one that a case expects."""
    assert case.error is not None
    assert (answer.status, answer.error) == (400, case.error.name), (case.source, answer.body)
    if isinstance(text, re.Pattern):
        assert text.search(answer.message or ""), (case.source, answer.message)
    else:
        assert answer.message == text, (case.source, answer.message, text)


def item_of(tables: Tables, symbol: str, item: Mapping[str, Any]) -> Any:
    """Read an item by the key attributes in `item`. Returns: None if it is not there."""
    key = {name: item[name] for name in TABLES[symbol]}
    request = {"TableName": tables.names[symbol], "Key": key, "ConsistentRead": True}
    return tables.dynamodb.do("GetItem", request).get("Item")


def _symbol_of(request: Mapping[str, Any] | str) -> str:
    named = request.get("TableName") if isinstance(request, dict) else None
    found = _NAME.fullmatch(named) if isinstance(named, str) else None
    return found[1] if found else ""


def name_of(case: Case) -> str:
    """Name a case, for pytest's `ids`."""
    return case.name


def copies(request: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Copy a request with some members changed; None drops one."""
    changed: dict[str, Any] = json.loads(json.dumps({**request, **changes}))
    return {name: value for name, value in changed.items() if value is not None}
