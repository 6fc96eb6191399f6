"""Requests that are nearly right: for each operation, what botocore's model allows, and mutations.

    for name, body in fuzzed("PutItem", table="t", count=300):
        answer = sender.send("PutItem", body)        # must be 200 or 400, never 500

The bases of an operation are requests that mean something (`BASES`), so that mutations get far, and
one that the model generates with every member that it knows, so that none is forgotten. A mutation
drops a member, puts a value of another type or size in its place, or swaps two neighbours, at any
depth. All is chosen from a seed, the operation's name: a failing body comes back in the next run.
"""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.dynamodb import Answer, Endpoint, model
from tests.support.http_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLE: Final = "<TABLE>"
"""Stands for the name of the table in BASES."""

_VALUES: Final[Mapping[str, Any]] = {
    ":s": {"S": "1"},
    ":n": {"N": "1"},
    ":l": {"L": [{"M": {"a": {"NS": ["1", "2"]}}}]},
    ":b": {"B": "YQ=="},
}
_KEY: Final[Mapping[str, Any]] = {"p": {"S": "1"}}
_ITEM: Final[Mapping[str, Any]] = {
    **_KEY,
    "n": {"N": "-1.5e3"},
    "s": {"SS": ["a", "b"]},
    "l": {"L": [{"BOOL": True}, {"M": {"x": {"BS": ["YQ==", ""]}, "y": {"NULL": True}}}]},
}
_WRITING: Final[Mapping[str, Any]] = {
    "TableName": TABLE,
    "ConditionExpression": "attribute_not_exists(#x) OR n < :n OR contains(l, :l) OR a[1].b = :s",
    "ExpressionAttributeNames": {"#x": "x"},
    "ExpressionAttributeValues": {name: _VALUES[name] for name in (":n", ":l", ":s")},
    "ReturnValues": "ALL_OLD",
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    "ReturnConsumedCapacity": "TOTAL",
    "ReturnItemCollectionMetrics": "SIZE",
}
_INDEX: Final[Mapping[str, Any]] = {
    "IndexName": "by-n",
    "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["s"]},
}
_PAGING: Final[Mapping[str, Any]] = {
    "TableName": TABLE,
    "FilterExpression": "attribute_exists(l) AND NOT n IN (:n, :s) OR size(s) > :n",
    "ProjectionExpression": "p, #x.y[2], l",
    "ExpressionAttributeNames": {"#x": "x"},
    "ExpressionAttributeValues": {name: _VALUES[name] for name in (":n", ":s")},
    "Limit": 2,
    "ConsistentRead": True,
    "ExclusiveStartKey": _KEY,
    "ReturnConsumedCapacity": "INDEXES",
    "Select": "SPECIFIC_ATTRIBUTES",
}
_ARN: Final = f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}"

BASES: Final[Mapping[str, Mapping[str, Any]]] = {
    "PutItem": {**_WRITING, "Item": _ITEM},
    "DeleteItem": {**_WRITING, "Key": _KEY},
    "UpdateItem": {
        **_WRITING,
        "Key": _KEY,
        "UpdateExpression": "SET k = list_append(:l, :l), n = if_not_exists(n, :n) + :n REMOVE #x",
    },
    "GetItem": {
        "TableName": TABLE,
        "Key": _KEY,
        "ConsistentRead": True,
        "ProjectionExpression": "#x.a, l[0], n",
        "ExpressionAttributeNames": {"#x": "s"},
        "ReturnConsumedCapacity": "INDEXES",
    },
    "Query": {
        **_PAGING,
        "KeyConditionExpression": "p = :s",
        "ScanIndexForward": False,
    },
    "Scan": {**_PAGING, "Segment": 0, "TotalSegments": 1},
    "BatchGetItem": {
        "RequestItems": {
            TABLE: {
                "Keys": [_KEY, {"p": {"S": "2"}}],
                "ConsistentRead": True,
                "ProjectionExpression": "p, #x",
                "ExpressionAttributeNames": {"#x": "n"},
            }
        },
        "ReturnConsumedCapacity": "TOTAL",
    },
    "BatchWriteItem": {
        "RequestItems": {
            TABLE: [
                {"PutRequest": {"Item": _ITEM}},
                {"DeleteRequest": {"Key": {"p": {"S": "2"}}}},
            ]
        },
        "ReturnConsumedCapacity": "INDEXES",
        "ReturnItemCollectionMetrics": "SIZE",
    },
    # The table is there already: what is right up to its end makes no further one.
    "CreateTable": {
        "TableName": TABLE,
        "AttributeDefinitions": [
            {"AttributeName": "p", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [_INDEX],
        "Tags": [{"Key": "a", "Value": "b"}],
        "StreamSpecification": {"StreamEnabled": False},
        "SSESpecification": {"Enabled": True},
        "DeletionProtectionEnabled": True,
        "TableClass": "STANDARD",
    },
    "UpdateTable": {
        "TableName": TABLE,
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        "AttributeDefinitions": [{"AttributeName": "n", "AttributeType": "N"}],
        "GlobalSecondaryIndexUpdates": [
            {"Create": _INDEX},
            {"Delete": {"IndexName": "by-x"}},
        ],
    },
    "DeleteTable": {"TableName": TABLE},
    "DescribeTable": {"TableName": TABLE},
    "ListTables": {"Limit": 1, "ExclusiveStartTableName": TABLE},
    "TagResource": {"ResourceArn": _ARN, "Tags": [{"Key": "a", "Value": "b"}]},
    "UntagResource": {"ResourceArn": _ARN, "TagKeys": ["a", "b"]},
    "ListTagsOfResource": {"ResourceArn": _ARN},
}


def _nested(levels: int) -> Any:
    value: Any = {"S": "leaf"}
    for level in range(levels):
        value = {"L": [value]} if level % 2 else {"M": {"a": value}}
    return value


_MEANT: Final = 0.7  # of the mutations are of a base that means something
_INSTEAD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 1.5, 1e300, 10**40, "", "a", "#x", ":n", "true", "é\U0001f600"),
    *([], {}, [None], [[]], [{}], {"": ""}, {"a": None}, {"S": "1"}, {"S": None}, {"N": "1"}),
    *({"N": "x"}, {"N": "1e999999999"}, {"S": "1", "N": "1"}, {"B": "a"}, {"SS": []}, {"NS": [1]}),
    *({"X": "1"}, {"M": {"": {"S": "a"}}}, {"L": [{}]}, {"BOOL": "x"}, {"NULL": False}, "a" * 300),
    *("a" * 5_000, "a = b AND " * 400 + "a = b", "(" * 4_000, "a." * 2_000 + "a", "a[0]" * 999),
    *(_nested(31), _nested(40), _nested(180), ["a"] * 300, {str(each): {} for each in range(300)}),
    *("\x00", "a!b", "arn:aws:dynamodb:::", "x" * 70_000, {"S": "x" * 450_000}),
)


