"""Idempotency-Key: what makes a request the same one, whatever a retry changes around it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.api.contract import CheckedClient, entry
from tests.api.test_v1_signatures import QueryAuth

if TYPE_CHECKING:
    from tests.support.server import Server

BODY: Final = b'{"n":1}'


@pytest.mark.parametrize("in_query", [False, True])
def test_a_retry_that_is_signed_anew(
    server: Server,
    admin: CheckedClient,
    new_table: str,
    monkeypatch: pytest.MonkeyPatch,
    in_query: bool,
) -> None:
    """A signature in the query differs each second; the retry was taken for another write."""
    tenant = new_table.split("/")[3]
    key = admin.post(f"/admin/v1/tenant/{tenant}/access-key").json()
    url, path = server.env()["DSTORE_URL"], entry(new_table, "a")
    answers = []
    for seconds in (-5, 0):
        signed_at = datetime.now(UTC) + timedelta(seconds=seconds)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=signed_at: at)
        headers = {"Content-Type": "application/json", "Idempotency-Key": "once"}
        sent = b"" if in_query else BODY
        request = AWSRequest("PUT", url + path, headers=headers, data=sent)
        request.context["body"] = BODY
        kind = QueryAuth if in_query else SigV4Auth
        kind(Credentials(key["id"], key["secret"]), "dstore", "us-east-1").add_auth(request)
        target = request.url.removeprefix(url)
        with closing(CheckedClient(url, token=None)) as bare:
            answers.append(bare.put(target, BODY, headers=dict(request.headers.items())))
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].headers["etag"] == answers[1].headers["etag"]
