"""What a tag may be, whoever gives it: TagResource, UntagResource, CreateTable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import definition

if TYPE_CHECKING:
    from tests.support.dynamodb import Answer
    from tests.support.dynamodb_cases import Tables

# Sources: ack-api-quirks services/dynamodb, DDB-TABLE-107, 108, 110, 372, 457 (seen 2026-10);
# Alternator test/alternator/test_tag.py.
TOO_MANY: Final = "Number of Tags exceed the current limit for the provided ResourceArn"
BAD_KEY: Final = "The Tag Key provided is invalid, Key: {}"
BAD_VALUE: Final = "The Tag Value provided is invalid, Value: {}"
REFUSED: Final = (
    "\U0001f511", "100%", "a,b", "it's", 'a"b', "(x)", "[y]", "{z}", "a&b", "a*b", "a;b", "a?b",
    "a|b", "a\\b", "<a>", "~a", "a#b", "a!b", "a$b", "a^b", "a`b",
)  # fmt: skip
TAKEN: Final = (
    "\u043a\u043b\u044e\u0447", "caf\u00e9", "\u8868", "a\u00a0b", "a\u3000b", "a+b-c=d.e_f:g/h@i",
    " ", "7", "A", "a" * 128, "\u00e9" * 128, "system:x", "awsome", "x:aws:",
)  # fmt: skip
WRONG: Final[dict[str, tuple[list[dict[str, Any]], str]]] = {
    **{f"key-{text}": ([{"Key": text, "Value": "v"}], BAD_KEY.format(text)) for text in REFUSED},
    **{
        f"value-{text}": ([{"Key": "k", "Value": text}], BAD_VALUE.format(text)) for text in REFUSED
    },
    "key-empty": ([{"Key": "", "Value": "v"}], BAD_KEY.format("")),
    "no-members": ([{}], BAD_KEY.format("null")),
    "no-key": ([{"Value": "v"}], BAD_KEY.format("null")),
    "no-value": ([{"Key": "k"}], BAD_VALUE.format("null")),
    "aws": (
        [{"Key": "aws:foo", "Value": "v"}],
        "Tag Key cannot be prefixed with aws:, Key: aws:foo",
    ),
    "twice": (
        [{"Key": "dup", "Value": "1"}, {"Key": "dup", "Value": "2"}],
        "Duplicate Tag Keys provided as input: Duplicate Tag Key found dup",
    ),
    "51": ([{"Key": f"k{number}", "Value": "v"} for number in range(51)], TOO_MANY),
    "good-and-bad": (
        [{"Key": "good", "Value": "v"}, {"Key": "aws:zzz", "Value": "v"}],
        "Tag Key cannot be prefixed with aws:, Key: aws:zzz",
    ),
}
LONG: Final[dict[str, tuple[dict[str, str], str]]] = {
    "key-of-129": ({"Key": "k" * 129, "Value": "v"}, BAD_KEY.format("k")),
    "value-of-257": ({"Key": "k", "Value": "v" * 257}, BAD_VALUE.format("v")),
}


@pytest.fixture(scope="module")
def arn(own_tables: Tables) -> str:
    """Make a table that no refused request tags. Returns: its ARN."""
    return arn_of(own_tables, own_tables.new({"p": "S"}))


@pytest.fixture(scope="module")
def tagged(own_tables: Tables) -> str:
    """Make a table for tags that are taken. Returns: its ARN."""
    return arn_of(own_tables, own_tables.new({"p": "S"}))


def arn_of(tables: Tables, name: str) -> str:
    """Read a table's ARN."""
    table = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    return str(table["TableArn"])


def tags_of(tables: Tables, arn: str) -> dict[str, str]:
    """Read a table's tags."""
    listed = tables.dynamodb.do("ListTagsOfResource", {"ResourceArn": arn})
    assert listed.keys() == {"Tags"}
    return {tag["Key"]: tag["Value"] for tag in listed["Tags"]}


def tag(tables: Tables, arn: str, *tags: dict[str, Any]) -> Answer:
    """Tag a table."""
    return tables.dynamodb.call("TagResource", {"ResourceArn": arn, "Tags": list(tags)})


def pairs(*numbers: int, value: str = "v") -> list[dict[str, str]]:
    """Spell numbered tags."""
    return [{"Key": f"k{number:02}", "Value": value} for number in numbers]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_tags(own_tables: Tables, arn: str, name: str) -> None:
    """They are refused with the whole request: not one of its tags is there (DDB-TABLE-107)."""
    tags, text = WRONG[name]
    answer = tag(own_tables, arn, *tags)
    assert (answer.error, answer.message) == ("ValidationException", text)
    assert tags_of(own_tables, arn) == {}


