"""`dstore item get`, `put` and `delete` without an ID: the DynamoDB API, call by call."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from dstore.cli.dynamodb import TRIES_MAX
from dstore.cli.failures import ExitCode
from dstore.cli.item_load import Loader
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_dynamodb import SECRET, TABLE, answer, calls, hold_key, refused
from tests.unit.cli.fake_server import FakeServer, Reply

KEY = {"pk": {"S": "a"}, "sk": {"N": "1.50"}}
JSON_KEY = '{"pk": "a", "sk": 1.50}'
BIG = "12345678901234567890123456789012345678"


@pytest.fixture(autouse=True)
def key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign with a made-up key."""
    hold_key(monkeypatch)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have no pause taken, and remember how long each would have been."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def test_get_by_a_json_key(server: FakeServer, run: Run) -> None:
    """The key's values have JSON's types, and no other request is needed."""
    answer(server, {"Item": {"n": {"N": BIG}, "b": {"B": "YQ=="}}})
    result = run("item", "get", "people", "--key", JSON_KEY)
    assert result.stdout == f'{{"n":{BIG},"b":{{"$binary":"YQ=="}}}}\n'
    assert calls(server) == [
        ("GetItem", {"TableName": "people", "Key": KEY, "ConsistentRead": True})
    ]


def test_get_by_names_and_values(server: FakeServer, run: Run) -> None:
    """The table says that one is a number; a value may hold what separates the name."""
    answer(server, TABLE, {"Item": {}})
    options = ("--key", "sk=1.50", "--key", "pk=a=b", "--consistency", "eventual")
    assert run("item", "get", "people", *options, "--format", "dynamodb").stdout == "{}\n"
    described, got = calls(server)
    assert described == ("DescribeTable", {"TableName": "people"})
    assert got[1]["Key"] == {"pk": {"S": "a=b"}, "sk": {"N": "1.50"}}
    assert got[1]["ConsistentRead"] is False


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["pk=a"], "add --key sk=VALUE"),
        (["pk=a", "of_an_index=1"], "of_an_index is no key of people; its keys: pk, sk."),
        (["pk=a", "pk=b"], "once for each key"),
        (["pk"], "takes NAME=VALUE"),
        (["{}", "pk=a"], "takes NAME=VALUE"),
        (['{"pk"}'], "The --key is not valid JSON"),
    ],
)
def test_key_that_is_none(server: FakeServer, run: Run, keys: list[str], words: str) -> None:
    """Found out here, where the sentence can say what to type."""
    answer(server, TABLE)
    result = run("item", "get", "people", *(f"--key={key}" for key in keys))
    assert result.exit_code == ExitCode.USAGE
    assert words in result.stderr


def test_projection_substitutes_every_name(server: FakeServer, run: Run) -> None:
    """Half of the words that people call attributes are reserved."""
    answer(server, {"Item": {}})
    paths = ("--project", "name, a.name[10][2],#x", "--names", '{"#x": "y.z"}')
    run("item", "get", "people", "--key", JSON_KEY, *paths)
    [(_, members)] = calls(server)
    assert members["ProjectionExpression"] == "#path0, #path1.#path0[10][2],#x"
    assert members["ExpressionAttributeNames"] == {"#path0": "name", "#path1": "a", "#x": "y.z"}


@pytest.mark.parametrize("verb", ["get", "delete"])
def test_item_that_is_not_there(server: FakeServer, run: Run, verb: str) -> None:
    """A script tells it by the status; DynamoDB itself says nothing."""
    answer(server, {})
    result = run("item", verb, "people", "--key", JSON_KEY)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stderr == 'dstore: people has no item with the key {"pk":"a","sk":1.50}.\n'


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("get", "people"), "Say which item"),
        (("get", "people", "1", "--key", "pk=a"), "Say which item"),
        (("delete", "people"), "Say which item"),
        (("get", "people", "--key", JSON_KEY, "--meta"), "--meta goes with an ID only."),
        (("get", "people", "--key", JSON_KEY, "--tenant", "x"), "--tenant goes with an ID only."),
        (("delete", "people", "--key", JSON_KEY, "--if-match", "x"), "--if-match goes with"),
        (("put", "people", "--async"), "--async goes with an ID only."),
        (("put", "people", "1", "--condition", "x"), "--condition does not go with an ID."),
        (("get", "people", "1", "--format", "dynamodb"), "--format does not go with an ID."),
        (("delete", "people", "1", "--names", "{}"), "--names does not go with an ID."),
    ],
)
def test_what_one_api_lacks_is_refused(
    server: FakeServer, run: Run, args: tuple[str, ...], words: str
) -> None:
    """An option that is silently ignored is a condition that never held."""
    result = run("item", *args, stdin="{}")
    assert result.exit_code == ExitCode.USAGE
    assert words in result.stderr
    assert server.seen == []


