"""Query: the pages it answers, their order, filter, projection, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, copies, invalid, name_of, run
from tests.support.dynamodb_conditions import ITEM, TRUTHS
from tests.support.dynamodb_members import PARITY
from tests.support.dynamodb_projections import BAD_PROJECTIONS, PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
SOURCE: Final = "dynalite test/query.js"
# The sentences are dynalite's; what stands before them the service says since 2025.
KEYCOND: Final = (
    "dynalite validations/index.js convertKeyCondition; "
    "https://github.com/aws-amplify/amplify-category-api/pull/3531"
)
OPERANDS: Final = (
    "paritysuite/dynamodb-conformance tests/tier1/query/queryKeyConditionOperands.test.ts"
)
MESSAGES: Final = f"{PARITY}/error-messages/query.test.ts"
ALTERNATOR: Final = "Alternator test/alternator/test_key_condition_expression.py"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html"
S: Final[dict[str, Any]] = {"S": "a"}
ID: Final[dict[str, Any]] = {"S": "<ID>"}
OF_P: Final[dict[str, Any]] = {
    "TableName": "<PC>",
    "KeyConditionExpression": "p = :p",
    "ExpressionAttributeValues": {":p": ID},
}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def query(expression: str, table: str = "PC", **values: Any) -> dict[str, Any]:
    """Spell a query by its key condition; `:p` is the case's own key, if it stands there."""
    if ":p" in expression:
        values.setdefault("p", ID)
    given = {f":{name}": value for name, value in values.items()}
    return {
        "TableName": f"<{table}>",
        "KeyConditionExpression": expression,
        **({"ExpressionAttributeValues": given} if given else {}),
    }


ITEMS: Final[list[dict[str, Any]]] = [
    {"p": ID, "c": {"S": c}, "a": {"N": str(number)}}
    for number, c in enumerate(("a", "aa", "ab", "b", "ba", "c"))
]
NUMBERS: Final[list[dict[str, Any]]] = [
    {"p": ID, "c": {"N": n}} for n in ("-10", "-1.5", "0", "0.5", "2", "10", "100")
]
BINARIES: Final[list[dict[str, Any]]] = [
    {"p": ID, "c": {"B": b}} for b in ("AA==", "AAA=", "AH8=", "fw==", "gA==", "/w==")
]


