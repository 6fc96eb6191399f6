"""`Prefer: respond-async`: 202, then how it went under /v1/tenant/{tenant}/request/{id}."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient
    from tests.support.http_client import Answer

ASYNC = {"Prefer": "respond-async"}
DONE_S = 10.0
_numbers = count(1)


@pytest.fixture
def path(table: str) -> str:
    """Name an entry that is not there yet."""
    return entry(table, f"later-{next(_numbers)}")


def outcome(client: CheckedClient, accepted: Answer) -> dict[str, Any]:
    """Ask until the write is done."""
    assert accepted.status == 202
    location = accepted.headers["location"]
    assert location.endswith(f"/request/{accepted.json()['requestId']}")
    deadline = time.monotonic() + DONE_S
    while time.monotonic() < deadline:
        answer = client.get(location)
        assert answer.status == 200
        found: dict[str, Any] = answer.json()
        assert found["requestId"] == accepted.json()["requestId"]
        if found["state"] == "done":
            return found
        time.sleep(0.005)
    raise AssertionError(accepted)


def test_a_life(client: CheckedClient, path: str) -> None:
    """Each verb is accepted, done, and told with the status that it would have had at once."""
    created = outcome(client, client.put(path, {"n": 1}, headers=ASYNC))
    assert created["status"] == 201
    assert client.get(path).headers["etag"] == created["etag"]
    assert outcome(client, client.post(path, {"n": 2}, headers=ASYNC))["status"] == 200
    merged = outcome(client, client.merge(path, '{"m":1.50}', headers=ASYNC))
    assert merged["status"] == 200
    assert client.get(path).body == b'{"m":1.50,"n":2}'
    assert outcome(client, client.delete(path, headers=ASYNC))["status"] == 204
    assert client.get(path).status == 404


def test_the_answer_names_the_request_and_the_entry(client: CheckedClient, path: str) -> None:
    """202 has a Location, says that the preference was applied, and carries the RID."""
    accepted = client.put(path, {}, headers=ASYNC)
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.json()["state"] == "queued"
    assert accepted.json()["rid"] == accepted.headers["dstore-rid"]
    assert outcome(client, accepted)["status"] == 201


def test_refusals_show_when_it_runs(client: CheckedClient, path: str) -> None:
    """404, 409 and 412 depend on what is there then; the outcome has status and sentence."""
    for accepted, status in (
        (client.post(path, {}, headers=ASYNC), 404),
        (client.merge(path, {}, headers=ASYNC), 404),
        (client.delete(path, headers=ASYNC), 404),
        (client.put(path, {"n": 1}, headers=ASYNC), 201),
        (client.put(path, {"n": 2}, headers=ASYNC), 409),
        (client.put(path, {"n": 2}, headers=ASYNC | {"If-None-Match": "*"}), 412),
        (client.post(path, {"n": 3}, headers=ASYNC | {"If-Match": '"x"'}), 412),
        (client.delete(path, headers=ASYNC | {"If-Match": 'W/"x"'}), 412),
    ):
        found = outcome(client, accepted)
        assert found["status"] == status
        assert status == 201 or found["detail"].endswith(".")
    assert client.get(path).json() == {"n": 1}


def test_a_merge_that_grows_too_large_shows_when_it_runs(client: CheckedClient, path: str) -> None:
    """The size of a merged entry is known only then: 413."""
    client.put(path, {"a": "x" * 300_000})
    found = outcome(client, client.merge(path, {"b": "x" * 300_000}, headers=ASYNC))
    assert found["status"] == 413
    assert client.get(path).json().keys() == {"a"}


def test_bad_input_is_refused_at_once(client: CheckedClient, tenant: str, path: str) -> None:
    """What can never work is not accepted: the client hears it while it is there."""
    table = path.rpartition("/id/")[0]
    for answer in (
        client.put(path, b"{", headers=ASYNC),
        client.put(path, b'{"a":1,"a":2}', headers=ASYNC),
        client.put(path, [], headers=ASYNC),
        client.put(path, {"_id": 1}, headers=ASYNC),
        client.put(path, {"": 1}, headers=ASYNC),
        client.put(entry(table, "x" * 2049), {}, headers=ASYNC),
        client.put(path, {}, headers=ASYNC | {"If-Match": "x"}),
        client.put(path, {}, headers=ASYNC | {"Idempotency-Key": "x" * 129}),
        client.delete(path, body={}, headers=ASYNC),
        client.put(f"{path}?x=1", {}, headers=ASYNC),
    ):
        assert answer.status == 400
    assert client.put(path, {}, content_type="text/plain", headers=ASYNC).status == 415
    assert client.put(path, {"a": "x" * 409_600}, headers=ASYNC).status == 413
    assert client.put(f"{tenant}/table/nothing/id/x", {}, headers=ASYNC).status == 404
    assert client.get(path).status == 404


def test_writes_are_done_in_order(client: CheckedClient, path: str) -> None:
    """What is accepted first is done first: the last merge of many is the one that stays."""
    accepted = [client.put(path, {"n": 0}, headers=ASYNC)]
    accepted += [client.merge(path, {"n": n, f"a{n}": 1}, headers=ASYNC) for n in range(1, 30)]
    assert {outcome(client, one)["status"] for one in accepted} == {200, 201}
    stored = client.get(path).json()
    assert stored["n"] == 29
    assert len(stored) == 30


def test_an_idempotency_key_holds_for_accepted_writes(client: CheckedClient, path: str) -> None:
    """A retried 202 is done once, and tells twice how it went; so does a retry without Prefer."""
    headers = ASYNC | {"Idempotency-Key": f"later-{path[-6:]}"}
    first = outcome(client, client.put(path, {"n": 1}, headers=headers))
    again = outcome(client, client.put(path, {"n": 1}, headers=headers))
    assert (first["status"], again["status"]) == (201, 201)
    assert first["etag"] == again["etag"]
    at_once = client.put(path, {"n": 1}, headers={"Idempotency-Key": headers["Idempotency-Key"]})
    assert (at_once.status, at_once.headers["etag"]) == (201, first["etag"])
    assert outcome(client, client.put(path, {"n": 2}, headers=headers))["status"] == 409


@pytest.mark.parametrize(
    ("prefer", "status"),
    [("respond-async", 202), ("Respond-Async", 202), ("wait=10, respond-async", 202),
     ("respond-async;x=y", 202), ("respond-async; wait=1, handling=lenient", 202),
     (", respond-async", 202), ("wait=10", 201), ("return=minimal", 201), ("", 201),
     ("respond-asynchronous", 201), ("x-respond-async", 201)],
)  # fmt: skip
def test_prefer_is_read_as_rfc_7240_has_it(
    client: CheckedClient, path: str, prefer: str, status: int
) -> None:
    """A list, without regard to case; what is not known is ignored."""
    answer = client.put(path, {}, headers={"Prefer": prefer})
    assert answer.status == status
    if status == 202:
        outcome(client, answer)


def test_reads_do_not_wait(client: CheckedClient, table: str, path: str) -> None:
    """Prefer on anything but an entry's write has no effect."""
    client.put(path, {"n": 1})
    assert client.get(path, headers=ASYNC).status == 200
    assert client.get(f"{table}/id?limit=1", headers=ASYNC).status == 200
    assert client.put(table, {"idType": "String"}, headers=ASYNC).status == 200


