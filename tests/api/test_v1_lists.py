"""Lists of tenants, tables and entries: `limit`, `after`, and that pages lose nothing."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.contract import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.contract import CheckedClient

_numbers = count(1)
BAD_LIMITS = ["0", "-1", "1001", "1.0", "1e2", "x", "", "%20", "+1", "%EF%BC%91", "9" * 4000]
BAD_AFTERS = ["", "x", "!", "AA", "AQ==", "AQ!", "A Q".replace(" ", "%20"), "%00", "%FF", "AR",
              "AQ%0A", "AQ+_", "AQ/", "e" * 9000, "a2V5", "%F0%9F%92%A9"]  # fmt: skip


def paged(client: CheckedClient, path: str, *, limit: int, what: str) -> Iterator[dict[str, Any]]:
    """Walk the pages of a list."""
    target = f"{path}?limit={limit}"
    while True:
        page = client.get(target).json()
        assert page.keys() == {what, "after"}
        assert len(page[what]) <= limit
        yield from page[what]
        assert page[what] or target.endswith(f"limit={limit}"), "an `after` promises more"
        if page["after"] is None:
            return
        target = f"{path}?limit={limit}&after={page['after']}"


@pytest.fixture(scope="module")
def filled(client: CheckedClient, tenant: str) -> tuple[str, dict[str, Any]]:
    """Fill a table with 137 entries. Returns: its path, and the entries by ID."""
    path = f"{tenant}/table/filled"
    client.put(path, {"idType": "String"})
    entries = {f"id/{number:03} é\0{'x' * number}": {"n": number} for number in range(137)}
    for name, data in entries.items():
        assert client.put(entry(path, name), data).status == 201
    return path, entries


@pytest.mark.parametrize("limit", [1, 2, 7, 136, 137, 138, 1000])
def test_pages_have_what_the_whole_has(
    client: CheckedClient, filled: tuple[str, dict[str, Any]], limit: int
) -> None:
    """Every entry once, in the same order whatever the size of the pages."""
    path, entries = filled
    whole = client.get(f"{path}/id?limit=1000").json()
    assert whole["after"] is None
    assert {one["id"]: one["data"] for one in whole["entries"]} == entries
    assert list(paged(client, f"{path}/id", limit=limit, what="entries")) == whole["entries"]


def test_a_page_has_100_entries_unless_told(
    client: CheckedClient, filled: tuple[str, dict[str, Any]]
) -> None:
    """The default of the plan; the rest follows behind `after`."""
    page = client.get(f"{filled[0]}/id").json()
    assert len(page["entries"]) == 100
    rest = client.get(f"{filled[0]}/id?after={page['after']}").json()
    assert len(rest["entries"]) == 37
    assert rest["after"] is None


@pytest.mark.parametrize("value", BAD_LIMITS, ids=lambda value: ascii(value)[:20])
def test_bad_limits(
    client: CheckedClient, filled: tuple[str, dict[str, Any]], tenant: str, value: str
) -> None:
    """A limit is a number from 1 to 1,000, in plain digits, for every list."""
    for path in (f"{filled[0]}/id", f"{tenant}/table", "/v1/tenant"):
        answer = client.get(f"{path}?limit={value}")
        assert answer.status == 400
        assert "1000" in answer.json()["detail"]


@pytest.mark.parametrize("value", BAD_AFTERS, ids=lambda value: ascii(value)[:20])
def test_bad_afters(
    client: CheckedClient, filled: tuple[str, dict[str, Any]], tenant: str, value: str
) -> None:
    """`after` is what a former page gave and nothing else; 400 says so."""
    for path in (f"{filled[0]}/id", f"{tenant}/table", "/v1/tenant"):
        assert client.get(f"{path}?after={value}").status in {400, 431}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | st.binary(min_size=2_000, max_size=3_000), st.integers(1, 5))
def test_made_up_afters_only_move_about_in_the_table(
    client: CheckedClient, filled: tuple[str, dict[str, Any]], key: bytes, limit: int
) -> None:
    """A well-formed `after` of an adversary is a place: the answer is a run of the whole list."""
    path = filled[0]
    after = urlsafe_b64encode(b"\x01" + key).rstrip(b"=").decode()
    whole = [one["id"] for one in client.get(f"{path}/id?limit=1000").json()["entries"]]
    page = client.get(f"{path}/id?limit={limit}&after={after}").json()
    found = [one["id"] for one in page["entries"]]
    if found:
        at = whole.index(found[0])
        assert found == whole[at : at + limit]
    else:
        assert page["after"] is None
    names = client.get(f"/v1/tenant?limit={limit}&after={after}").json()["tenants"]
    assert len(names) <= limit


def test_an_after_outlives_its_entry(client: CheckedClient, new_table: str) -> None:
    """Deleting or adding between two pages neither skips nor repeats what stays."""
    names = {f"e{number}" for number in range(40)}
    for name in names:
        client.put(entry(new_table, name), {})
    page = client.get(f"{new_table}/id?limit=10").json()
    first = [one["id"] for one in page["entries"]]
    for name in first:
        client.delete(entry(new_table, name))
    rest = client.get(f"{new_table}/id?limit=1000&after={page['after']}").json()["entries"]
    assert {one["id"] for one in rest} == names - set(first)


def test_an_after_works_for_another_table_as_a_place(client: CheckedClient, tenant: str) -> None:
    """It is no authority: under another table it shows that table's own entries only."""
    for name in ("one", "two"):
        client.put(f"{tenant}/table/{name}", {"idType": "String"})
        for number in range(4):
            client.put(entry(f"{tenant}/table/{name}", f"{name}-{number}"), {"of": name})
    after = client.get(f"{tenant}/table/one/id?limit=1").json()["after"]
    page = client.get(f"{tenant}/table/two/id?after={after}").json()
    assert all(one["data"] == {"of": "two"} for one in page["entries"])