def test_delete_under_a_condition(server: FakeServer, run: Run) -> None:
    """The old item is asked for, since only it tells whether there was one."""
    answer(server, {"Attributes": KEY})
    condition = ("--condition", "#n = :v", "--names", '{"#n": "n"}', "--values", '{":v": 2}')
    result = run("item", "delete", "people", "--key", JSON_KEY, *condition, "-o", "json")
    assert json.loads(result.stdout)["deleted"] is True
    assert calls(server) == [
        (
            "DeleteItem",
            {
                "TableName": "people",
                "Key": KEY,
                "ReturnValues": "ALL_OLD",
                "ConditionExpression": "#n = :v",
                "ExpressionAttributeNames": {"#n": "n"},
                "ExpressionAttributeValues": {":v": {"N": "2"}},
            },
        )
    ]


def test_dry_run_deletes_nothing(server: FakeServer, run: Run) -> None:
    """It looks whether the item is there."""
    answer(server, {"Item": KEY})
    result = run("item", "rm", "people", "--key", JSON_KEY, "--dry-run")
    assert "would be deleted" in result.stderr
    assert [operation for operation, _ in calls(server)] == ["GetItem"]


def test_one_item_is_put(server: FakeServer, run: Run) -> None:
    """Digits, sets and binaries travel; an item that is there is replaced."""
    answer(server, {})
    text = f'{{"pk": "a", "n": {BIG}, "s": {{"$stringSet": ["x"]}}, "b": {{"$binary": "YQ=="}}}}'
    result = run("item", "put", "people", stdin=text)
    assert (result.exit_code, result.stderr) == (0, "1 item is stored in people.\n")
    item = {"pk": {"S": "a"}, "n": {"N": BIG}, "s": {"SS": ["x"]}, "b": {"B": "YQ=="}}
    assert calls(server) == [("PutItem", {"TableName": "people", "Item": item})]


def test_many_items_go_in_batches(server: FakeServer, run: Run, tmp_path: Path) -> None:
    """25 at a time; a key that comes twice waits for the next batch, so that the later one wins."""
    answer(server, TABLE, {})
    keys = [*range(27), 28, 29, 1, "1.0", 30]
    lines = [f'{{"pk": "a", "sk": {key}, "at": {at}}}' for at, key in enumerate(keys)]
    lines += ['{"pk": "a", "sk": 1.00}', '{"pk": "a", "sk": 10e-1}']
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    result = run("item", "put", "people", "--file", "items.jsonl", "-o", "json")
    assert json.loads(result.stdout) == {
        "apiVersion": "dstore/v1",
        "kind": "ItemLoad",
        "table": "people",
        "stored": 34,
        "refused": 0,
    }
    _, *batches = calls(server)
    assert {operation for operation, _ in batches} == {"BatchWriteItem"}
    counts = [len(members["RequestItems"]["people"]) for _, members in batches]
    assert counts == [25, 5, 2, 1, 1]
    for _, members in batches:
        written = [
            put["PutRequest"]["Item"]["sk"]["N"] for put in members["RequestItems"]["people"]
        ]
        assert len({float(number) for number in written}) == len(written)


