"""No request brings the DynamoDB API to answer with an error of its own."""

from __future__ import annotations

import os
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

from dstore.api.dynamodb.actions import ACTIONS
from tests.support.dynamodb import DynamoDB, Endpoint, check, endpoint_of
from tests.support.dynamodb_cases import definition
from tests.support.dynamodb_fuzz import Sender, fuzzed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

# 20 operations at 3 ms a request: ~25 s.
_REQUESTS: Final = int(os.environ.get("DSTORE_FUZZ_REQUESTS", "400"))
_SEED: Final = os.environ.get("DSTORE_FUZZ_SEED", "")
_TABLE: Final = "fuzzed-table"
# CreateTable finds the table there, DeleteTable none; UpdateTable is asked for two things at once.
_ALWAYS_REFUSED: Final = {"CreateTable", "DeleteTable", "UpdateTable"}
_numbers = count(1)


@pytest.fixture(scope="module")
def fuzzed_endpoint(server: Server) -> Endpoint:
    """Make a tenant of its own, with the table that the requests name."""
    endpoint = endpoint_of(server, f"fuzz-{next(_numbers)}")
    with closing(DynamoDB(endpoint)) as dynamodb:
        dynamodb.do("CreateTable", definition(_TABLE, {"p": "S"}))
    return endpoint


@pytest.fixture(scope="module")
def sender(fuzzed_endpoint: Endpoint) -> Iterator[Sender]:
    """Give a connection."""
    with closing(Sender(fuzzed_endpoint)) as made:
        yield made


@pytest.mark.parametrize("operation", sorted(ACTIONS))
def test_any_request_is_done_or_refused(sender: Sender, operation: str) -> None:
    """Mutations of right requests are answered with 200 or 400, as the model shapes answers.

    DSTORE_FUZZ_REQUESTS and DSTORE_FUZZ_SEED walk further and elsewhere.
    """
    statuses: list[int] = []
    for body in fuzzed(operation, table=_TABLE, count=_REQUESTS, seed=_SEED):
        answer = sender.send(operation, body)
        statuses.append(answer.status)
        try:
            check(operation, answer)
        except AssertionError as error:
            error.add_note(f"{operation}: {body[:3_000].decode()}")
            raise
    assert 400 in statuses
    if operation not in _ALWAYS_REFUSED:
        assert statuses[0] == 200, "the base is right, so that mutations come far"
