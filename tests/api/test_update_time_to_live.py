"""UpdateTimeToLive, case by case; every case names the public source of its answer.

What AWS answered was seen by the lab behind ack-api-quirks (services/dynamodb, DDB-TABLE-143 to
147) and by ScyllaDB's Alternator (test_ttl.py); the shapes are botocore's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run, violated
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_table_names import named_table_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "UpdateTimeToLive"
LAB: Final = "ack-api-quirks services/dynamodb DDB-TABLE-146"
COOLDOWN: Final = "ack-api-quirks services/dynamodb DDB-TABLE-143"
MODEL: Final = "botocore dynamodb/2012-08-10, TimeToLiveSpecification"
NOT_NULL: Final = "Member must not be null"
SHORT: Final = "Member must have length greater than or equal to 1"
LONG: Final = "Member must have length less than or equal to 255"
ENABLED_PATH: Final = "timeToLiveSpecification.enabled"
NAME_PATH: Final = "timeToLiveSpecification.attributeName"
# In which of the two orders is in no public source.
TWO: Final = re.compile(f"^2 validation errors detected: (?=.*'{ENABLED_PATH}')(?=.*'{NAME_PATH}')")
ON: Final = {"AttributeName": "expires", "Enabled": True}
OFF: Final = {"AttributeName": "expires", "Enabled": False}
TOO_OFTEN: Final = "Time to live has been modified multiple times within a fixed interval"
ALREADY_ON: Final = "TimeToLive is already enabled"
ALREADY_OFF: Final = "TimeToLive is already disabled"
ANOTHER: Final = (
    "TimeToLive is active on a different AttributeName: current AttributeName is expires"
)


def asked(specification: Any, table: str = "<P>") -> dict[str, Any]:
    """Make a request."""
    return {"TableName": table, "TimeToLiveSpecification": specification}


SHAPES: Final = [
    Case(
        name="no-specification",
        request={"TableName": "<P>"},
        error=violated((None, "timeToLiveSpecification", NOT_NULL)),
        source=MODEL,
    ),
    Case(
        name="null-specification",
        request=asked(None),
        error=violated((None, "timeToLiveSpecification", NOT_NULL)),
        source=MODEL,
    ),
    Case(
        name="empty-specification",
        request=asked({}),
        error=invalid(TWO),
        source=LAB,
    ),
    Case(
        name="no-name-to-enable",
        request=asked({"Enabled": True}),
        error=violated((None, NAME_PATH, NOT_NULL)),
        source=LAB,
    ),
    Case(
        name="no-name-to-disable",
        request=asked({"Enabled": False}),
        error=violated((None, NAME_PATH, NOT_NULL)),
        source=LAB,
    ),
    Case(
        name="null-name",
        request=asked({"Enabled": True, "AttributeName": None}),
        error=violated((None, NAME_PATH, NOT_NULL)),
        source=LAB,
    ),
    Case(
        name="no-enabled",
        request=asked({"AttributeName": "expires"}),
        error=violated((None, ENABLED_PATH, NOT_NULL)),
        source=LAB,
    ),
    Case(
        name="null-enabled",
        request=asked({"AttributeName": "expires", "Enabled": None}),
        error=violated((None, ENABLED_PATH, NOT_NULL)),
        source=LAB,
    ),
    Case(
        name="empty-name",
        request=asked({"AttributeName": "", "Enabled": True}),
        error=violated(("", NAME_PATH, SHORT)),
        source="ScyllaDB Alternator test_ttl.py test_update_ttl_errors; " + MODEL,
    ),
    Case(
        name="empty-name-to-disable",
        request=asked({"AttributeName": "", "Enabled": False}),
        error=violated(("", NAME_PATH, SHORT)),
        source=MODEL,
    ),
    Case(
        name="name-of-256",
        request=asked({"AttributeName": "x" * 256, "Enabled": True}),
        error=violated(("x" * 256, NAME_PATH, LONG)),
        source=LAB,
    ),
    Case(
        name="name-of-256-to-disable",
        request=asked({"AttributeName": "x" * 256, "Enabled": False}),
        error=violated(("x" * 256, NAME_PATH, LONG)),
        source=LAB,
    ),
    Case(
        name="empty-name-and-no-enabled",
        request=asked({"AttributeName": ""}),
        error=invalid(TWO),
        source=MODEL,
    ),
    Case(
        name="shape-before-table",
        request=asked({"Enabled": True}, "<GONE>"),
        error=violated((None, NAME_PATH, NOT_NULL)),
        source="dynalite: constraints are checked before a table is looked for",
    ),
    Case(
        name="never-enabled",
        request=asked(OFF),
        error=invalid(ALREADY_OFF),
        source=LAB,
    ),
    Case(
        name="never-enabled-whatever-the-name",
        request=asked({"AttributeName": "another", "Enabled": False}),
        error=invalid(ALREADY_OFF),
        source=LAB,
    ),
]


@pytest.mark.parametrize(
    "case",
    [*retypes(OP), *named_table_cases(OP, {"TimeToLiveSpecification": ON}), *SHAPES],
    ids=name_of,
)
def test_refusals(tables: Tables, case: Case) -> None:
    """What is no name, no specification or no change is refused, in AWS's words."""
    run(tables, OP, case)