@pytest.mark.parametrize("request_id", ["x", "0" * 36, "%00", "..", "é".encode().hex(), "a" * 4000])
def test_unknown_requests(client: CheckedClient, tenant: str, request_id: str) -> None:
    """404, whatever the id looks like."""
    assert client.get(f"{tenant}/request/{request_id}").status == 404
    assert client.get(f"/v1/tenant/nobody/request/{request_id}").status == 404


def test_a_request_is_its_tenants(client: CheckedClient, path: str, fresh_tenant: str) -> None:
    """Under another tenant's name the same id is not known."""
    accepted = client.put(path, {}, headers=ASYNC)
    outcome(client, accepted)
    request_id = accepted.json()["requestId"]
    assert client.get(f"/v1/tenant/{fresh_tenant}/request/{request_id}").status == 404


def test_a_deleted_table_takes_its_accepted_writes_along(
    client: CheckedClient, tenant: str
) -> None:
    """A write never lands in a later table of the same name."""
    table = f"{tenant}/table/goes"
    client.put(table, {"idType": "String"})
    accepted = [client.put(entry(table, str(n)), {}, headers=ASYNC) for n in range(20)]
    client.delete(table)
    client.put(table, {"idType": "String"})
    statuses = {outcome(client, one)["status"] for one in accepted}
    assert statuses <= {201, 404}
    assert client.get(f"{table}/id").json()["entries"] == []


def test_a_deleted_tenants_requests_are_forgotten(client: CheckedClient) -> None:
    """A new tenant of the old name does not hear of the old one's writes."""
    tenant = "/v1/tenant/short-lived"
    client.put(tenant)
    client.put(f"{tenant}/table/abc", {"idType": "String"})
    accepted = client.put(entry(f"{tenant}/table/abc", "x"), {}, headers=ASYNC)
    outcome(client, accepted)
    client.delete(f"{tenant}?force=true")
    client.put(tenant)
    assert client.get(accepted.headers["location"]).status == 404
