"""A fake server that speaks as DynamoDB does, and the access key that its users hold."""

import json
from typing import Any

import pytest

from tests.unit.cli.fake_server import FakeServer, Reply, Seen

KEY_ID = "DSAKCANARYCANARY2222"
SECRET = "canary+secret/canary+secret/canary+secret"

TABLE = {
    "Table": {
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "of_an_index", "AttributeType": "S"},
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "by-it",
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "of_an_index", "KeyType": "RANGE"},
                ],
            }
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "of-many",
                "KeySchema": [
                    {"AttributeName": "sk", "KeyType": "HASH"},
                    {"AttributeName": "of_an_index", "KeyType": "HASH"},
                ],
            }
        ],
        "ItemCount": 7,
    }
}


def hold_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an access key where AWS's tools look for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def answer(server: FakeServer, *documents: Any) -> None:
    """Answer the calls in turn; the last answer stays."""
    for document in documents:
        if isinstance(document, Reply):
            server.on("POST", "/", reply=document)
        else:
            server.on("POST", "/", document)


def refused(name: str, message: str | None = "No.", *, status: int = 400) -> Reply:
    """Make an error as AWS renders it."""
    body: dict[str, str] = {"__type": f"com.amazonaws.dynamodb.v20120810#{name}"}
    if message is not None:
        body["message"] = message
    headers = {"x-amzn-RequestId": "REQUEST7"}
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers)


def called(seen: Seen) -> tuple[str, Any]:
    """Read a call: the operation and its members."""
    prefix, _, operation = seen.headers["x-amz-target"].partition(".")
    assert prefix == "DynamoDB_20120810"
    return operation, json.loads(seen.body)


def calls(server: FakeServer) -> list[tuple[str, Any]]:
    """Read all calls."""
    return [called(seen) for seen in server.seen]