def test_batch_ends_at_its_bytes(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request beyond 16 MB is refused whole."""
    monkeypatch.setattr("dstore.cli.item_load._BATCH_BYTES_MAX", 250)
    answer(server, TABLE, {})
    lines = [json.dumps({"pk": "a", "sk": at, "text": "x" * 70}) for at in range(5)]
    run("item", "put", "people", stdin="\n".join(lines))
    sizes = [len(members["RequestItems"]["people"]) for _, members in calls(server)[1:]]
    assert sizes == [2, 2, 1]


TWO = '{"pk": "a", "sk": 1}\n{"pk": "b", "sk": 2}\n'


def unprocessed(*names: str) -> dict[str, Any]:
    put = [{"PutRequest": {"Item": {"pk": {"S": name}, "sk": {"N": "1"}}}} for name in names]
    return {"UnprocessedItems": {"people": put}}


def test_what_comes_back_is_sent_again(server: FakeServer, run: Run, pauses: list[float]) -> None:
    """Alone, after a pause that grows while nothing is taken."""
    answer(server, TABLE, unprocessed("a", "b"), unprocessed("a", "b"), unprocessed("b"), {})
    result = run("item", "put", "people", stdin=TWO)
    assert result.stderr == "2 items are stored in people.\n"
    assert [len(members["RequestItems"]["people"]) for _, members in calls(server)[1:]] == [
        2,
        2,
        2,
        1,
    ]
    for pause_s, longest_s in zip(pauses, [0.05, 0.1, 0.05], strict=True):
        assert longest_s / 2 <= pause_s <= longest_s


def test_server_that_takes_nothing_is_left(
    server: FakeServer, run: Run, pauses: list[float]
) -> None:
    """A load that never ends tells nobody anything."""
    answer(server, TABLE, unprocessed("b"))
    result = run("item", "put", "people", stdin=TWO)
    assert result.exit_code == ExitCode.FAILED
    assert "took nothing more of lines 1 to 2" in result.stderr
    assert "1 item is stored in people before; the command can be repeated." in result.stderr
    assert len(pauses) == TRIES_MAX


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
    ],
)
def test_error_that_passes_is_waited_out(
    server: FakeServer, run: Run, pauses: list[float], name: str, status: int
) -> None:
    """Putting the same twice is as good as once."""
    answer(server, refused(name, status=status), refused(name, status=status), {})
    assert run("item", "put", "people", stdin='{"pk": "a"}').exit_code == ExitCode.OK
    assert len(pauses) == 2


def test_conditional_write_that_may_have_happened_is_not_repeated(
    server: FakeServer, run: Run, pauses: list[float]
) -> None:
    """Its second try could fail on what the first one did, and say so wrongly."""
    answer(server, refused("InternalServerError", status=500))
    condition = ("--condition", "attribute_not_exists(pk)")
    result = run("item", "put", "people", *condition, stdin='{"pk": "a"}')
    assert result.exit_code == ExitCode.TIMEOUT
    assert "InternalServerError: No. (Request id REQUEST7.) The outcome is unknown" in result.stderr
    assert pauses == []


def test_if_absent_leaves_what_is_there(server: FakeServer, run: Run) -> None:
    """The rest is stored; the status says that not all of it was."""
    answer(server, TABLE, {}, refused("ConditionalCheckFailedException"), {})
    lines = TWO + '{"pk": "c", "sk": 3}'
    options = ("--if-absent", "--condition", ":v = :v", "--values", '{":v": 1}')
    result = run("item", "put", "people", *options, stdin=lines)
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == (
        "dstore: 2 items are stored in people; 1 did not meet the condition and were left alone.\n"
    )
    _, *puts = calls(server)
    assert [members["ConditionExpression"] for _, members in puts] == [
        "(:v = :v) AND attribute_not_exists(#key_partition)"
    ] * 3
    assert puts[0][1]["ExpressionAttributeNames"] == {"#key_partition": "pk"}
    assert puts[0][1]["ExpressionAttributeValues"] == {":v": {"N": "1"}}


def test_if_absent_alone(server: FakeServer, run: Run) -> None:
    """One item, one condition, without parentheses that DynamoDB calls redundant."""
    answer(server, TABLE, refused("ConditionalCheckFailedException"))
    result = run("item", "put", "people", "--if-absent", stdin='{"pk": "a", "sk": 1}')
    assert "1 were there already" in result.stderr
    assert calls(server)[1][1]["ConditionExpression"] == "attribute_not_exists(#key_partition)"


def test_a_load_that_is_interrupted_says_how_far_it_came(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C takes nothing back of what is stored."""

    def interrupted(self: Loader, _file: object) -> None:
        self.loaded.stored = 25
        raise KeyboardInterrupt

    monkeypatch.setattr(Loader, "load", interrupted)
    result = run("item", "put", "people", stdin='{"pk": "a", "sk": 1}')
    assert result.exit_code != ExitCode.OK
    assert "25 items are stored in people so far; the command can be repeated." in result.stderr
    assert calls(server) == []


def test_load_ends_at_the_first_error(server: FakeServer, run: Run) -> None:
    """The line, AWS's name, a hint, and how much is stored."""
    message = "Type mismatch for key sk expected: N actual: S"
    answer(server, TABLE, {}, refused("ValidationException", message))
    lines = "\n".join(f'{{"pk": "a", "sk": {at}}}' for at in range(60))
    result = run("item", "put", "people", stdin=lines)
    assert result.exit_code == ExitCode.FAILED
    for words in (
        "ValidationException: Type mismatch for key sk",
        "numbers stand without quotes",
        "(In lines 26 to 50.)",
        "25 items are stored in people before; the command can be repeated.",
    ):
        assert words in result.stderr


def test_item_without_its_key_is_found_here(server: FakeServer, run: Run) -> None:
    """In a batch the server could not tell which one it was."""
    answer(server, TABLE)
    result = run("item", "put", "people", stdin='{"pk": "a", "sk": 1}\n{"pk": "b"}')
    assert result.stderr == "dstore: The item at line 2 has no sk, a key of people.\n"
    assert len(server.seen) == 1


def test_nothing_to_put(server: FakeServer, run: Run) -> None:
    """An empty pipe is a mistake further left."""
    result = run("item", "put", "people", stdin="\n")
    assert (result.exit_code, result.stderr) == (2, "dstore: There is no item in stdin.\n")
    assert server.seen == []


def test_table_that_is_not_there(server: FakeServer, run: Run) -> None:
    """AWS's name, a hint, and the status of what is not found."""
    answer(server, refused("ResourceNotFoundException", "Requested resource not found"))
    result = run("item", "get", "people", "--key", "pk=a")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stderr == (
        "dstore: ResourceNotFoundException: Requested resource not found (Here: dstore table "
        "list.)\n"
    )


def test_refused_key_says_where_it_was_found(server: FakeServer, run: Run) -> None:
    """It may have been meant for AWS; the secret is not shown."""
    answer(server, refused("UnrecognizedClientException", "Invalid."))
    result = run("item", "get", "people", "--key", JSON_KEY)
    assert "(The access key is from AWS_ACCESS_KEY_ID.)" in result.stderr
    assert SECRET not in result.output


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, body=b"<html>"),
        Reply(status=400, body=b'{"detail": "x"}'),
        Reply(status=400, body=b"[]"),
        Reply(body=b"<html>"),
        Reply(body=b"[]"),
        Reply(body=b'{"Item": []}'),
    ],
)
def test_stranger_on_the_port(server: FakeServer, run: Run, reply: Reply) -> None:
    """A sentence, whatever it answers."""
    answer(server, reply)
    result = run("item", "get", "people", "--key", JSON_KEY)
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.startswith("dstore: ")


