"""/v1/tenant/{tenant}/table/{table}/id/{id}: what the four verbs do, and do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.contract import entry
from tests.api.raw import exchange, head

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

OBJECTS: list[dict[str, Any]] = [
    {},
    {"a": None},
    {"a": True, "b": False},
    {"a": "", "b": "\0\x01\x7f", "c": "é\u2028😀\ufffd"},
    {"a": [], "b": {}, "c": [[], {}, [[]]], "d": {"e": {"f": []}}},
    {"a": [1, "1", None, True, {"b": -0.5}]},
    {"é": 1, "😀": 2, " ": 3, "a.b": 4, "a b": 5, "#x": 6, ":x": 7, '"': 8, "\\": 9, "\0": 10},
    {"RID_ID": 1, "C_COL": 2, "HASH": 3, "id": "x", "rid": "y", "version": 0},
    {"__proto__": {"a": 1}, "constructor": 1, "S": {"S": "x"}, "N": {"N": "1"}, "B": {"B": "AA=="}},
    {f"attribute-{number}": number for number in range(500)},
    {"long": "x" * 300_000},
    {"n" * 60_000: 1},
]


@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_what_is_stored_is_answered(client: CheckedClient, table: str, number: int) -> None:
    """GET answers exactly the stored object: no member more, none less, every type kept."""
    path, stored = entry(table, f"object-{number}"), OBJECTS[number]
    assert client.put(path, stored).status == 201
    assert client.get(path).json() == stored
    other = {"before": [number]}
    assert client.post(path, other).status == 200
    assert client.get(path).json() == other
    assert client.post(path, stored).status == 200
    assert client.get(path).json() == stored


def test_a_life(client: CheckedClient, table: str) -> None:
    """Create, read, replace, delete, and each of them again when it must not work."""
    path = entry(table, "a life")
    assert client.get(path).status == 404
    assert client.post(path, {"n": 0}).status == 404
    assert client.merge(path, {"n": 0}).status == 404
    assert client.delete(path).status == 404
    assert client.put(path, {"n": 1}).status == 201
    assert client.put(path, {"n": 2}).status == 409
    assert client.get(path).json() == {"n": 1}
    assert client.post(path, {"n": 3}).status == 200
    assert client.get(path).json() == {"n": 3}
    assert client.delete(path).status == 204
    assert client.delete(path).status == client.get(path).status == 404
    assert client.put(path, {"n": 4}).status == 201
    assert client.get(path).json() == {"n": 4}


def test_writes_answer_names_not_data(client: CheckedClient, table: str) -> None:
    """A write answers rid and id only: the data that the client has just sent is not echoed."""
    path = entry(table, "echo")
    created = client.put(path, {"secret": "do not echo"})
    replaced = client.post(path, {"secret": "do not echo either"})
    for answer in (created, replaced):
        assert answer.json().keys() == {"rid", "id"}
        assert answer.json()["id"] == "echo"
        assert answer.headers["etag"]


def test_created_says_where(client: CheckedClient, table: str) -> None:
    """201 has a Location that leads to the entry."""
    created = client.put(entry(table, "at/a place?"), {"a": 1})
    location = created.headers["location"]
    assert location == entry(table, "at/a place?")
    assert client.get(location).json() == {"a": 1}


def test_location_is_the_path_alone(client: CheckedClient, table: str) -> None:
    """A proxy's absolute target, or a query, is not where the entry lives."""
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Type": "application/json",
        "Content-Length": "2",
    }
    target = client.url + entry(table, "café") + "?"
    created = exchange(client.url, head("PUT", target, headers) + b"{}")
    assert created.status == 201
    assert created.headers["location"] == entry(table, "café")


def test_consistency_is_strong_or_eventual(client: CheckedClient, table: str) -> None:
    """Both words are understood; another is refused rather than read as strong."""
    path = entry(table, "consistent")
    client.put(path, {"a": 1})
    for word in ("strong", "eventual"):
        assert client.get(f"{path}?consistency={word}").json() == {"a": 1}
        assert client.get(f"{table}/id?consistency={word}&limit=1").status == 200
    for word in ("", "Strong", "weak"):
        assert client.get(f"{path}?consistency={word}").status == 400
        assert client.get(f"{table}/id?consistency={word}").status == 400


