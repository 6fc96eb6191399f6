"""Requests against their shapes: types first, then all broken constraints, in AWS's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.errors import AwsError
from dstore.api.dynamodb.members import Member, request, structure, words
from dstore.api.dynamodb.shape_values import in_hash_map_order
from dstore.api.dynamodb.shapes import (
    Blob,
    Boolean,
    Integer,
    ListOf,
    Long,
    MapOf,
    String,
    Structure,
    check,
)

_CAST = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class "
    "java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and "
    "java.lang.Class are in module java.base of loader 'bootstrap')"
)
_JAVA = "com.amazonaws.dynamodb.v20120810."
_MAP_OF = "Unrecognized collection type java.util.Map<java.lang.String, "
_MAP = f"{_MAP_OF}{_JAVA}AttributeValue>"
_NO_STRUCTURE = "Start of structure or map found where not expected"

_PUT = request(
    of.TABLE_NAME,
    of.ITEM,
    of.EXPECTED,
    of.CONDITIONAL_OPERATOR,
    of.RETURN_VALUES,
    of.RETURN_CONSUMED_CAPACITY,
    of.RETURN_ITEM_COLLECTION_METRICS,
    of.CONDITION_EXPRESSION,
    of.EXPRESSION_ATTRIBUTE_NAMES,
    of.EXPRESSION_ATTRIBUTE_VALUES,
    of.RETURN_VALUES_ON_CONDITION_CHECK_FAILURE,
)
_KEY_SCHEMA = Member(
    "KeySchema",
    ListOf(
        structure(
            "KeySchemaElement",
            Member("AttributeName", String(min=1, max=255), required=True),
            Member("KeyType", words("HASH", "RANGE"), required=True),
        ),
        min=1,
        max=2,
    ),
    required=True,
)
_CREATE = request(of.TABLE_NAME.first(), _KEY_SCHEMA)
_BATCH = request(
    Member(
        "RequestItems",
        MapOf(
            ListOf(
                structure(
                    "WriteRequest",
                    Member(
                        "PutRequest",
                        structure("PutRequest", of.ITEM, Member("WorkloadProfileName", String())),
                    ),
                    Member("DeleteRequest", structure("DeleteRequest", of.KEY)),
                ),
                min=1,
                max=25,
            ),
            key=of.REQUEST_ITEMS_KEY,
        ),
        required=True,
    )
)
_GET = request(Member("Keys", ListOf(of.KEY.shape)))
_ALL = request(
    Member("Integer", Integer()),
    Member("Long", Long()),
    Member("Boolean", Boolean()),
    Member("Blob", Blob()),
)
_ITEM = {"p": {"S": "1"}}


def _refusal(shape: Structure, members: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(AwsError) as raised:
        check(shape, members)
    assert raised.value.status == 400
    return raised.value.name, raised.value.text


def _item(value: Any) -> dict[str, Any]:
    return {"Item": {"a": value}}


# Source: dynalite test/helpers.js, assertType, which was run against AWS.
_TYPES: list[tuple[Structure, dict[str, Any], str]] = [
    (_PUT, {"TableName": True}, "TRUE_VALUE cannot be converted to String"),
    (_PUT, {"TableName": False}, "FALSE_VALUE cannot be converted to String"),
    (_PUT, {"TableName": 23}, "NUMBER_VALUE cannot be converted to String"),
    (_PUT, {"TableName": -(2**31)}, "NUMBER_VALUE cannot be converted to String"),
    (_PUT, {"TableName": 34.56}, "DECIMAL_VALUE cannot be converted to String"),
    (_PUT, {"TableName": []}, "Unrecognized collection type class java.lang.String"),
    (_PUT, {"TableName": {}}, _NO_STRUCTURE),
    (_ALL, {"Integer": "23"}, "STRING_VALUE cannot be converted to Integer"),
    (_ALL, {"Integer": True}, "TRUE_VALUE cannot be converted to Integer"),
    (_ALL, {"Integer": []}, "Unrecognized collection type class java.lang.Integer"),
    (_ALL, {"Integer": {}}, _NO_STRUCTURE),
    (_ALL, {"Long": "23"}, "STRING_VALUE cannot be converted to Long"),
    (_ALL, {"Long": False}, "FALSE_VALUE cannot be converted to Long"),
    (_ALL, {"Long": []}, "Unrecognized collection type class java.lang.Long"),
    (_ALL, {"Boolean": "23"}, "Unexpected token received from parser"),
    (_ALL, {"Boolean": 23}, "NUMBER_VALUE cannot be converted to Boolean"),
    (_ALL, {"Boolean": 34.56}, "DECIMAL_VALUE cannot be converted to Boolean"),
    (_ALL, {"Boolean": []}, "Unrecognized collection type class java.lang.Boolean"),
    (_ALL, {"Boolean": {}}, _NO_STRUCTURE),
    (_ALL, {"Blob": True}, "only base-64-encoded strings are convertible to bytes"),
    (_ALL, {"Blob": 23}, "only base-64-encoded strings are convertible to bytes"),
    (_ALL, {"Blob": []}, "Unrecognized collection type class java.nio.ByteBuffer"),
    (_ALL, {"Blob": {}}, _NO_STRUCTURE),
    (
        _ALL,
        {"Blob": "23456"},
        "Base64 encoded length is expected a multiple of 4 bytes but found: 5",
    ),
    (_ALL, {"Blob": "=+/="}, "Invalid last non-pad Base64 character dectected"),
    (_ALL, {"Blob": "+/+="}, "Invalid last non-pad Base64 character dectected"),
    (_ALL, {"Blob": "===="}, "Invalid last non-pad Base64 character dectected"),
    (_ALL, {"Blob": "YQ=a"}, "Invalid last non-pad Base64 character dectected"),
    (_ALL, {"Blob": "YR=="}, "Invalid last non-pad Base64 character dectected"),
    (_ALL, {"Blob": "YW-_"}, "Invalid last non-pad Base64 character dectected"),
    (_CREATE, {"KeySchema": "23"}, "Unexpected field type"),
    (_CREATE, {"KeySchema": 23}, "Unexpected field type"),
    (_CREATE, {"KeySchema": {}}, _NO_STRUCTURE),
    (_CREATE, {"KeySchema": ["a"]}, "Unexpected value type in payload"),
    (
        _CREATE,
        {"KeySchema": [[]]},
        f"Unrecognized collection type class {_JAVA}KeySchemaElement",
    ),
    (_PUT, {"Item": "23"}, "Unexpected field type"),
    (_PUT, {"Item": []}, _MAP),
    (_PUT, {"Expected": {"a": 1}}, "Unexpected value type in payload"),
    (_PUT, {"Expected": {"a": {"Value": 1}}}, "Unexpected field type"),
    (
        _PUT,
        {"Expected": []},
        f"{_MAP_OF}{_JAVA}ExpectedAttributeValue>",
    ),
    (
        _PUT,
        {"ExpressionAttributeNames": []},
        "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>",
    ),
    (_BATCH, {"RequestItems": {"a": "b"}}, _CAST),
    (_BATCH, {"RequestItems": {"a": {}}}, _NO_STRUCTURE),
    (
        _BATCH,
        {"RequestItems": []},
        f"{_MAP_OF}java.util.List<{_JAVA}WriteRequest>>",
    ),
    (_BATCH, {"RequestItems": {"a": [{"PutRequest": 1}]}}, "Unexpected field type"),
    (
        _BATCH,
        {"RequestItems": {"a": [{"PutRequest": []}]}},
        f"Unrecognized collection type class {_JAVA}PutRequest",
    ),
    (_GET, {"Keys": ["a"]}, _CAST),
    (_GET, {"Keys": [[]]}, _MAP),
    (_PUT, _item("a"), "Unexpected value type in payload"),
    (_PUT, _item([]), f"Unrecognized collection type class {_JAVA}AttributeValue"),
    (_PUT, _item({"S": 1}), "NUMBER_VALUE cannot be converted to String"),
    (_PUT, _item({"N": 1}), "NUMBER_VALUE cannot be converted to String"),
    (_PUT, _item({"B": 1}), "only base-64-encoded strings are convertible to bytes"),
    (_PUT, _item({"BOOL": 1}), "NUMBER_VALUE cannot be converted to Boolean"),
    (_PUT, _item({"NULL": "no-no"}), "Unexpected token received from parser"),
    (_PUT, _item({"SS": "a"}), "Unexpected field type"),
    (_PUT, _item({"SS": {}}), _NO_STRUCTURE),
    (_PUT, _item({"SS": [1]}), "NUMBER_VALUE cannot be converted to String"),
    (_PUT, _item({"NS": [True]}), "TRUE_VALUE cannot be converted to String"),
    (_PUT, _item({"BS": [1]}), "only base-64-encoded strings are convertible to bytes"),
    (_PUT, _item({"L": {}}), _NO_STRUCTURE),
    (_PUT, _item({"L": ["a"]}), "Unexpected value type in payload"),
    (_PUT, _item({"M": "a"}), "Unexpected field type"),
    (_PUT, _item({"M": []}), _MAP),
    (_PUT, _item({"M": {"a": "b"}}), "Unexpected value type in payload"),
    (_PUT, _item({"M": {"a": {"L": [{"S": 1}]}}}), "NUMBER_VALUE cannot be converted to String"),
]


@pytest.mark.parametrize(("shape", "members", "text"), _TYPES)
def test_a_wrong_type_is_named_before_anything_else(
    shape: Structure, members: dict[str, Any], text: str
) -> None:
    """The first value of a wrong JSON type ends a request, whatever else is missing or broken."""
    assert _refusal(shape, members) == ("SerializationException", text)


def _at(value: str, path: str, constraint: str) -> str:
    shown = value if value == "null" else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


_NOT_NULL = "Member must not be null"
_LEAST = "Member must have length greater than or equal to {}"
_MOST = "Member must have length less than or equal to {}"
_NAMES = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
_RETURNS = "Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
_CAPACITY = "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
_METRICS = "Member must satisfy enum value set: [SIZE, NONE]"
_THREE_KEYS = [
    {"AttributeName": "pk", "KeyType": "HASH"},
    {"AttributeName": "sk", "KeyType": "RANGE"},
    {"KeyType": "RANGE", "AttributeName": "extra"},
]
_SOURCE_LONG = "a" * 256
_SHOWN_ITEM = (
    "{pk=AttributeValue(s=bw-0, n=null, b=null, iNT=null, dECIMAL=null, dOUBLE=null, sS=null, "
    "nS=null, bS=null, iNTSET=null, dECIMALSET=null, dOUBLESET=null, m=null, l=null, nULL=null, "
    "bOOL=null)}"
)
_SHOWN_WRITE = (
    f"WriteRequest(putRequest=PutRequest(item={_SHOWN_ITEM}, workloadProfileName=null), "
    "deleteRequest=null)"
)

# Source, unless marked: paritysuite/dynamodb-conformance captures/cross-region-latest.json, June
# 2026, us-east-1 and ap-southeast-2.
_CONSTRAINTS: list[tuple[Structure, dict[str, Any], list[str]]] = [
    (_PUT, {"Item": _ITEM}, [_at("null", "tableName", _NOT_NULL)]),
    (_PUT, {"TableName": "", "Item": {}}, [_at("", "tableName", _LEAST.format(1))]),
    (
        _PUT,
        {"TableName": _SOURCE_LONG, "Item": _ITEM},
        [_at(_SOURCE_LONG, "tableName", _MOST.format(255))],
    ),
    (
        _PUT,
        {"TableName": "bad table!@#", "Item": _ITEM},
        [_at("bad table!@#", "tableName", _NAMES)],
    ),
    (
        _PUT,
        {"TableName": "", "ReturnValues": "INVALID", "Item": {}},
        [_at("INVALID", "returnValues", _RETURNS), _at("", "tableName", _LEAST.format(1))],
    ),
    (
        _PUT,
        {
            "TableName": "table",
            "Item": _ITEM,
            "ReturnConsumedCapacity": "INVALID",
            "ReturnItemCollectionMetrics": "INVALID",
            "ReturnValues": "INVALID",
        },
        [
            _at("INVALID", "returnValues", _RETURNS),
            _at("INVALID", "returnConsumedCapacity", _CAPACITY),
            _at("INVALID", "returnItemCollectionMetrics", _METRICS),
        ],
    ),
    (
        _CREATE,
        {"TableName": "ab", "KeySchema": _THREE_KEYS[:1]},
        [_at("ab", "tableName", _LEAST.format(3))],
    ),
    (
        _CREATE,
        {"TableName": "abc", "KeySchema": _THREE_KEYS},
        [
            _at(
                "[KeySchemaElement(attributeName=pk, keyType=HASH), "
                "KeySchemaElement(attributeName=sk, keyType=RANGE), "
                "KeySchemaElement(attributeName=extra, keyType=RANGE)]",
                "keySchema",
                _MOST.format(2),
            )
        ],
    ),
    (  # the same suite, tests/tier3/error-messages/createTable
        _CREATE,
        {"TableName": "abc", "KeySchema": [{"AttributeName": "pk", "KeyType": "INVALID"}]},
        [
            _at(
                "INVALID",
                "keySchema.1.member.keyType",
                "Member must satisfy enum value set: [HASH, RANGE]",
            )
        ],
    ),
    (  # dynalite test/createTable.js
        _CREATE,
        {"TableName": "abc", "KeySchema": [{}]},
        [
            _at("null", "keySchema.1.member.attributeName", _NOT_NULL),
            _at("null", "keySchema.1.member.keyType", _NOT_NULL),
        ],
    ),
    (
        _BATCH,
        {
            "RequestItems": {
                "tab": [{"PutRequest": {"Item": {"pk": {"S": "bw-0"}}}}],
                "none": [],
            }
        },
        [
            _at(
                f"{{tab=[{_SHOWN_WRITE}], none=[]}}",
                "requestItems",
                f"Map value must satisfy constraint: [{_MOST.format(25)}, {_LEAST.format(1)}]",
            )
        ],
    ),
    (  # dynalite test/batchWriteItem.js
        _BATCH,
        {"RequestItems": {"abc": [{"DeleteRequest": {}}, {"PutRequest": {}}]}},
        [
            _at("null", "requestItems.abc.member.1.member.deleteRequest.key", _NOT_NULL),
            _at("null", "requestItems.abc.member.2.member.putRequest.item", _NOT_NULL),
        ],
    ),
]


@pytest.mark.parametrize(("shape", "members", "texts"), _CONSTRAINTS)
def test_broken_constraints_are_told_together(
    shape: Structure, members: dict[str, Any], texts: list[str]
) -> None:
    """One ValidationException counts and lists them, in AWS's order."""
    errors = "error" if len(texts) == 1 else "errors"
    expected = f"{len(texts)} validation {errors} detected: {'; '.join(texts)}"
    assert _refusal(shape, members) == ("ValidationException", expected)


