"""DescribeContinuousBackups, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.dynamodb_cases import Case, Error, name_of, run
from tests.support.dynamodb_retypes import retypes

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "DescribeContinuousBackups"
DOC: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/"
    "API_DescribeContinuousBackups.html"
)
GONE: Final = Case(
    name="gone",
    request={"TableName": "<GONE>"},
    error=Error(name="TableNotFoundException", text="Table not found: <GONE>"),
    source=f"{DOC} (errors); https://github.com/getmoto/moto tests/test_dynamodb",
)


@pytest.mark.parametrize("case", [*retypes(OP), GONE], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A name of no table has an error of its own here."""
    run(tables, OP, case)


def test_what_there_is(tables: Tables) -> None:
    """Backups are ENABLED with every table, point-in-time recovery is not (AWS API page)."""
    answer = tables.dynamodb.do(OP, {"TableName": tables.names["P"]})
    described = answer["ContinuousBackupsDescription"]
    assert answer.keys() == {"ContinuousBackupsDescription"}
    assert described["ContinuousBackupsStatus"] in {"ENABLED", "DISABLED"}
    recovery = described.get("PointInTimeRecoveryDescription", {})
    assert recovery.get("PointInTimeRecoveryStatus", "DISABLED") == "DISABLED"
