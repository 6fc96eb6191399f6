"""`dstore item query` and `dstore item scan`: what is asked, page by page, and what is printed."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_dynamodb import TABLE, answer, called, calls, hold_key, refused
from tests.unit.cli.fake_server import FakeServer, Reply, Seen


@pytest.fixture(autouse=True)
def key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign with a made-up key."""
    hold_key(monkeypatch)


def page(*numbers: int, last: int | None = None, scanned: int | None = None) -> dict[str, Any]:
    """Make a page of items."""
    found: dict[str, Any] = {
        "Items": [{"n": {"N": str(number)}} for number in numbers],
        "Count": len(numbers),
        "ScannedCount": len(numbers) if scanned is None else scanned,
    }
    if last is not None:
        found["LastEvaluatedKey"] = {"n": {"N": str(last)}}
    return found


class Numbers:
    """A table of the numbers 0 to 99; a filter keeps those that `keeps` says."""

    def __init__(self, server: FakeServer, keeps: Any = lambda _: True) -> None:
        self.limits: list[int | None] = []
        self._keeps = keeps
        server.answer = self._answer  # type: ignore[method-assign]

    def _answer(self, seen: Seen) -> Reply:
        _, members = called(seen)
        start = int(members.get("ExclusiveStartKey", {"n": {"N": "-1"}})["n"]["N"]) + 1
        limit = members.get("Limit")
        self.limits.append(limit)
        end = min(100, start + (40 if limit is None else min(limit, 40)))
        kept = [n for n in range(start, end) if self._keeps(n)]
        last = end - 1 if end < 100 else None
        return Reply(body=json.dumps(page(*kept, last=last, scanned=end - start)).encode())


def numbers_of(stdout: str) -> list[int]:
    return [json.loads(line)["n"] for line in stdout.splitlines()]


def test_query_by_comparisons(server: FakeServer, run: Run) -> None:
    """The table says of what type the keys are; no name needs a substitute of the user's."""
    answer(server, TABLE, page(1, 2))
    wheres = ("--where", "pk=a=b", "--where", "sk >= 3", "--where", "sk<=7")
    result = run("item", "query", "people", *wheres)
    assert result.stdout == '{"n":1}\n{"n":2}\n'
    assert result.stderr == ""
    assert calls(server)[1] == (
        "Query",
        {
            "TableName": "people",
            "KeyConditionExpression": "#key_partition = :key0 AND #key_sort BETWEEN :key1 AND "
            ":key2",
            "ExpressionAttributeNames": {"#key_partition": "pk", "#key_sort": "sk"},
            "ExpressionAttributeValues": {
                ":key0": {"S": "a=b"},
                ":key1": {"N": "3"},
                ":key2": {"N": "7"},
            },
            "ConsistentRead": True,
            "Limit": 100,
        },
    )


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        ("sk=1", "#key_sort = :key1"),
        ("sk<1", "#key_sort < :key1"),
        ("sk>1", "#key_sort > :key1"),
        ("sk<=1", "#key_sort <= :key1"),
        ("sk>=1", "#key_sort >= :key1"),
        ("sk^=1", "begins_with(#key_sort, :key1)"),
    ],
)
def test_each_comparison(server: FakeServer, run: Run, where: str, expression: str) -> None:
    """One for each of DynamoDB's."""
    answer(server, TABLE, page())
    run("item", "query", "people", "--where", "pk=a", "--where", where)
    condition = calls(server)[1][1]["KeyConditionExpression"]
    assert condition == f"#key_partition = :key0 AND {expression}"


@pytest.mark.parametrize(
    ("wheres", "words"),
    [
        (["sk=1"], "needs pk=VALUE"),
        (["pk>a"], "needs pk=VALUE"),
        (["pk=a", "x=1"], "x is no key of people"),
        (["pk=a", "pk=b"], "says pk= twice"),
        (["pk=a", "sk>1", "sk<2"], "one comparison of sk, or >= together with <="),
        (["pk=a", "sk"], "takes NAME=VALUE"),
        ([], "either --where pk=VALUE or --key-condition"),
    ],
)
def test_comparisons_that_are_none(
    server: FakeServer, run: Run, wheres: list[str], words: str
) -> None:
    """The sentence says what DynamoDB can do."""
    answer(server, TABLE)
    result = run("item", "query", "people", *(f"--where={where}" for where in wheres))
    assert result.exit_code == ExitCode.USAGE
    assert words in result.stderr


