"""A session with `dstore item` over the DynamoDB API: load, look, scan, load again, compare."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import running

ITEMS_COUNT = 1_000
BIG = "12345678901234567890123456789012345678"
CREATE = """
set -a; . dstore-data/client.env; set +a
for table in orders copy; do
    printf 'user = %s:%s\\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" | curl -sS \
        --fail-with-body -K - --aws-sigv4 "aws:amz:$AWS_REGION:dynamodb" \
        -H 'Content-Type: application/x-amz-json-1.0' \
        -H 'X-Amz-Target: DynamoDB_20120810.CreateTable' --data-binary '{"TableName": "'$table'",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"},
            {"AttributeName": "day", "KeyType": "RANGE"}],
        "AttributeDefinitions": [{"AttributeName": "customer", "AttributeType": "S"},
            {"AttributeName": "day", "AttributeType": "N"}]}' "$DSTORE_URL/"
done
"""

Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def item(number: int) -> str:
    """Spell an item with every type there is."""
    return (
        f'{{"customer": "c{number % 10}", "day": {number}, "price": {number}.125, "big": {BIG}, '
        f'"tags": {{"$stringSet": ["a", "t{number}"]}}, "sizes": {{"$numberSet": [1, 2.5]}}, '
        '"blob": {"$binary": "AAE="}, "blobs": {"$binarySet": ["AAE=", "Ag=="]}, '
        '"nested": [null, true, {"é": [], "odd": {"$map": {"$binary": "mine"}}}]}'
    )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Serve, make two tables of two keys, and run what somebody types beside it."""
    folder = tmp_path_factory.mktemp("session")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }

    def typed(line: str, *, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{line}"],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            cwd=folder,
            env=environment,
            timeout=60,
        )

    with running(folder, data=folder / "dstore-data"):
        made = typed(CREATE)
        assert made.returncode == 0, made.stdout + made.stderr
        lines = "\n".join(item(number) for number in range(ITEMS_COUNT))
        loaded = typed("dstore item put orders", stdin=lines)
        assert loaded.stderr == f"{ITEMS_COUNT} items are stored in orders.\n"
        yield typed


def printed(shell: Shell, line: str) -> str:
    """Run a line that has to succeed, and return what it printed."""
    done = shell(line)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.xdist_group("item_session")
def test_item_is_found_by_its_key(shell: Shell) -> None:
    """By names and values or by JSON; every digit and every type is there."""
    by_names = printed(shell, "dstore item get orders --key customer=c7 --key day=17")
    by_json = printed(shell, """dstore item get orders --key '{"customer": "c7", "day": 17.0}'""")
    assert by_names == by_json
    assert json.loads(by_names) == json.loads(item(17))
    assert f'"big":{BIG}' in by_names
    wire = printed(
        shell,
        """dstore item get orders --format dynamodb --project 'tags,nested[2]' \
        --key '{"customer": {"S": "c7"}, "day": {"N": "17"}}'""",
    )
    assert json.loads(wire)["tags"] == {"SS": ["a", "t17"]}
    assert shell("dstore item get orders --key customer=c7 --key day=18").returncode == 4


@pytest.mark.xdist_group("item_session")
def test_query_reads_a_partition_in_order(shell: Shell) -> None:
    """Ranges, both directions, filters, limits that go on, and counts."""

    def days(options: str) -> list[int]:
        text = printed(shell, f"dstore item query orders --where customer=c3 {options}")
        return [json.loads(line)["day"] for line in text.splitlines()]

    assert days("--all") == list(range(3, ITEMS_COUNT, 10))
    assert days("--where 'day>=50' --where 'day<=80'") == [53, 63, 73]
    assert days("--where 'day<33' --reverse --limit 2") == [23, 13]
    cheap = """--filter 'price < :p' --values '{":p": 40}' --project day,price"""
    assert days(f"{cheap} --all") == [3, 13, 23, 33]
    first = shell(f"dstore item query orders --where customer=c3 {cheap} --limit 3")
    assert len(first.stdout.splitlines()) == 3
    after = first.stderr.partition("--after ")[2].partition(" goes on")[0]
    assert days(f"{cheap} --limit 3 --after {after}") == [33]
    assert printed(shell, "dstore item query orders --where customer=c3 --count") == "100\n"


@pytest.mark.xdist_group("item_session")
def test_scanned_table_is_the_same_when_it_is_loaded_again(shell: Shell) -> None:
    """In segments to a file, into another table, by either format, compressed or not."""
    printed(shell, "dstore item scan orders --segments 4 --out orders.jsonl")
    original = sorted(printed(shell, "cat orders.jsonl").splitlines())
    assert len(original) == ITEMS_COUNT
    assert sorted(json.loads(line)["day"] for line in original) == list(range(ITEMS_COUNT))
    for way in (
        "dstore item put copy --file orders.jsonl",
        "dstore item scan orders --format dynamodb | gzip | dstore item put copy --format dynamodb",
    ):
        printed(shell, way)
        assert sorted(printed(shell, "dstore item scan copy").splitlines()) == original
    printed(shell, "dstore item delete copy --key customer=c0 --key day=0")
    again = shell("dstore item put copy --file orders.jsonl --if-absent -o json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["stored"] == 1
    assert printed(shell, "dstore item scan copy --segments 3 --count") == f"{ITEMS_COUNT}\n"


@pytest.mark.xdist_group("item_session")
def test_item_is_put_and_deleted_under_conditions(shell: Shell) -> None:
    """The status tells a condition that failed from an item that was not there."""
    key = """'{"customer": "x", "day": 1}'"""
    put = f"echo {key} | dstore item put orders --if-absent"
    assert shell(put).returncode == 0
    assert shell(put).returncode == 1
    delete = f"dstore item delete orders --key {key}"
    refused = shell(f"""{delete} --condition 'price = :p' --values '{{":p": 1}}'""")
    assert refused.returncode == 1
    assert "ConditionalCheckFailedException: The conditional request failed" in refused.stderr
    assert "would be deleted" in shell(f"{delete} --dry-run").stderr
    assert shell(delete).returncode == 0
    assert shell(delete).returncode == 4


@pytest.mark.xdist_group("item_session")
def test_both_apis_see_the_same_items(shell: Shell) -> None:
    """An ID is the key of a table with one key."""
    printed(shell, "dstore table create people --id-type Integer")
    printed(shell, """echo '{"name": "Ada"}' | dstore item put people 42""")
    found = json.loads(printed(shell, "dstore item scan people"))
    [name] = found.keys() - {"name"}
    assert found == {name: 42, "name": "Ada"}
    printed(shell, f"""echo '{{"{name}": 43, "name": "Grace"}}' | dstore item put people""")
    assert json.loads(printed(shell, "dstore item get people 43")) == {"name": "Grace"}
    printed(shell, f"dstore item delete people --key {name}=42")
    assert shell("dstore item get people 42").returncode == 4


@pytest.mark.xdist_group("item_session")
def test_printed_curl_does_the_same(shell: Shell) -> None:
    """Pasted into a shell that knows the access key."""
    key = """'{"customer": {"S": "c7"}, "day": {"N": "17"}}'"""
    command = f"dstore item get orders --key {key} --format dynamodb"
    answered = printed(
        shell, f'set -a; . dstore-data/client.env; set +a; eval "$({command} --print-curl)"'
    )
    assert json.loads(answered)["Item"] == json.loads(printed(shell, command))
