"""Resource IDs as SPEC.md writes them, and the names that stand in them."""

from __future__ import annotations

import pytest

from dstore.model.errors import Refused
from dstore.model.rid import (
    Rid,
    entry_rid,
    table_rid,
    tenant_rid,
    validate_location,
    validate_table_name,
    validate_tenant_name,
)


def test_spec_example() -> None:
    """The one example of SPEC.md, to the letter."""
    assert str(table_rid("1234", "entries")) == "rid:dStore:1234:NA:table:entries"
    assert str(tenant_rid("1234", location="EU")) == "rid:dStore:1234:EU:tenant:1234"


@pytest.mark.parametrize(
    ("entry_id", "escaped"),
    [("a", "a"), ("a/b:c", "a%2Fb%3Ac"), ("é", "%C3%A9"), ("a b%", "a%20b%25"), ("-._~", "-._~")],
)
def test_entry_rid(entry_id: str, escaped: str) -> None:
    """An entry's ID cannot break out of its place in the name."""
    rid = entry_rid("1234", "entries", entry_id)
    assert str(rid) == f"rid:dStore:1234:NA:table:entries/id/{escaped}"
    assert Rid.parse(str(rid)) == rid


@pytest.mark.parametrize(
    "text",
    [
        *("", "rid", "rid:dStore:1234:NA:table", "rid:dStore:1234:NA:table:", "x" * 5_000),
        *("arn:dStore:1234:NA:table:entries", "rid:other:1234:NA:table:entries"),
        *("rid:dStore::NA:table:entries", "rid:dStore:T:NA:table:entries"),
        *("rid:dStore:1234::table:entries", "rid:dStore:1234:NA::entries"),
        *("rid:dStore:1234:N A:table:entries", "rid:dStore:1234:NA:Table:entries"),
    ],
)
def test_refused(text: str) -> None:
    """What is no RID is refused with a short sentence, never half understood."""
    with pytest.raises(Refused) as caught:
        Rid.parse(text)
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("name", ["a", "0", "1234", "my-tenant", "a_b", "a" * 64])
def test_tenant_names(name: str) -> None:
    """Names that stand in URLs, RIDs and topology paths without escaping."""
    assert validate_tenant_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "a b", "a/b", "a:b", "a.b", "a\n", "é", "\uff11", "a" * 65]
)
def test_refused_tenant_names(name: str) -> None:
    """Anything that would need escaping somewhere is refused once, here."""
    with pytest.raises(Refused, match="no tenant name"):
        validate_tenant_name(name)


@pytest.mark.parametrize("name", ["abc", "...", "My.Table_1-x", "a" * 255])
def test_table_names(name: str) -> None:
    """DynamoDB's rule, since both doors open on the same tables."""
    assert validate_table_name(name) == name


@pytest.mark.parametrize("name", ["", "ab", "a b", "a/b", "a:bc", "abc\n", "abé", "a" * 256])
def test_refused_table_names(name: str) -> None:
    """DynamoDB's rule, from the other side."""
    with pytest.raises(Refused, match="no table name"):
        validate_table_name(name)


def test_locations() -> None:
    """A location is a short word."""
    assert validate_location("NA") == "NA"
    for name in ("", "N:A", "-", "x" * 17):
        with pytest.raises(Refused, match="no location"):
            validate_location(name)