def test_a_page_ends_at_a_mebibyte(client: CheckedClient, new_table: str) -> None:
    """Large entries make short pages, and still every page gets on."""
    names = {f"large-{number}" for number in range(7)}
    for name in names:
        client.put(entry(new_table, name), {"a": "x" * 390_000})
    page = client.get(f"{new_table}/id?limit=1000").json()
    assert 1 <= len(page["entries"]) <= 3
    found = [one["id"] for one in paged(client, f"{new_table}/id", limit=1000, what="entries")]
    assert sorted(found) == sorted(names)


def test_an_empty_table_has_an_empty_page(client: CheckedClient, new_table: str) -> None:
    """Nothing is a list, too."""
    assert client.get(f"{new_table}/id").json() == {"entries": [], "after": None}


@pytest.mark.parametrize("limit", [1, 3, 10, 11, 1000])
def test_tables_and_tenants_have_pages_too(client: CheckedClient, limit: int) -> None:
    """The same `limit` and `after` for all three lists."""
    tenant = f"/v1/tenant/paged-{limit}"
    client.put(tenant)
    names = [f"table-{number:02}" for number in range(10)]
    for name in names:
        client.put(f"{tenant}/table/{name}", {"idType": "String"})
    listed = paged(client, f"{tenant}/table", limit=limit, what="tables")
    assert [one["table"] for one in listed] == names
    whole = [one["tenant"] for one in client.get("/v1/tenant?limit=1000").json()["tenants"]]
    tenants = paged(client, "/v1/tenant", limit=limit, what="tenants")
    assert [one["tenant"] for one in tenants] == whole


_IDS: dict[str, st.SearchStrategy[str]] = {
    "String": st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    "Integer": st.from_regex(r"0|-?[1-9][0-9]{0,37}", fullmatch=True),
    "Bytes": st.binary(min_size=1, max_size=8).map(
        lambda raw: urlsafe_b64encode(raw).rstrip(b"=").decode()
    ),
}


@pytest.mark.parametrize("id_type", list(_IDS))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_tables_are_paged_whole(
    client: CheckedClient, tenant: str, id_type: str, data: st.DataObject
) -> None:
    """Every ID of every type comes back spelled as it was sent, once, whatever the page."""
    ids = data.draw(st.sets(_IDS[id_type], max_size=25))
    limit = data.draw(st.integers(1, 8))
    path = f"{tenant}/table/random-{next(_numbers)}"
    client.put(path, {"idType": id_type})
    for name in ids:
        assert client.put(entry(path, name), {"id": name}).status == 201
    found = list(paged(client, f"{path}/id", limit=limit, what="entries"))
    assert sorted(one["id"] for one in found) == sorted(ids)
    assert all(one["data"] == {"id": one["id"]} for one in found)
    client.delete(path)