@pytest.fixture(scope="module")
def enabled(tables: Tables) -> str:
    """Make a table whose items expire. Returns: its name."""
    name = tables.new({"p": "S"})
    assert tables.dynamodb.do(OP, asked(ON, name)) == {"TimeToLiveSpecification": ON}
    return name


@pytest.mark.parametrize(
    ("specification", "text"),
    [
        (ON, ALREADY_ON),
        ({"AttributeName": "other", "Enabled": True}, ANOTHER),
        ({"AttributeName": "other", "Enabled": False}, ANOTHER),
        ({"AttributeName": "Expires", "Enabled": True}, ANOTHER),
        ({"AttributeName": "expires ", "Enabled": False}, ANOTHER),
        ({"AttributeName": "p", "Enabled": True}, ANOTHER),
        (OFF, TOO_OFTEN),
    ],
    ids=["again", "other", "other-off", "other-case", "other-space", "key", "too-soon"],
)
def test_changes_of_what_is_enabled(
    tables: Tables, enabled: str, specification: dict[str, Any], text: str
) -> None:
    """What is wrong in itself is said before that it comes too soon (DDB-TABLE-143, 147)."""
    answer = tables.dynamodb.call(OP, asked(specification, enabled))
    assert (answer.status, answer.error) == (400, "ValidationException"), COOLDOWN
    assert answer.message == text
    described = tables.dynamodb.do("DescribeTimeToLive", {"TableName": enabled})
    assert described["TimeToLiveDescription"]["AttributeName"] == "expires"


def test_a_refused_change_changes_nothing(tables: Tables, enabled: str) -> None:
    """The table's description says nothing of it before or after (AWS API page, DescribeTable)."""
    before = tables.dynamodb.do("DescribeTable", {"TableName": enabled})
    tables.dynamodb.call(OP, asked(OFF, enabled))
    assert tables.dynamodb.do("DescribeTable", {"TableName": enabled}) == before
    assert before["Table"]["TableStatus"] == "ACTIVE"
    assert "TimeToLiveDescription" not in before["Table"]


NAMES: Final = {
    "one-character": "x",
    "of-255": "x" * 255,
    "reserved-word": "ttl",
    "with-a-dot": "a.b",
    "with-a-space": "time to live",
    "unicode": "абв",
    "partition-key": "p",
    "sort-key": "c",
    "number-sign": "#expires",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_can_be(tables: Tables, name: str) -> None:
    """Any attribute will do, a key of the table too (DDB-TABLE-146); no path is read into it."""
    table, specification = tables.new({"p": "S", "c": "N"}), {**ON, "AttributeName": NAMES[name]}
    answer = tables.dynamodb.do(OP, asked(specification, table))
    assert answer == {"TimeToLiveSpecification": specification}
    described = tables.dynamodb.do("DescribeTimeToLive", {"TableName": table})
    assert described["TimeToLiveDescription"]["AttributeName"] == NAMES[name]


def test_a_table_by_its_arn(tables: Tables) -> None:
    """An ARN stands wherever a table's name may (AWS API page, TableName)."""
    name = tables.new({"p": "S"})
    arn = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]["TableArn"]
    tables.dynamodb.do(OP, asked(ON, arn))
    described = tables.dynamodb.do("DescribeTimeToLive", {"TableName": arn})
    assert described["TimeToLiveDescription"]["AttributeName"] == "expires"


def test_another_table_is_not_concerned(tables: Tables, enabled: str) -> None:
    """The rest between two changes is each table's own (AWS API page: "for the same table")."""
    other = tables.new({"p": "S"})
    tables.dynamodb.do(OP, asked(ON, other))
    for name in (enabled, other):
        answer = tables.dynamodb.call(OP, asked(ON, name))
        assert answer.message == ALREADY_ON


def test_a_table_made_again_knows_nothing(tables: Tables) -> None:
    """A new table of an old name has neither its time to live nor its rest (AWS guide, TTL)."""
    name = tables.new({"p": "S"})
    tables.dynamodb.do(OP, asked(ON, name))
    tables.dynamodb.do("DeleteTable", {"TableName": name})
    tables.wait_gone(name)
    tables.dynamodb.do(
        "CreateTable",
        {
            "TableName": name,
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    tables.wait_active(name)
    described = tables.dynamodb.do("DescribeTimeToLive", {"TableName": name})
    assert described == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    tables.dynamodb.do(OP, asked({**ON, "AttributeName": "second"}, name))