def test_head_answers_as_get_without_body(client: CheckedClient, table: str) -> None:
    """RFC 9110 9.3.2: the same status and headers, no content."""
    path = entry(table, "headed")
    client.put(path, {"a": 1})
    for target in (path, f"{table}/id", table, entry(table, "absent"), f"{path}?x=1"):
        full, head = client.get(target), client.request("HEAD", target)
        assert head.status == full.status
        assert head.body == b""
        assert {**head.headers, "date": "", "x-request-id": ""} == {
            **full.headers,
            "date": "",
            "x-request-id": "",
        }


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_entry_has_at_most_400_kib(client: CheckedClient, table: str, method: str) -> None:
    """The bound is exact, counts names and values and the ID, and nothing half-written stays."""
    path = entry(table, f"full-{method}")
    if method == "POST":
        client.put(path, {"a": "small"})
    room = 400 * 1024 - len(f"full-{method}") - len("a")
    over = client.request(method, path, {"a": "x" * (room + 1)})
    assert over.status == 413
    assert "409600" in over.json()["detail"]
    assert client.get(path).status == (404 if method == "PUT" else 200)
    assert client.request(method, path, {"a": "x" * room}).status in {200, 201}
    assert len(client.get(path).json()["a"]) == room


def test_a_merge_can_not_grow_an_entry_beyond_the_bound(client: CheckedClient, table: str) -> None:
    """Two patches that fit alone are refused together, and the entry stays as it was."""
    path = entry(table, "growing")
    client.put(path, {"a": "x" * 300_000})
    assert client.merge(path, {"b": "x" * 300_000}).status == 413
    assert client.get(path).json().keys() == {"a"}


def test_the_id_attribute_is_not_in_the_body(client: CheckedClient, table: str) -> None:
    """`_id` is the key to DynamoDB: at the top it is 400, below it is nobody's business."""
    path = entry(table, "with-id")
    assert client.put(path, {"_id": "x"}).status == 400
    assert client.put(path, {"a": {"_id": "x"}}).status == 201
    assert client.post(path, {"_id": "x"}).status == 400
    assert client.merge(path, {"_id": None}).status == 400
    assert client.get(path).json() == {"a": {"_id": "x"}}


def test_entries_of_absent_places(client: CheckedClient, tenant: str) -> None:
    """An unknown tenant, table or entry is 404 for every verb, and says which of them."""
    for path, word in (
        ("/v1/tenant/nobody/table/abc/id/x", "tenant"),
        (f"{tenant}/table/nothing/id/x", "table"),
    ):
        for method in ("GET", "PUT", "POST", "DELETE"):
            body: object = {} if method in {"PUT", "POST"} else None
            answer = client.request(method, path, body)
            assert answer.status == 404
            assert f"no {word}" in answer.json()["detail"]


def test_an_idempotency_key_makes_a_retry_safe(client: CheckedClient, table: str) -> None:
    """The retried PUT answers 201 again with the same version; another body is another request."""
    path, key = entry(table, "once"), {"Idempotency-Key": "order-17"}
    first = client.put(path, {"n": 1}, headers=key)
    again = client.put(path, {"n": 1}, headers=key)
    assert (first.status, again.status) == (201, 201)
    assert first.headers["etag"] == again.headers["etag"]
    assert first.json() == again.json()
    assert client.put(path, {"n": 2}, headers=key).status == 409
    assert client.put(path, {"n": 1}).status == 409
    other = client.put(entry(table, "once more"), {"n": 1}, headers=key)
    assert other.status == 201


@pytest.mark.parametrize("verb", ["replace", "merge", "delete"])
def test_a_retried_write_is_done_once(client: CheckedClient, table: str, verb: str) -> None:
    """Between a write and its retry somebody else may write: the retry must not undo that."""
    path, key = entry(table, f"retried-{verb}"), {"Idempotency-Key": f"retry-{verb}"}
    client.put(path, {"n": 1})

    def send() -> int:
        match verb:
            case "replace":
                return client.post(path, {"n": 2}, headers=key).status
            case "merge":
                return client.merge(path, {"n": 2}, headers=key).status
            case _:
                return client.delete(path, headers=key).status

    first = send()
    if verb == "delete":
        assert client.put(path, {"n": 3}).status == 201
    else:
        assert client.post(path, {"n": 3}).status == 200
    assert send() == first
    assert client.get(path).json() == {"n": 3}


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "a\tb", "\udcff"], ids=ascii)
def test_bad_idempotency_keys(client: CheckedClient, table: str, key: str) -> None:
    """A key that can't be kept is refused: the client would believe in a safety it has not."""
    path, sent = entry(table, "bad-key"), key.encode("utf-8", "surrogateescape").decode("latin-1")
    for verb in (client.put, client.post):
        assert verb(path, {}, headers={"Idempotency-Key": sent}).status == 400
    assert client.get(path).status == 404


def test_the_body_is_compact_json(client: CheckedClient, table: str) -> None:
    """The answer parses everywhere: UTF-8, no byte order mark, no trailing bytes."""
    path = entry(table, "compact")
    client.put(path, b'\n{ "a" : [ 1 , 2 ] ,\t"b" : "\\u00e9" }\r\n')
    answer = client.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert (
        answer.body
        == json.dumps({"a": [1, 2], "b": "é"}, ensure_ascii=False).replace(" ", "").encode()
    )