@pytest.mark.parametrize(
    "name", ["key-a,b", "key-empty", "no-key", "no-value", "aws", "twice", "51"]
)
def test_wrong_tags_of_a_new_table(own_tables: Tables, name: str) -> None:
    """CreateTable refuses them with the same words, and makes no table (DDB-TABLE-110)."""
    tags, text = WRONG[name]
    made = own_tables.new_name()
    request = {**definition(made, {"p": "S"}), "Tags": tags}
    answer = own_tables.dynamodb.call("CreateTable", request)
    assert (answer.error, answer.message) == ("ValidationException", text)
    answer = own_tables.dynamodb.call("DescribeTable", {"TableName": made})
    assert answer.error == "ResourceNotFoundException"


@pytest.mark.parametrize("name", LONG)
def test_long_tags(own_tables: Tables, arn: str, name: str) -> None:
    """A key has up to 128 characters, a value up to 256 (DDB-TABLE-107)."""
    given, start = LONG[name]
    answer = tag(own_tables, arn, given)
    assert answer.error == "ValidationException"
    assert (answer.message or "").startswith(start)


@pytest.mark.parametrize("text", TAKEN, ids=lambda text: f"{text[:6]!a}-{len(text)}")
def test_taken_tags(own_tables: Tables, tagged: str, text: str) -> None:
    """Letters of any script, digits, white space and + - = . _ : / @ are taken (DDB-TABLE-372)."""
    answer = tag(own_tables, tagged, {"Key": text, "Value": text})
    assert answer.status == 200, answer.body
    assert tags_of(own_tables, tagged)[text] == text
    request = {"ResourceArn": tagged, "TagKeys": [text]}
    assert own_tables.dynamodb.call("UntagResource", request).raw in {b"", b'""'}
    assert text not in tags_of(own_tables, tagged)


def test_the_bound_holds_for_all_together(own_tables: Tables) -> None:
    """It is what there would be afterwards that may not exceed 50 (DDB-TABLE-108)."""
    arn = arn_of(own_tables, own_tables.new({"p": "S"}))
    assert tag(own_tables, arn, *pairs(*range(50))).status == 200
    for more in ([*pairs(50)], [*pairs(1, value="new"), *pairs(50)], pairs(*range(50, 100))):
        answer = tag(own_tables, arn, *more)
        assert (answer.error, answer.message) == ("ValidationException", TOO_MANY)
    assert set(tags_of(own_tables, arn).values()) == {"v"}
    assert tag(own_tables, arn, *pairs(1, value="new")).status == 200
    assert tag(own_tables, arn, *pairs(*range(50), value="all")).status == 200
    assert tags_of(own_tables, arn) == {f"k{number:02}": "all" for number in range(50)}


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([""], BAD_KEY.format("")),
        (["a,b"], BAD_KEY.format("a,b")),
        ([f"k{number}" for number in range(51)], TOO_MANY),
    ],
    ids=["empty", "comma", "51"],
)
def test_keys_to_take_away(own_tables: Tables, arn: str, keys: list[str], text: str) -> None:
    """What can be no tag's key cannot be taken away either (DDB-TABLE-107, 457)."""
    answer = own_tables.dynamodb.call("UntagResource", {"ResourceArn": arn, "TagKeys": keys})
    assert (answer.error, answer.message) == ("ValidationException", text)


def test_tags_of_a_new_table(own_tables: Tables) -> None:
    """They are there with the table, which does not show them (DDB-TABLE-101)."""
    made = own_tables.new_name()
    request = {**definition(made, {"p": "S"}), "Tags": pairs(*range(50))}
    assert "Tags" not in own_tables.dynamodb.do("CreateTable", request)["TableDescription"]
    own_tables.wait_active(made)
    assert len(tags_of(own_tables, arn_of(own_tables, made))) == 50


def test_a_new_table_has_no_tags_of_the_old(own_tables: Tables) -> None:
    """Tags go with their table (AWS API page, DeleteTable)."""
    made = own_tables.new({"p": "S"}, Tags=pairs(1))
    own_tables.dynamodb.do("DeleteTable", {"TableName": made})
    own_tables.wait_gone(made)
    own_tables.dynamodb.do("CreateTable", definition(made, {"p": "S"}))
    own_tables.wait_active(made)
    assert tags_of(own_tables, arn_of(own_tables, made)) == {}
