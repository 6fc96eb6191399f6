"""Pages of Query and Scan: any limit and any filter give the whole, each item once."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.cli.dynamodb import DynamoDb
from dstore.cli.failures import Failure
from dstore.cli.item_pages import item_pages


class Table:
    """Numbers in order, some of which a filter keeps; a page evaluates a few at most."""

    def __init__(self, keeps: list[bool], *, page_max: int, is_wrong: bool = False) -> None:
        self.reads = 0
        self._keeps = keeps
        self._page_max = page_max
        self._is_wrong = is_wrong

    def read(self, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        assert operation == "Scan"
        self.reads += 1
        start = int(members.get("ExclusiveStartKey", {"n": {"N": "-1"}})["n"]["N"]) + 1
        limit = self._page_max if self._is_wrong else members.get("Limit", self._page_max)
        end = min(start + min(limit, self._page_max), len(self._keeps))
        kept = [{"n": {"N": str(n)}} for n in range(start, end) if self._keeps[n]]
        answer = {"Items": kept, "Count": len(kept), "ScannedCount": end - start}
        # As DynamoDB: a page that its bounds ended has a last key though nothing may follow.
        is_whole = end == len(self._keeps) and end - start < min(limit, self._page_max)
        return answer if is_whole else {**answer, "LastEvaluatedKey": {"n": {"N": str(end - 1)}}}


@given(
    keeps=st.lists(st.booleans(), max_size=60),
    page_max=st.integers(1, 20),
    items_max=st.one_of(st.none(), st.integers(1, 30)),
    is_filtered=st.booleans(),
)
def test_parts_are_the_whole(
    keeps: list[bool], page_max: int, items_max: int | None, is_filtered: bool
) -> None:
    """Going on behind the last key of a part skips nothing and repeats nothing."""
    if not is_filtered:
        keeps = [True] * len(keeps)
    db = cast("DynamoDb", Table(keeps, page_max=page_max))
    members: dict[str, Any] = {"FilterExpression": "x"} if is_filtered else {}
    found: list[int] = []
    while True:
        part = list(item_pages(db, "Scan", members, items_max=items_max))
        items = [int(item["n"]["N"]) for page in part for item in page.items]
        if items_max is not None:
            assert len(items) <= items_max
        found += items
        if part[-1].last is None:
            break
        assert len(items) == items_max, "a part ends at its limit or at the end"
        members["ExclusiveStartKey"] = part[-1].last
    assert found == [number for number, is_kept in enumerate(keeps) if is_kept]


def test_rare_matches_cost_few_requests() -> None:
    """One item in ten thousand is found by pages of a thousand, also after a page was halved."""
    keeps = [True] * 50 + [False] * 10_000 + [True]
    table = Table(keeps, page_max=5_000)
    pages = item_pages(cast("DynamoDb", table), "Scan", {"FilterExpression": "x"}, items_max=51)
    assert sum(page.count for page in pages) == 51
    assert table.reads <= 12
    table = Table([True, *keeps[50:]], page_max=5_000)
    pages = item_pages(cast("DynamoDb", table), "Scan", {"FilterExpression": "x"}, items_max=1)
    assert sum(page.count for page in pages) == 1


def test_server_that_ignores_the_limit() -> None:
    """More than was asked for is no answer; printing it would make the next part repeat it."""
    table = Table([True] * 20, page_max=10, is_wrong=True)
    with pytest.raises(Failure, match="compare versions"):
        list(item_pages(cast("DynamoDb", table), "Scan", {}, items_max=5))