def test_at_most_ten_are_told() -> None:
    """The eleventh broken constraint is left out. Source: dynalite test/createTable.js."""
    members = {"TableName": "abc", "KeySchema": [{"AttributeName": "a", "KeyType": "x"}] * 20}
    _, text = _refusal(_CREATE, members)
    assert text is not None
    assert text.startswith("10 validation errors detected: Value '[KeySchemaElement(")
    assert text.count("failed to satisfy constraint") == 10


def test_what_is_shown_of_a_value_is_bounded() -> None:
    """An error never repeats megabytes of a request."""
    members = {"TableName": "abc", "Item": {}, "ReturnValues": "x" * 1_000_000}
    _, text = _refusal(_PUT, members)
    assert text is not None
    assert len(text) < 5_000


def test_a_missing_table_is_told_first_where_aws_does_so() -> None:
    """CreateTable and its like have words of their own for it, and say nothing else.

    Source: paritysuite/dynamodb-conformance, tests/tier3/error-messages/createTable.
    """
    text = "The parameter 'TableName' is required but was not present in the request"
    assert _refusal(_CREATE, {"KeySchema": []}) == ("ValidationException", text)
    assert _refusal(_CREATE, {"TableName": None}) == ("ValidationException", text)


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ({"Nobody": 1, "Boolean": True}, {"Boolean": True}),
        ({"Boolean": None, "Long": None}, {}),
        ({"Boolean": "TRUE"}, {"Boolean": True}),
        ({"Boolean": "no"}, {"Boolean": False}),
        ({"Boolean": "1"}, {"Boolean": True}),
        ({"Integer": 1.9}, {"Integer": 1}),
        ({"Integer": -1.1}, {"Integer": -2}),
        ({"Integer": 10**30}, {"Integer": 2**31 - 1}),
        ({"Long": 1e300}, {"Long": 2**63 - 1}),
    ],
)
def test_what_can_be_read_is_converted(members: dict[str, Any], left: dict[str, Any]) -> None:
    """Unknown members and nulls go, words become booleans, fractions are cut.

    Source: dynalite validations/index.js, checkTypes. (The bound of numbers is dStore's.)
    """
    check(_ALL, members)
    assert members == left


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"S": "a", "X": 1}, {"S": "a"}),
        ({"S": None}, {}),
        ({"S": "a", "N": None}, {"S": "a"}),
        (None, None),
        ({"L": [None]}, {"L": [{}]}),
        ({"NULL": "true"}, {"NULL": True}),
    ],
)
def test_attribute_values_lose_what_is_unknown(value: Any, left: Any) -> None:
    """An unknown type leaves an empty value behind, which `attributes` refuses later."""
    members = {"TableName": "abc", "Item": {"a": value}}
    if left is None:
        name, text = _refusal(_PUT, members)
        assert name == "ValidationException"
        assert text is not None
        assert text.endswith("Map value must satisfy constraint: [Member must not be null]")
    else:
        check(_PUT, members)
        assert members == {"TableName": "abc", "Item": {"a": left}}