def fuzzed(operation: str, *, table: str, count: int, seed: str = "") -> Iterator[bytes]:
    """Make the bases of an operation and mutations of them, `count` in all."""
    chance = random.Random(operation + seed)
    bases = [BASES[operation]] if operation in BASES else []
    bases.append(generated(operation))
    if operation == "DeleteTable":
        table = "no-such-table"
    named = [json.loads(json.dumps(base).replace(TABLE, table)) for base in bases]
    yield from (_encoded(base) for base in named)
    for _ in range(count - len(named)):
        body = deepcopy(named[0] if chance.random() < _MEANT else chance.choice(named))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            body = mutated(body, chance)
        yield _encoded(body)


def generated(operation: str) -> Any:
    """Make a request with every member that botocore's model knows."""
    return _value_of(model().operation_model(operation).input_shape, 0)


def mutated(value: Any, chance: random.Random) -> Any:
    """Change one place of a JSON value, which is changed in place too if it can be."""
    places = list(_places(value)) if isinstance(value, dict | list) else []
    if not places:
        return deepcopy(chance.choice(_INSTEAD))
    container, key = chance.choice(places)
    others = list(container) if isinstance(container, dict) else list(range(len(container)))
    match chance.randrange(6):
        case 0:
            del container[key]
        case 1:
            other = chance.choice(others)
            container[key], container[other] = container[other], container[key]
        case 2:  # from anywhere in the request: right somewhere else
            elsewhere, name = chance.choice(places)
            container[key] = deepcopy(elsewhere[name])
        case 3 if isinstance(container, dict):
            container[chance.choice(("", "a", "#", ":v", "S", "N", "x" * 300))] = container[key]
        case _:
            container[key] = deepcopy(chance.choice(_INSTEAD))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """List every place within a value: the container and the key or index."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _value_of(shape: Any, depth: int) -> Any:
    """Generate a value of one of botocore's shapes."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure" if shape.name == "AttributeValue":
            return {"S": "1"}
        case "structure":
            return {name: _value_of(one, depth + 1) for name, one in shape.members.items()}
        case "list":
            return [_value_of(shape.member, depth + 1)]
        case "map":
            return {TABLE if depth == 1 else "p": _value_of(shape.value, depth + 1)}
        case "string":
            return shape.enum[0] if shape.enum else TABLE if "Table" in shape.name else "text"
        case "boolean":
            return True
        case "blob":
            return "YQ=="
        case _:
            return 1


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


class Sender:
    """Sends bodies signed by botocore over one connection; one thread's."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect at the first request."""
        self._client = Client(endpoint.url, token=None, timeout_s=30.0)
        self._url = endpoint.url
        credentials = Credentials(endpoint.key_id, endpoint.secret)
        self._signer = SigV4Auth(credentials, "dynamodb", endpoint.region)

    def send(self, operation: str, body: bytes) -> Answer:
        """Send a request. Returns: its answer, not yet checked."""
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        }
        request = AWSRequest(method="POST", url=self._url + "/", data=body, headers=headers)
        self._signer.add_auth(request)
        answer = self._client.request("POST", "/", body, headers=dict(request.headers.items()))
        decoded = json.loads(answer.body) if answer.body.startswith(b"{") else {}
        return Answer(status=answer.status, headers=answer.headers, raw=answer.body, body=decoded)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
