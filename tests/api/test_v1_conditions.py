"""ETag, If-Match, If-None-Match: RFC 9110 section 13 on entries."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import entry
from tests.api.raw import exchange, head

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

_numbers = count(1)
OTHER = '"no-version-of-this-entry"'
MALFORMED = ["", " ", ",", "x", "'x'", '"x', 'x"', '"x" "y"', '"x";"y"', "W/", "W/x", 'w/"x"',
             '"x",y', "*,*", '*, "x"', '"x", *', "**", '"a b"', '"x"\\', "W /" + '"x"',
             '"' + "x" * 5000 + '"', ",".join(['"x"'] * 2000)]  # fmt: skip


@pytest.fixture
def path(client: CheckedClient, table: str) -> str:
    """Make an entry of one's own. Returns: its path."""
    made = entry(table, f"conditional-{next(_numbers)}")
    assert client.put(made, {"n": 0}).status == 201
    return made


def test_every_write_changes_the_etag(client: CheckedClient, path: str) -> None:
    """An ETag is strong: the same one never stands for two contents."""
    seen = [client.get(path).headers["etag"]]
    seen.append(client.post(path, {"n": 1}).headers["etag"])
    seen.append(client.merge(path, {"m": 1}).headers["etag"])
    assert client.get(path).headers["etag"] == seen[-1]
    client.delete(path)
    seen.append(client.put(path, {"n": 0}).headers["etag"])
    assert len(set(seen)) == len(seen)
    assert all(tag.startswith('"') and tag.endswith('"') for tag in seen)


def test_reading_does_not_change_the_etag(client: CheckedClient, path: str) -> None:
    """A cache in between may keep what has not changed."""
    assert len({client.get(path).headers["etag"] for _ in range(3)}) == 1


def test_a_read_that_has_it_already(client: CheckedClient, path: str) -> None:
    """304 without a body, with the ETag, if any of the tags is the version."""
    tag = client.get(path).headers["etag"]
    for value in (tag, f"W/{tag}", f"{OTHER}, {tag}", f"{tag},{OTHER}", "*", f" , {tag} ,, "):
        for method in ("GET", "HEAD"):
            answer = client.request(method, path, headers={"If-None-Match": value})
            assert answer.status == 304, value
            assert answer.body == b""
            assert answer.headers["etag"] == tag
    assert client.get(path, headers={"If-None-Match": OTHER}).status == 200


def test_a_read_of_one_version_only(client: CheckedClient, path: str) -> None:
    """If-Match on GET: the body, or 412; an absent entry is 404 all the same."""
    tag = client.get(path).headers["etag"]
    assert client.get(path, headers={"If-Match": tag}).status == 200
    assert client.get(path, headers={"If-Match": OTHER}).status == 412
    assert client.get(path, headers={"If-Match": OTHER, "If-None-Match": tag}).status == 412
    assert client.get(path, headers={"If-Match": tag, "If-None-Match": tag}).status == 304
    absent = f"{path}-absent"
    assert client.get(absent, headers={"If-Match": "*"}).status == 404
    assert client.get(absent, headers={"If-None-Match": "*"}).status == 404


@pytest.mark.parametrize("verb", ["POST", "MERGE", "DELETE"])
def test_if_match_guards_a_write(client: CheckedClient, path: str, verb: str) -> None:
    """The classic lost update: the second writer gets 412 and nothing changes."""
    tag = client.get(path).headers["etag"]
    for value in (OTHER, f"W/{tag}", f"{OTHER}, W/{tag}"):
        assert _write(client, verb, path, {"If-Match": value}) == 412
    assert client.get(path).headers["etag"] == tag
    assert _write(client, verb, path, {"If-Match": f"{OTHER}, {tag}"}) in {200, 204}
    refused = _write(client, verb, path, {"If-Match": tag})
    assert refused == (404 if verb == "DELETE" else 412)


@pytest.mark.parametrize("verb", ["POST", "MERGE", "DELETE"])
def test_if_match_any_wants_an_entry(client: CheckedClient, path: str, verb: str) -> None:
    """`*` matches whatever version there is; where there is none, 404 says so."""
    assert _write(client, verb, path, {"If-Match": "*"}) in {200, 204}
    assert _write(client, verb, f"{path}-absent", {"If-Match": "*"}) == 404


@pytest.mark.parametrize("verb", ["POST", "MERGE", "DELETE"])
def test_if_none_match_excludes_versions(client: CheckedClient, path: str, verb: str) -> None:
    """A write may exclude versions, by the weak comparison."""
    tag = client.get(path).headers["etag"]
    for value in (tag, f"W/{tag}", "*", f"{OTHER},{tag}"):
        assert _write(client, verb, path, {"If-None-Match": value}) == 412
    assert _write(client, verb, path, {"If-None-Match": OTHER}) in {200, 204}


def test_a_create_with_conditions(client: CheckedClient, path: str) -> None:
    """PUT creates: If-None-Match: * is what it means anyway, If-Match can't hold."""
    assert client.put(path, {}, headers={"If-None-Match": "*"}).status == 412
    assert client.put(path, {}).status == 409
    absent = f"{path}-absent"
    for value in (OTHER, "*"):
        assert client.put(absent, {}, headers={"If-Match": value}).status == 412
        assert client.get(absent).status == 404
    assert client.put(absent, {}, headers={"If-None-Match": "*"}).status == 201


@pytest.mark.parametrize("value", MALFORMED, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_malformed_tags(client: CheckedClient, path: str, name: str, value: str) -> None:
    """What is no list of tags is refused: a condition that is ignored loses updates."""
    tag = client.get(path).headers["etag"]
    for verb in ("GET", "POST", "MERGE", "DELETE"):
        assert _write(client, verb, path, {name: value}) == 400, verb
    assert client.put(f"{path}-absent", {}, headers={name: value}).status == 400
    assert client.get(path).headers["etag"] == tag


def test_lines_of_one_header_are_one_list(client: CheckedClient, path: str) -> None:
    """RFC 9110 5.3: two lines of If-Match are one list, whichever of them matches."""
    tag = client.get(path).headers["etag"]
    headers = {"Authorization": f"Bearer {client.token}", "Connection": "close"}
    for first, second in ((tag, OTHER), (OTHER, tag)):
        lines = headers | {"If-None-Match": first, "if-none-match": second}
        assert exchange(client.url, head("GET", path, lines)).status == 304
        lines = headers | {"If-Match": first, "if-match": second}
        assert exchange(client.url, head("GET", path, lines)).status == 200


def _write(client: CheckedClient, verb: str, path: str, headers: dict[str, str]) -> int:
    match verb:
        case "MERGE":
            return client.merge(path, {"n": 1}, headers=headers).status
        case "POST":
            return client.post(path, {"n": 1}, headers=headers).status
        case _:
            return client.request(verb, path, headers=headers).status