def test_server_that_breaks_off_a_write(server: FakeServer, run: Run) -> None:
    """Nobody knows whether it was done, and the status says so."""
    answer(server, Reply(is_cut=True))
    result = run("item", "put", "people", stdin='{"pk": "a"}')
    assert result.exit_code == ExitCode.TIMEOUT
    assert "The outcome is unknown" in result.stderr


def test_message_is_harmless_to_a_terminal(server: FakeServer, run: Run) -> None:
    """It may quote an item."""
    answer(server, refused("ValidationException", "a\x1b[2Jb" + "x" * 2_000))
    result = run("item", "get", "people", "--key", JSON_KEY)
    assert "a\\x1b[2Jb" in result.stderr
    assert len(result.stderr) < 1_200


def test_names_that_collide_are_refused(server: FakeServer, run: Run) -> None:
    """Which of the two was meant nobody knows."""
    paths = ("--project", "a", "--names", '{"#path0": "b"}')
    result = run("item", "get", "people", "--key", JSON_KEY, *paths)
    assert result.exit_code == ExitCode.USAGE
    assert "#path0 is taken" in result.stderr


@pytest.mark.parametrize("names", ["[]", '{"#a": 1}', "x"])
def test_names_that_are_none(server: FakeServer, run: Run, names: str) -> None:
    """They are strings, whatever the format of values."""
    result = run("item", "get", "people", "--key", JSON_KEY, "--names", names)
    assert result.exit_code == ExitCode.USAGE
    assert "--names" in result.stderr
