"""Query by a local index: what AWS refuses, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.api.test_query_index import ACTION, ID, NO_MATCH, START, n, query, refused, s
from tests.support.dynamodb_cases import Case, copies, name_of, run

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
BAD: Final = "One or more parameter values were invalid: "
FILTERED: Final = "https://github.com/sensedeep/dynamodb-onetable/issues/377"


def start(index: str, **key: Any) -> dict[str, Any]:
    """Spell a query of the partition `a` that goes on behind a key."""
    return copies(query(index), ExclusiveStartKey=key, ExpressionAttributeValues={":p": s("a")})


NOT_THERE: Final = "The table does not have the specified index: "
REFUSED: Final = (
    refused("no-index", copies(query("all"), IndexName="whatever"), f"{NOT_THERE}whatever"),
    refused(
        "index-of-another-table",
        copies(query("all"), TableName="<PC>"),
        f"{NOT_THERE}all",
    ),
    refused(
        "no-index-before-bad-conditions",
        copies(
            query("all", "k = :k", k=n("1")),
            IndexName="whatever",
        ),
        f"{NOT_THERE}whatever",
    ),
    refused(
        "tables-sort-key-as-condition",
        query("all", "c = :c", c=s("1")),
        "Query condition missed key schema element: z",
    ),
    refused(
        "sort-key-of-another-index",
        query("all", "x = :x", x=s("1")),
        "Query condition missed key schema element: z",
    ),
    refused(
        "three-conditions",
        query("all", "z = :z and c = :c", z=n("1"), c=s("1")),
        "The number of query conditions (3) exceeds the number of key attributes defined in the "
        "schema (2)",
        "ExtendDB/extenddb#111",
    ),
    refused(
        "condition-of-another-type",
        query("all", "z = :z", z=s("1")),
        f"{BAD}Condition parameter type does not match schema type",
    ),
    refused(
        "filter-on-the-index-key",
        query("all", FilterExpression="z = :z", z=n("1")),
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: z",
    ),
    refused(
        "filter-on-the-partition-key",
        query("all", FilterExpression="p = :p"),
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: p",
    ),
    refused(
        "filter-on-what-is-not-held",
        query("keys", FilterExpression="d = :d", d=s("1")),
        f"{BAD}Secondary index keys does not project one or more filter attributes: [d]",
        FILTERED,
    ),
    refused(
        "filter-on-several-not-held",
        query("some", FilterExpression="z = :z or d = :z or a = :z", z=n("1")),
        f"{BAD}Secondary index some does not project one or more filter attributes: [d, z]",
        f"{FILTERED}; DynamoDB local, QueryFunction",
    ),
    refused(
        "filter-on-what-is-not-held-though-fetched",
        query("keys", FilterExpression="d = :d", Select="ALL_ATTRIBUTES", d=s("1")),
        f"{BAD}Secondary index keys does not project one or more filter attributes: [d]",
        "DynamoDB local, QueryFunction",
    ),
    refused(
        "path-into-an-index-key",
        query("all", ProjectionExpression="x.y"),
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
        "allowed: IndexKey: x",
    ),
    *(
        refused(f"start-{number}", start("all", **key), START, ACTION)
        for number, key in enumerate[dict[str, Any]](
            (
                {"q": n("1")},
                {"p": s("a")},
                {"p": s("a"), "c": s("a")},
                {"p": s("a"), "z": n("1")},
                {"c": s("a"), "z": n("1")},
                {"p": s("a"), "c": s("a"), "x": s("a")},
                {"p": s("a"), "c": s("a"), "z": n("1"), "x": s("a")},
            )
        )
    ),
    *(
        refused(f"start-type-{number}", start("all", **key), NO_MATCH, ACTION)
        for number, key in enumerate[dict[str, Any]](
            (
                {"p": n("1"), "c": s("a"), "z": n("1")},
                {"p": s("a"), "c": s("a"), "z": s("1")},
                {"p": s("a"), "c": n("1"), "z": {"B": "AA=="}},
                {"p": {"L": []}, "c": s("a"), "z": n("1")},
            )
        )
    ),
    refused(
        "start-type-of-the-tables-key",
        start("all", p=s("a"), c=n("1"), z=n("1")),
        f"{START}: {NO_MATCH}",
        ACTION,
    ),
    refused(
        "start-without-the-tables-key",
        start("all", p=s("a"), z=n("1"), x=s("a")),
        f"{START}: {NO_MATCH}",
        ACTION,
    ),
    refused(
        "start-without-the-tables-key-behind-the-conditions",
        copies(
            query("all", "c = :c", c=s("1")),
            ExclusiveStartKey={"p": ID, "z": n("1"), "x": s("a")},
        ),
        "Query condition missed key schema element: z",
        ACTION,
    ),
    refused(
        "start-without-the-indexs-key-and-of-another-type",
        start("all", p=n("1"), c=s("a"), x=s("a")),
        NO_MATCH,
        ACTION,
    ),
    refused(
        "start-of-another-partition",
        start("all", p=s("b"), c=s("a"), z=n("1")),
        "The provided starting key is outside query boundaries based on provided conditions",
        ACTION,
    ),
    refused(
        "start-outside-the-range",
        copies(
            query("all", "z > :z", z=n("1")),
            ExclusiveStartKey={"p": ID, "c": s("a"), "z": n("1")},
        ),
        "The provided starting key does not match the range key predicate",
        ACTION,
    ),
    refused(
        "start-in-range-of-another-partition",
        copies(
            query("all", "z > :z", z=n("1")),
            ExclusiveStartKey={"p": s("other"), "c": s("a"), "z": n("2")},
        ),
        "The query can return at most one row and cannot be restarted",
        ACTION,
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What AWS refuses is refused in its words."""
    run(tables, OP, case)
