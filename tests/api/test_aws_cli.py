"""The real aws CLI (PyPI's awscli) works unchanged: commands as its manual has them.

Source: the examples in the AWS CLI Command Reference, "dynamodb", and its chapters on pagination
and return codes; the texts of errors are DynamoDB's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.support.dynamodb import Endpoint

# The CLI takes a second to start.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REFUSED: Final = 255  # what version 1 exits with when the service answers with an error
_COMMAND_S: Final = 120  # waiters ask every 20 s
_AWS: Final = Path(sys.executable).with_name("aws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """The command `aws dynamodb` with an endpoint, a table of its own and an empty home."""

    endpoint: Endpoint
    home: Path
    table: str

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `aws dynamodb COMMAND ARGUMENTS` and return whatever it did."""
        variables = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "AWS_ACCESS_KEY_ID": self.endpoint.key_id,
            "AWS_SECRET_ACCESS_KEY": self.endpoint.secret,
            "AWS_DEFAULT_REGION": self.endpoint.region,
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint.url,
            "AWS_MAX_ATTEMPTS": "1",
            "LANG": "C.UTF-8",
        }
        return subprocess.run(
            [str(_AWS), "dynamodb", command, *arguments],
            capture_output=True,
            text=True,
            cwd=self.home,
            env=variables,
            timeout=_COMMAND_S,
            check=False,
        )

    def text(self, command: str, *arguments: str) -> str:
        """Run a command that must succeed. Returns: what it printed."""
        done = self.run(command, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), (command, arguments, done)
        return done.stdout

    def json(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed. Returns: the JSON it printed, {} for nothing."""
        decoded: dict[str, Any] = json.loads(self.text(command, *arguments) or "{}")
        return decoded

    def on_table(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a command on the table, as `json`."""
        return self.json(command, "--table-name", self.table, *arguments)

    def refused(self, command: str, *arguments: str) -> str:
        """Run a command on the table that the service must refuse. Returns: the complaint."""
        done = self.run(command, "--table-name", self.table, *arguments)
        assert (done.returncode, done.stdout) == (REFUSED, ""), (command, arguments, done)
        return done.stderr.strip()

    def create_table(self) -> dict[str, Any]:
        """Make a table of the CLI manual's example and wait for it."""
        kinds = ("AttributeName=Artist,AttributeType=S", "AttributeName=Year,AttributeType=N")
        keys = ("AttributeName=Artist,KeyType=HASH", "AttributeName=Year,KeyType=RANGE")
        definition = ("--attribute-definitions", *kinds, "--key-schema", *keys)
        made = self.on_table("create-table", *definition, "--billing-mode", "PAY_PER_REQUEST")
        assert self.text("wait", "table-exists", "--table-name", self.table) == ""
        return made

    def file(self, content: object) -> str:
        """Write JSON to a file. Returns: how an argument names it."""
        path = self.home / f"{uuid4().hex}.json"
        path.write_text(json.dumps(content))
        return f"file://{path}"


@pytest.fixture
def aws(endpoint: Endpoint, tmp_path: Path) -> Aws:
    """Give the CLI and the name of a table that is not there yet."""
    return Aws(endpoint=endpoint, home=tmp_path, table=f"Music-{uuid4().hex}")


def _key(year: int, artist: str = "Miles Davis") -> dict[str, Any]:
    return {"Artist": {"S": artist}, "Year": {"N": str(year)}}


def test_life_of_a_table(aws: Aws) -> None:
    """Create, wait, describe, list, tag, change, protect, delete: each prints what AWS prints."""
    made = aws.create_table()["TableDescription"]
    assert made["TableStatus"] == "CREATING"
    assert made["KeySchema"][1] == {"AttributeName": "Year", "KeyType": "RANGE"}
    table = aws.on_table("describe-table")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    arn = table["TableArn"]
    assert arn.startswith("arn:aws:dynamodb:us-east-1:")
    assert aws.table in aws.json("list-tables", "--page-size", "1")["TableNames"]
    assert (
        aws.text("describe-table", "--table-name", aws.table, *_pick("Table.TableStatus"))
        == "ACTIVE\n"
    )

    aws.json("tag-resource", "--resource-arn", arn, "--tags", "Key=Owner,Value=jazz")
    tags = aws.json("list-tags-of-resource", "--resource-arn", arn)["Tags"]
    assert tags == [{"Key": "Owner", "Value": "jazz"}]
    aws.json("untag-resource", "--resource-arn", arn, "--tag-keys", "Owner")
    assert aws.json("list-tags-of-resource", "--resource-arn", arn)["Tags"] == []

    throughput = ("--provisioned-throughput", "ReadCapacityUnits=5,WriteCapacityUnits=6")
    changed = aws.on_table("update-table", "--billing-mode", "PROVISIONED", *throughput)
    assert changed["TableDescription"]["TableStatus"] == "UPDATING"
    aws.text("wait", "table-exists", "--table-name", aws.table)
    described = aws.on_table("describe-table")["Table"]
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 6

    deleted = aws.on_table("delete-table")["TableDescription"]
    assert deleted["TableStatus"] == "DELETING"
    assert aws.text("wait", "table-not-exists", "--table-name", aws.table) == ""
    assert aws.refused("describe-table") == (
        "An error occurred (ResourceNotFoundException) when calling the DescribeTable operation: "
        f"Requested resource not found: Table: {aws.table} not found"
    )


def test_what_is_told_of_a_table_and_the_account(aws: Aws) -> None:
    """Limits, endpoints, time to live and backups are described; a protected table stays."""
    aws.create_table()
    ttl = aws.on_table("describe-time-to-live")
    assert ttl == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    backups = aws.on_table("describe-continuous-backups")["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "DISABLED"
    assert aws.json("describe-limits")["TableMaxWriteCapacityUnits"] > 0
    assert aws.json("describe-endpoints")["Endpoints"][0]["CachePeriodInMinutes"] > 0
    assert aws.refused("create-table", *_DEFINITION) == (
        "An error occurred (ResourceInUseException) when calling the CreateTable operation: "
        f"Table already exists: {aws.table}"
    )
    aws.on_table("update-table", "--deletion-protection-enabled")
    aws.text("wait", "table-exists", "--table-name", aws.table)
    assert "(ValidationException) when calling the DeleteTable" in aws.refused("delete-table")
    aws.on_table("update-table", "--no-deletion-protection-enabled")
    aws.text("wait", "table-exists", "--table-name", aws.table)
    aws.on_table("delete-table")


def test_items(aws: Aws) -> None:
    """Items are put, read, updated and deleted; a condition that fails ends the command so."""
    aws.create_table()
    item = _key(1959) | {
        "Title": {"S": "Kind of Blue"},
        "Sides": {"L": [{"S": "So What"}, {"M": {"length": {"N": "5.50"}}}]},
        "Players": {"SS": ["Coltrane", "Evans"]},
        "Remastered": {"BOOL": True},
        "Label": {"NULL": True},
    }
    key = ("--key", json.dumps(_key(1959)))
    assert aws.on_table("put-item", "--item", aws.file(item)) == {}
    got = aws.on_table("get-item", *key, "--consistent-read")["Item"]
    assert got["Sides"]["L"][1] == {"M": {"length": {"N": "5.5"}}}
    assert got | {"Sides": item["Sides"]} == item
    projected = ("--projection-expression", "#t, Sides[0]")
    names = ("--expression-attribute-names", '{"#t": "Title"}')
    assert aws.on_table("get-item", *key, *projected, *names)["Item"] == {
        "Title": {"S": "Kind of Blue"},
        "Sides": {"L": [{"S": "So What"}]},
    }

    only_new = ("--condition-expression", "attribute_not_exists(Artist)")
    assert aws.refused("put-item", "--item", aws.file(item), *only_new) == (
        "An error occurred (ConditionalCheckFailedException) when calling the PutItem operation: "
        "The conditional request failed"
    )
    update = ("--update-expression", "SET Plays = if_not_exists(Plays, :zero) + :one REMOVE #l")
    values = ("--expression-attribute-values", '{":zero": {"N": "0"}, ":one": {"N": "1"}}')
    label = ("--expression-attribute-names", '{"#l": "Label"}')
    new = ("--return-values", "ALL_NEW")
    updated = aws.on_table("update-item", *key, *update, *values, *label, *new)["Attributes"]
    assert updated == {k: v for k, v in got.items() if k != "Label"} | {"Plays": {"N": "1"}}

    cost = ("--return-consumed-capacity", "TOTAL")
    deleted = aws.on_table("delete-item", *key, "--return-values", "ALL_OLD", *cost)
    assert deleted["Attributes"] == updated
    assert deleted["ConsumedCapacity"] == {"TableName": aws.table, "CapacityUnits": 1.0}
    assert aws.on_table("get-item", *key) == {}
    assert aws.refused("get-item", "--key", '{"Artist": {"S": "x"}}') == (
        "An error occurred (ValidationException) when calling the GetItem operation: "
        "The provided key element does not match the schema"
    )
    aws.on_table("delete-table")


def test_pages(aws: Aws) -> None:
    """The CLI's own paginator walks query, scan and batches to their ends."""
    aws.create_table()
    years = range(1950, 1960)
    puts = [{"PutRequest": {"Item": _key(year)}} for year in years]
    requests = aws.file({aws.table: [*puts, {"PutRequest": {"Item": _key(1971, "Can")}}]})
    assert aws.json("batch-write-item", "--request-items", requests) == {"UnprocessedItems": {}}
    wanted = {aws.table: {"Keys": [_key(1955), _key(1955, "Can"), _key(1971, "Can")]}}
    got = aws.json("batch-get-item", "--request-items", aws.file(wanted))
    assert sorted(got["Responses"][aws.table], key=str) == [_key(1971, "Can"), _key(1955)]
    assert got["UnprocessedKeys"] == {}

    condition = "Artist = :a AND #y BETWEEN :from AND :to"
    values = {":a": {"S": "Miles Davis"}, ":from": {"N": "1952"}, ":to": {"N": "1958"}}
    query = (
        *("--key-condition-expression", condition),
        *("--expression-attribute-names", '{"#y": "Year"}'),
        *("--expression-attribute-values", json.dumps(values)),
    )
    found = aws.on_table("query", *query, "--page-size", "2", "--no-scan-index-forward")
    assert [int(item["Year"]["N"]) for item in found["Items"]] == list(range(1958, 1951, -1))
    assert aws.on_table("query", *query, "--select", "COUNT")["Count"] == 7

    first = aws.on_table("scan", "--page-size", "3", "--max-items", "7")
    assert len(first["Items"]) == 7
    rest = aws.on_table("scan", "--page-size", "3", "--starting-token", first["NextToken"])
    assert "NextToken" not in rest
    everything = [*first["Items"], *rest["Items"]]
    assert sorted(everything, key=str) == sorted(
        [*(_key(year) for year in years), _key(1971, "Can")], key=str
    )
    flat = aws.text("scan", "--table-name", aws.table, *_pick("Items[].Year.N"))
    assert sorted(flat.split()) == [*map(str, years), "1971"]
    filtered = ("--filter-expression", "Artist = :a")
    can = ("--expression-attribute-values", '{":a": {"S": "Can"}}')
    answer = aws.on_table("scan", *filtered, *can, "--no-paginate")
    assert (answer["Count"], answer["ScannedCount"]) == (1, 11)
    aws.on_table("delete-table")


def _pick(path: str) -> tuple[str, ...]:
    return ("--query", path, "--output", "text")


_DEFINITION: Final = (
    *("--attribute-definitions", "AttributeName=Artist,AttributeType=S"),
    *("--key-schema", "AttributeName=Artist,KeyType=HASH"),
    *("--billing-mode", "PAY_PER_REQUEST"),
)