@pytest.mark.parametrize("name", ["abc", "a" * 255, "a.b-c_D9", "arn:aws:x", "arn:" + "x" * 1020])
def test_a_table_is_named_or_given_by_its_arn(name: str) -> None:
    """Both are taken wherever a table is named. Source: botocore's model, shape TableArn."""
    members = {"TableName": name, "Item": _ITEM}
    check(_PUT, members)
    assert members == {"TableName": name, "Item": _ITEM}


def test_a_long_arn_is_refused() -> None:
    """An ARN has at most 1,024 characters. Source: botocore's model, shape TableArn."""
    _, text = _refusal(_PUT, {"TableName": "arn:" + "x" * 1_021, "Item": _ITEM})
    assert text is not None
    assert text.endswith("at 'tableName' failed to satisfy constraint: " + _MOST.format(1_024))


def test_nothing_is_too_deep_for_the_check() -> None:
    """Hundreds of levels are read or refused, and never an unexpected error."""
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(450):
        value = {"L": [value]}
    members = {"TableName": "abc", "Item": {"a": value}}
    try:
        check(_PUT, members)
    except AwsError as error:
        assert error.name == "SerializationException"  # noqa: PT017 - either is right


def test_the_quick_look_agrees_with_the_close_one() -> None:
    """What passes quickly is what the phases would have left as it is."""
    right = {
        "TableName": "abc",
        "Item": {"a": {"L": [{"B": "YQ=="}, {"NS": ["1"]}, {"M": {"b": {"NULL": True}}}]}},
        "Expected": {"a": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "a"}]}},
        "ReturnValues": "ALL_OLD",
    }
    assert _PUT.accepts(right)
    assert _PUT.read(copy.deepcopy(right)) == right
    complaints: list[str] = []
    _PUT.descend(right, "", complaints)
    assert complaints == []


def test_members_come_in_the_order_of_a_java_hash_map() -> None:
    """The order of complaints, as captured for three structures.

    Source: paritysuite/dynamodb-conformance captures/cross-region-latest.json and its notes on
    throughput of October 2026.
    """
    order = in_hash_map_order(("ReadCapacityUnits", "WriteCapacityUnits"))
    assert order == ("WriteCapacityUnits", "ReadCapacityUnits")
    update = request(
        *(Member(name, String()) for name in (*_PUT.members, "Key", "UpdateExpression"))
    )
    names = in_hash_map_order(tuple(update.members))
    assert names.index("ReturnConsumedCapacity") < names.index("ReturnValues")
