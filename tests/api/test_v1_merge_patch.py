"""`application/merge-patch+json`: RFC 7396, on entries."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

_numbers = count(1)

# RFC 7396 appendix A: original, patch, result. Of its fifteen cases these have an object for the
# original and the patch; the others can't be sent, see `test_a_patch_is_an_object`.
APPENDIX_A: list[tuple[str, str, str]] = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]
# And what its text says beyond the table.
FURTHER: list[tuple[str, str, str]] = [
    ('{"a":1}', "{}", '{"a":1}'),
    ('{"a":1}', '{"b":null}', '{"a":1}'),
    ('{"a":null}', '{"a":null}', "{}"),
    ('{"a":[1,2]}', '{"a":[null,{"b":null}]}', '{"a":[null,{"b":null}]}'),
    ('{"a":"text"}', '{"a":{"b":{"c":1,"d":null}}}', '{"a":{"b":{"c":1}}}'),
    ('{"a":[{"b":1}]}', '{"a":{"0":1}}', '{"a":{"0":1}}'),
    ('{"a":{"b":{"c":1,"d":2},"e":3}}', '{"a":{"b":{"c":9}}}', '{"a":{"b":{"c":9,"d":2},"e":3}}'),
    ('{"a":{"b":1}}', '{"a":{}}', '{"a":{"b":1}}'),
    ('{"a":{"b":1}}', '{"a":{"b":null}}', '{"a":{}}'),
    ('{"a":1.50,"b":1E2}', '{"c":3.00}', '{"a":1.50,"b":1E2,"c":3.00}'),
    ('{"a":"1"}', '{"a":1}', '{"a":1}'),
    ('{"a":1}', '{"a":true}', '{"a":true}'),
    ('{"a":{"b":1.0}}', '{"a":{"c":2.0}}', '{"a":{"b":1.0,"c":2.0}}'),
]


def _exactly(body: bytes | str) -> Any:
    """Decode with numbers as their text: 1.50 is not 1.5 here."""
    return json.loads(body, parse_float=lambda text: ("n", text), parse_int=lambda t: ("n", t))


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A + FURTHER)
def test_a_patch_is_merged(
    client: CheckedClient, table: str, original: str, patch: str, result: str
) -> None:
    """The result is the RFC's; names that the patch has not keep their values digit for digit."""
    path = entry(table, f"merged-{next(_numbers)}")
    client.put(path, original)
    merged = client.merge(path, patch)
    assert merged.status == 200
    read = client.get(path)
    assert _exactly(read.body) == _exactly(result)
    assert read.headers["etag"] == merged.headers["etag"]


@pytest.mark.parametrize("patch", ['["c"]', "null", '"bar"', "1", "true", "[]", ""])
def test_a_patch_is_an_object(client: CheckedClient, table: str, patch: str) -> None:
    """The RFC's other patches would make the entry something else than an object: 400."""
    path = entry(table, f"kept-{next(_numbers)}")
    client.put(path, {"a": "b"})
    assert client.merge(path, patch).status == 400
    assert client.get(path).json() == {"a": "b"}


@pytest.mark.parametrize(
    "patch", [{"": 1}, {"a": {"": 1}}, {"x" * 65_536: 1}, {"a": {"b": {"é" * 32_768: 1}}}],
    ids=["empty", "empty within", "long", "long within"],
)  # fmt: skip
def test_a_patch_can_not_bring_in_bad_names(
    client: CheckedClient, table: str, patch: dict[str, Any]
) -> None:
    """A name that PUT would refuse can't come in through a merge."""
    path = entry(table, f"named-{next(_numbers)}")
    client.put(path, {"a": {"b": {}}})
    assert client.merge(path, patch).status == 400
    assert client.put(f"{path}-2", patch).status == 400
    assert client.get(path).json() == {"a": {"b": {}}}


def test_a_merge_reaches_the_bound_of_depth_and_no_deeper(
    client: CheckedClient, table: str
) -> None:
    """32 levels, by one write or by many."""
    path = entry(table, "deep")
    deepest: dict[str, Any] = {}
    for _ in range(31):
        deepest = {"a": deepest}
    client.put(path, {})
    assert client.merge(path, deepest).status == 200
    assert client.get(path).json() == deepest
    assert client.merge(path, {"a": deepest}).status == 400
    assert client.get(path).json() == deepest


def test_replace_does_not_merge(client: CheckedClient, table: str) -> None:
    """The content type alone decides: JSON replaces, and its nulls are values."""
    path = entry(table, "replaced")
    client.put(path, {"a": 1, "b": 2})
    assert client.post(path, {"a": None}).status == 200
    assert client.get(path).json() == {"a": None}


def test_create_takes_no_patch(client: CheckedClient, table: str) -> None:
    """There is nothing yet to merge into: 415 names what PUT takes."""
    path = entry(table, "not-created")
    answer = client.put(path, {"a": 1}, content_type="application/merge-patch+json")
    assert answer.status == 415
    assert "application/json" in answer.json()["detail"]
    assert client.get(path).status == 404
