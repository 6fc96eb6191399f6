"""An SDK that hears of a failure sends its request again: what was done is not done twice.

The failure is made between the two: the request is done, and the SDK is told that nobody knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.dynamodb import Endpoint

TABLE = "retried"


class LosingClient:
    """A client of the SDK whose next answer is lost if `losses` says so."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.losses = 0
        self.names: list[str] = []
        self._session = URLLib3Session()
        self.client: Any = boto3.client(
            "dynamodb",
            endpoint_url=endpoint.url,
            region_name="eu-west-1",
            aws_access_key_id=endpoint.key_id,
            aws_secret_access_key=endpoint.secret,
            config=Config(retries={"mode": "standard", "max_attempts": 3}),
        )
        self.client.meta.events.register("before-send.dynamodb", self._sent)

    def _sent(self, request: Any, **_: Any) -> AWSResponse | None:
        self.names.append(str(request.headers["amz-sdk-invocation-id"]))
        if not self.losses:
            return None
        self.losses -= 1
        done = self._session.send(request)
        assert done.status_code == 200, done.text
        raw: Any = Nothing()
        return AWSResponse(request.url, 500, {}, raw)


class Nothing:
    """The body of an answer that says nothing."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        return iter(())


@pytest.fixture
def losing(endpoint: Endpoint) -> Iterator[LosingClient]:
    """Give a client with a table."""
    made = LosingClient(endpoint)
    made.client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    made.names.clear()
    yield made
    made.client.delete_table(TableName=TABLE)


def test_a_counter_counts_once(losing: LosingClient) -> None:
    """Both tries have one name, and the second one's answer is the first one's."""
    losing.losses = 1
    answer = losing.client.update_item(
        TableName=TABLE,
        Key={"id": {"S": "k"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    )
    assert answer["Attributes"] == {"n": {"N": "1"}}
    first, second = losing.names
    assert first == second


def test_a_condition_that_the_first_try_has_ended(losing: LosingClient) -> None:
    """Who makes an item that was not there hears that it was made."""
    losing.losses = 1
    losing.client.put_item(
        TableName=TABLE,
        Item={"id": {"S": "k"}},
        ConditionExpression="attribute_not_exists(id)",
    )
    losing.losses = 1
    gone = losing.client.delete_item(
        TableName=TABLE, Key={"id": {"S": "k"}}, ReturnValues="ALL_OLD"
    )
    assert gone["Attributes"] == {"id": {"S": "k"}}