def test_query_by_expressions(server: FakeServer, run: Run) -> None:
    """Everything that DynamoDB's Query takes, in one request."""
    answer(server, page())
    run(
        "item", "query", "people", "--key-condition", "pk = :p", "--filter", "n > :n",
        "--values", '{":p": {"S": "a"}, ":n": {"N": "1"}}', "--format", "dynamodb",
        "--project", "name", "--reverse", "--all", "--consistency", "eventual",
        "--after", '{"pk": {"S": "a"}}',
    )  # fmt: skip
    assert calls(server) == [
        (
            "Query",
            {
                "TableName": "people",
                "KeyConditionExpression": "pk = :p",
                "FilterExpression": "n > :n",
                "ExpressionAttributeValues": {":p": {"S": "a"}, ":n": {"N": "1"}},
                "ProjectionExpression": "#path0",
                "ExpressionAttributeNames": {"#path0": "name"},
                "ScanIndexForward": False,
                "ConsistentRead": False,
                "ExclusiveStartKey": {"pk": {"S": "a"}},
            },
        )
    ]


def test_limit_is_of_items_and_the_rest_is_named(server: FakeServer, run: Run) -> None:
    """Pages shorter than the limit are followed; the next command is there to be pasted."""
    table = Numbers(server)
    result = run("item", "scan", "people", "--limit", "50")
    assert numbers_of(result.stdout) == list(range(50))
    assert table.limits == [50, 10]
    assert result.stderr == """There is more: --after '{"n":49}' goes on.\n"""
    result = run("item", "scan", "people", "--limit", "50", "--after", '{"n":49}')
    assert numbers_of(result.stdout) == list(range(50, 100))


def test_limit_with_a_filter(server: FakeServer, run: Run) -> None:
    """DynamoDB's own Limit counts before the filter; ours never loses an item behind a page."""
    table = Numbers(server, lambda number: number % 3 == 0)
    options = ("--filter", "n > :n", "--values", '{":n": 0}', "--limit", "4", "-o", "json")
    document = json.loads(run("item", "scan", "people", *options).stdout)
    assert [item["n"] for item in document["items"]] == [0, 3, 6, 9]
    assert json.loads(document["after"]) == {"n": 9}
    assert table.limits == [1_000, 20, 10]
    after = ("--after", document["after"])
    document = json.loads(run("item", "scan", "people", *options, *after).stdout)
    assert [item["n"] for item in document["items"]] == [12, 15, 18, 21]


def test_scan_prints_all_pages(server: FakeServer, run: Run) -> None:
    """Nobody wants 1 MB of a table."""
    Numbers(server)
    assert numbers_of(run("item", "scan", "people").stdout) == list(range(100))


def test_list_for_programs(server: FakeServer, run: Run) -> None:
    """The envelope of every list, one item a line, `after` ready for the option."""
    answer(server, page(1, last=1), page(2))
    result = run("item", "scan", "people", "-o", "json")
    assert json.loads(result.stdout) == {
        "apiVersion": "dstore/v1",
        "kind": "ItemList",
        "items": [{"n": 1}, {"n": 2}],
        "after": None,
    }


def test_count(server: FakeServer, run: Run) -> None:
    """The items themselves never travel."""
    counts = [{"Count": 3, "ScannedCount": 5, "LastEvaluatedKey": {"n": {"N": "1"}}}]
    answer(server, *counts, {"Count": 4, "ScannedCount": 4})
    assert run("item", "scan", "people", "--count").stdout == "7\n"
    assert [members["Select"] for _, members in calls(server)] == ["COUNT", "COUNT"]
    document = json.loads(run("item", "scan", "people", "--count", "-o", "json").stdout)
    assert (document["kind"], document["items"]) == ("ItemCount", 4)


@pytest.mark.parametrize(
    "options",
    [
        ("--count", "--limit", "1"),
        ("--count", "--out", "x"),
        ("--count", "--project", "a"),
        ("--segments", "2", "--limit", "1"),
        ("--segments", "2", "--after", "{}"),
        ("--segments", "0"),
        ("--segments", "65"),
        ("--after", "x"),
    ],
)
def test_options_that_exclude_each_other(
    server: FakeServer, run: Run, options: tuple[str, ...]
) -> None:
    """Before anything is sent."""
    assert run("item", "scan", "people", *options).exit_code == ExitCode.USAGE
    assert server.seen == []


def test_segments_are_read_side_by_side(server: FakeServer, run: Run) -> None:
    """All at once, each to its end, and every item comes once."""
    together = threading.Barrier(3, timeout=10)

    def segment(seen: Seen) -> Reply:
        _, members = called(seen)
        number, has_begun = members["Segment"], "ExclusiveStartKey" in members
        assert members["TotalSegments"] == 3
        if not has_begun:
            together.wait()
        found = page(number + 10, last=None) if has_begun else page(number, last=number)
        return Reply(body=json.dumps(found).encode())

    server.answer = segment  # type: ignore[method-assign]
    result = run("item", "scan", "people", "--segments", "3")
    assert sorted(numbers_of(result.stdout)) == [0, 1, 2, 10, 11, 12]
    assert result.stderr == ""