def page(items: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Spell the answer of a query that these items satisfy."""
    return {"Items": items, "Count": len(items), "ScannedCount": len(items)} | more


def condition(expression: str, table: str, picked: slice, **values: Any) -> Case:
    """Make a case of a condition on the sort key, which picks some of a table's items."""
    items = {"PC": ITEMS, "PN": NUMBERS, "PB": BINARIES}[table]
    return Case(
        name=f"{expression}-{table}-{'-'.join(str(v) for v in values.values())}",
        request=query(f"p = :p and {expression}", table, **values),
        given=items,
        answer=page(items[picked]),
        source=ALTERNATOR,
    )


def n(digits: str) -> dict[str, str]:
    """Spell a number."""
    return {"N": digits}


SORTED: Final = [
    *[
        Case(
            name=f"all-{table}",
            request=query("p = :p", table),
            given=list(reversed(items)),
            answer=page(items),
            source=DOC,
        )
        for table, items in (("PC", ITEMS), ("PN", NUMBERS), ("PB", BINARIES))
    ],
    *[
        Case(
            name=f"backwards-{table}",
            request={**query("p = :p", table), "ScanIndexForward": False},
            given=items,
            answer=page(list(reversed(items))),
            source=DOC,
        )
        for table, items in (("PC", ITEMS), ("PN", NUMBERS), ("PB", BINARIES))
    ],
    condition("c = :a", "PC", slice(3, 4), a={"S": "b"}),
    condition("c < :a", "PC", slice(0, 3), a={"S": "b"}),
    condition("c <= :a", "PC", slice(0, 4), a={"S": "b"}),
    condition("c > :a", "PC", slice(4, 6), a={"S": "b"}),
    condition("c >= :a", "PC", slice(3, 6), a={"S": "b"}),
    condition(":a < c", "PC", slice(4, 6), a={"S": "b"}),
    condition(":a >= c", "PC", slice(0, 4), a={"S": "b"}),
    condition("c between :a and :b", "PC", slice(1, 4), a={"S": "aa"}, b={"S": "b"}),
    condition("begins_with(c, :a)", "PC", slice(0, 3), a={"S": "a"}),
    condition("begins_with(c, :a)", "PC", slice(5, 6), a={"S": "c"}),
    condition("c = :a", "PC", slice(0, 0), a={"S": "zz"}),
    condition("(c = :a)", "PC", slice(0, 1), a={"S": "a"}),
    condition("c = :a", "PN", slice(2, 3), a=n("0.0")),
    condition("c < :a", "PN", slice(0, 2), a=n("0")),
    condition("c <= :a", "PN", slice(0, 3), a=n("0")),
    condition("c > :a", "PN", slice(5, 7), a=n("2")),
    condition("c >= :a", "PN", slice(4, 7), a=n("2")),
    condition("c between :a and :b", "PN", slice(1, 5), a=n("-1.5"), b=n("2e0")),
    condition("c > :a", "PN", slice(7, 7), a=n("1e30")),
    condition("c = :a", "PB", slice(4, 5), a={"B": "gA=="}),
    condition("c < :a", "PB", slice(0, 3), a={"B": "fw=="}),
    condition("c > :a", "PB", slice(4, 6), a={"B": "fw=="}),
    condition("c between :a and :b", "PB", slice(2, 5), a={"B": "AH8="}, b={"B": "gA=="}),
    condition("begins_with(c, :a)", "PB", slice(0, 3), a={"B": "AA=="}),
    condition("begins_with(c, :a)", "PB", slice(5, 6), a={"B": "/w=="}),
    Case(
        name="swapped",
        request=query("c = :a and p = :p", a={"S": "a"}),
        given=ITEMS,
        answer=page(ITEMS[:1]),
        source=ALTERNATOR,
    ),
    Case(
        name="value-first",
        request=query(":p = p"),
        given=ITEMS,
        answer=page(ITEMS),
        source=ALTERNATOR,
    ),
    Case(
        name="hash-table",
        request=query("p = :p", "P"),
        given=[{"p": ID, "a": S}],
        answer=page([{"p": ID, "a": S}]),
        source=DOC,
    ),
    Case(name="nothing", request=OF_P, answer=page([]), source=DOC),
    Case(
        name="by-name",
        request={**query("#x = :p"), "ExpressionAttributeNames": {"#x": "p"}},
        given=ITEMS,
        answer=page(ITEMS),
        source=ALTERNATOR,
    ),
]


def last(number: int) -> dict[str, Any]:
    """Spell the LastEvaluatedKey behind an item."""
    return {"LastEvaluatedKey": {"p": ID, "c": ITEMS[number]["c"]}}


FILTER: Final[dict[str, Any]] = {
    "FilterExpression": "a > :n",
    "ExpressionAttributeValues": {":p": ID, ":n": {"N": "2"}},
}
PAGES: Final = [
    Case(
        name="limit-2",
        request={**OF_P, "Limit": 2},
        given=ITEMS,
        answer=page(ITEMS[:2], **last(1)),
        source=DOC,
    ),
    Case(
        name="limit-all",
        request={**OF_P, "Limit": 6},
        given=ITEMS,
        answer=page(ITEMS, **last(5)),
        source=SOURCE,
    ),
    Case(
        name="limit-more",
        request={**OF_P, "Limit": 7},
        given=ITEMS,
        answer=page(ITEMS),
        source=SOURCE,
    ),
    Case(
        name="limit-backwards",
        request={**OF_P, "Limit": 2, "ScanIndexForward": False},
        given=ITEMS,
        answer=page(ITEMS[:3:-1], **last(4)),
        source=DOC,
    ),
    Case(
        name="start",
        request={**OF_P, "ExclusiveStartKey": {"p": ID, "c": {"S": "ab"}}},
        given=ITEMS,
        answer=page(ITEMS[3:]),
        source=DOC,
    ),
    Case(
        name="start-between",
        request={**OF_P, "ExclusiveStartKey": {"p": ID, "c": {"S": "ac"}}},
        given=ITEMS,
        answer=page(ITEMS[3:]),
        source=DOC,
    ),
    Case(
        name="start-backwards",
        request={
            **OF_P,
            "ScanIndexForward": False,
            "ExclusiveStartKey": {"p": ID, "c": {"S": "ab"}},
        },
        given=ITEMS,
        answer=page(ITEMS[1::-1]),
        source=DOC,
    ),
    Case(
        name="start-and-limit",
        request={**OF_P, "Limit": 2, "ExclusiveStartKey": {"p": ID, "c": {"S": "aa"}}},
        given=ITEMS,
        answer=page(ITEMS[2:4], **last(3)),
        source=DOC,
    ),
    Case(
        name="start-at-last",
        request={**OF_P, "ExclusiveStartKey": {"p": ID, "c": {"S": "c"}}},
        given=ITEMS,
        answer=page([]),
        source=DOC,
    ),
    Case(
        name="filter",
        request={**OF_P, **FILTER},
        given=ITEMS,
        answer=page(ITEMS[3:], ScannedCount=6),
        source=DOC,
    ),
    Case(
        name="filter-after-limit",
        request={**OF_P, **FILTER, "Limit": 4},
        given=ITEMS,
        answer=page(ITEMS[3:4], ScannedCount=4, **last(3)),
        source=DOC,
    ),
    Case(
        name="filter-empties-a-page",
        request={**OF_P, **FILTER, "Limit": 2},
        given=ITEMS,
        answer=page([], ScannedCount=2, **last(1)),
        source=DOC,
    ),
    Case(
        name="count",
        request={**OF_P, "Select": "COUNT"},
        given=ITEMS,
        answer={"Count": 6, "ScannedCount": 6},
        source=DOC,
    ),
    Case(
        name="count-filtered",
        request={**OF_P, **FILTER, "Select": "COUNT"},
        given=ITEMS,
        answer={"Count": 3, "ScannedCount": 6},
        source=DOC,
    ),
    Case(
        name="count-limited",
        request={**OF_P, "Limit": 2, "Select": "COUNT"},
        given=ITEMS,
        answer={"Count": 2, "ScannedCount": 2, **last(1)},
        source=DOC,
    ),
    Case(
        name="all-attributes",
        request={**OF_P, "Select": "ALL_ATTRIBUTES"},
        given=ITEMS,
        answer=page(ITEMS),
        source=DOC,
    ),
    Case(
        name="specific-attributes",
        request={**OF_P, "Select": "SPECIFIC_ATTRIBUTES", "ProjectionExpression": "c"},
        given=ITEMS,
        answer=page([{"c": item["c"]} for item in ITEMS]),
        source=DOC,
    ),
    Case(
        name="projected",
        request={**OF_P, "ProjectionExpression": "a"},
        given=ITEMS,
        answer=page([{"a": item["a"]} for item in ITEMS]),
        source=DOC,
    ),
    Case(
        name="projected-to-nothing",
        request={**OF_P, "ProjectionExpression": "gone"},
        given=ITEMS,
        answer=page([{} for _ in ITEMS]),
        source=DOC,
    ),
    refused(
        "select-without-projection",
        copies(OF_P, Select="SPECIFIC_ATTRIBUTES"),
        "1 validation error detected: Must specify the AttributesToGet or ProjectionExpression "
        "when choosing to get SPECIFIC_ATTRIBUTES",
        MESSAGES,
    ),
    refused(
        "select-count-projected",
        copies(OF_P, Select="COUNT", ProjectionExpression="a"),
        "1 validation error detected: Cannot specify the ProjectionExpression when choosing to get "
        "only the Count",
        MESSAGES,
    ),
    refused(
        "select-projected-without-index",
        copies(OF_P, Select="ALL_PROJECTED_ATTRIBUTES"),
        "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        MESSAGES,
    ),
    *[
        Case(
            name=f"capacity-{name}",
            request={
                **OF_P,
                "ReturnConsumedCapacity": "TOTAL",
                "ConsistentRead": consistent,
                **more,
            },
            given=given,
            answer=answer | {"ConsumedCapacity": {"TableName": "<PC>", "CapacityUnits": units}},
            source=SOURCE,
        )
        for name, consistent, more, given, answer, units in (
            ("of-nothing", False, {}, [], page([]), 0.5),
            ("of-nothing-consistent", True, {}, [], page([]), 1),
            ("of-page", False, {}, ITEMS, page(ITEMS), 0.5),
            ("before-filter", True, FILTER, ITEMS, page(ITEMS[3:], ScannedCount=6), 1),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**OF_P, "ReturnConsumedCapacity": "INDEXES"},
        answer=page(
            [],
            ConsumedCapacity={
                "TableName": "<PC>",
                "CapacityUnits": 0.5,
                "Table": {"CapacityUnits": 0.5},
            },
        ),
        source=SOURCE,
    ),
]

EXPRESSIONS: Final = [
    *[
        refused(
            f"projection-{name}",
            {
                **OF_P,
                "ProjectionExpression": text,
                **({"ExpressionAttributeNames": names} if names else {}),
            },
            f"Invalid ProjectionExpression: {error}",
            source,
        )
        for name, text, names, error, source in BAD_PROJECTIONS
    ],
    *[
        Case(
            name=f"projects-{text}",
            request={
                **OF_P,
                "ProjectionExpression": text,
                **({"ExpressionAttributeNames": names} if names else {}),
            },
            given=[{"p": ID, "c": S, **ITEM}],
            answer=page([dict(item)]),
            source=source,
        )
        for text, names, item, source in PROJECTIONS
    ],
]


@pytest.mark.parametrize("case", [*SORTED, *PAGES], ids=name_of)
def test_pages(tables: Tables, case: Case) -> None:
    """A page holds the items of the condition in their order, and says where it ends."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", EXPRESSIONS, ids=name_of)
def test_projections(tables: Tables, case: Case) -> None:
    """A projection gives its paths of every item, and one that cannot be is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: f"{truth.expression} {truth.values}")
def test_truths(tables: Tables, truth: Any) -> None:
    """Each function and operator is as true of an item in a filter as the service finds it."""
    item = {"p": ID, "c": S, **ITEM}
    values = {"ExpressionAttributeValues": {":p": ID, **truth.values}}
    request = {**OF_P, "FilterExpression": truth.expression, **values, "Select": "COUNT"}
    answer = {"Count": int(truth.holds), "ScannedCount": 1}
    run(tables, OP, Case(name="", request=request, given=[item], answer=answer, source=DOC))