def test_segment_that_fails_ends_the_scan(server: FakeServer, run: Run, tmp_path: Path) -> None:
    """What is there of the file is no table, and gets no name; what was there stays."""

    def segment(seen: Seen) -> Reply:
        if called(seen)[1]["Segment"] == 1:
            return refused("AccessDeniedException")
        return Reply(body=json.dumps(page(1)).encode())

    server.answer = segment  # type: ignore[method-assign]
    (tmp_path / "out.jsonl").write_text("old\n")
    result = run("item", "scan", "people", "--segments", "2", "--out", "out.jsonl")
    assert result.exit_code == ExitCode.FAILED
    assert "AccessDeniedException" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old\n"


def test_scan_into_a_file(server: FakeServer, run: Run, tmp_path: Path) -> None:
    """One item a line, ready for item put; stdout stays free for the result."""
    answer(server, page(1, last=1), page(2))
    result = run("item", "scan", "people", "--out", "out.jsonl", "-o", "json")
    assert (tmp_path / "out.jsonl").read_text() == '{"n":1}\n{"n":2}\n'
    assert json.loads(result.stdout)["items"] == 2
    assert result.stderr == "2 items are in out.jsonl.\n"


def test_scan_into_what_is_no_file(server: FakeServer, run: Run) -> None:
    """A device is written, not replaced; a folder that is not there is a sentence."""
    answer(server, page(1))
    assert run("item", "scan", "people", "--out", "/dev/null").exit_code == ExitCode.OK
    assert Path("/dev/null").is_char_device()
    result = run("item", "scan", "people", "--out", "nowhere/x")
    assert result.exit_code == ExitCode.FAILED
    assert "nowhere/x can't be written: No such file or directory." in result.stderr


@pytest.mark.parametrize(
    "document",
    [
        {"Count": "1"},
        {"Items": {}, "Count": 1},
        {"Items": [1], "Count": 1},
        {"Items": [{"a": {"S": "x", "N": "1"}}], "Count": 1},
        {"Items": [{"a": {"L": 1}}], "Count": 1},
        {"Items": [{"a": {"N": "x"}}], "Count": 1},
    ],
)
def test_answer_of_another_kind(server: FakeServer, run: Run, document: Any) -> None:
    """A sentence, never a traceback."""
    answer(server, document)
    result = run("item", "scan", "people")
    assert result.exit_code == ExitCode.FAILED
    assert "compare versions" in result.stderr


def test_page_that_leads_nowhere_ends_it(server: FakeServer, run: Run) -> None:
    """A server that always answers the same must not be asked for ever."""
    answer(server, page(1, last=1))
    result = run("item", "scan", "people")
    assert result.exit_code == ExitCode.FAILED
    assert len(server.seen) == 2


def test_printed_items_are_harmless_to_a_terminal(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere they are byte for byte what is stored."""
    answer(server, {"Items": [{"a": {"S": "x\u202ey"}}], "Count": 1})
    assert run("item", "scan", "people").stdout == '{"a":"x\u202ey"}\n'


def test_query_by_an_index(server: FakeServer, run: Run) -> None:
    """The index says what its keys are; it is read as it can be, unless the user says how."""
    answer(server, TABLE, page(1), TABLE, page(1))
    run(
        "item", "query", "people", "--index", "by-it", "--where", "pk=a", "--where", "of_an_index=5"
    )
    members = calls(server)[1][1]
    assert members["IndexName"] == "by-it"
    assert members["ExpressionAttributeValues"] == {":key0": {"S": "a"}, ":key1": {"S": "5"}}
    assert members["ConsistentRead"] is False
    wheres = ("--where", "pk=a", "--consistency", "strong")
    run("item", "query", "people", "--index", "by-it", *wheres)
    assert calls(server)[-1][1]["ConsistentRead"] is True


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ("no", "There is no index no; the table's indexes: by-it, of-many."),
        ("of-many", "of-many has keys of several attributes: give --key-condition."),
    ],
)
def test_an_index_that_where_cannot_ask(
    server: FakeServer, run: Run, index: str, text: str
) -> None:
    """There is none of that name, or one key is more than one attribute."""
    answer(server, TABLE)
    result = run("item", "query", "people", "--index", index, "--where", "pk=a")
    assert result.exit_code == ExitCode.USAGE
    assert text in result.stderr


def test_scan_of_an_index(server: FakeServer, run: Run) -> None:
    """Its name goes with the request."""
    answer(server, page(1))
    run("item", "scan", "people", "--index", "by-it", "--count")
    assert calls(server)[0][1] == {
        "TableName": "people",
        "IndexName": "by-it",
        "Select": "COUNT",
        "ConsistentRead": False,
    }
