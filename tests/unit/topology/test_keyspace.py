"""Every key has one spelling, and only keyspace knows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.model.hashing import HASH_MAX
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys

UUID = keys.ComponentId("0b5d5a5e-38f0-4b5c-8e6f-0123456789ab")

SPELLED: list[tuple[keys.Path, str]] = [
    (keys.DetailsPath(ComponentRole.NODE, UUID), f"node/{UUID}/details"),
    (keys.AlivePath(ComponentRole.NODE, UUID), f"node/{UUID}/alive"),
    (keys.NodeBootPath(UUID), f"node/{UUID}/boot"),
    (keys.NodeRangesPath(UUID, "acme", "orders"), f"node/{UUID}/id/acme/orders/hash"),
    (keys.NodeTablePath(UUID, "acme", "orders"), f"node/{UUID}/id/acme/orders/details"),
    (keys.TenantPath("acme"), "tenant/acme"),
    (keys.RangePath("acme", "orders", 0), "tenant/acme/orders/0"),
    (keys.RangePath("acme", "or.ders", HASH_MAX), "tenant/acme/or.ders/4294967295"),
    (keys.TablePath("acme", "orders"), "table/acme/orders"),
    (keys.NoticePath(UUID, 1_700_000_000_000_000), f"notice/{UUID}/1700000000000000"),
    (keys.DetailsPath(ComponentRole.PROXY, UUID), f"proxy/{UUID}/details"),
    (keys.AlivePath(ComponentRole.CONTROL, UUID), f"control/{UUID}/alive"),
    (keys.DetailsPath(ComponentRole.REPORTING, UUID), f"reporting/{UUID}/details"),
    (keys.LEADER, "control/leader"),
    (keys.PLANE, "control/plane"),
    (keys.PUBLISHED, "control/published"),
]

NOT_OURS = [
    "",
    "/",
    "tenant",
    "tenant/",
    "tenant/ACME",
    "tenant/acme/",
    "/tenant/acme",
    "tenant/acme/orders",
    "tenant/acme/orders/",
    "tenant/acme/orders/00",
    "tenant/acme/orders/-1",
    "tenant/acme/orders/+1",
    "tenant/acme/orders/4294967296",
    "tenant/acme/orders/٣",
    "tenant/acme/orders/1\n",
    "tenant/acme/orders/1/",
    "tenant/acme\n",
    "table/acme/or",
    "table/acme/or ders",
    "table/acme/%6frders",
    "table/acme/orders/more",
    f"node/{UUID.upper()}/details",
    f"node/{UUID}/Details",
    f"node/{UUID}",
    f"node/{UUID}/id/acme/orders",
    f"node/{UUID}/id/acme/orders/boot",
    f"proxy/{UUID}/boot",
    "node/leader/details",
    "control/Leader",
    f"notice/{UUID}/soon",
    f"notice/{UUID}/01",
    f"somebody/{UUID}/details",
]


@pytest.mark.parametrize(("path", "key"), SPELLED, ids=[key for _, key in SPELLED])
def test_keys_are_spelled_as_the_specification_has_them(path: keys.Path, key: str) -> None:
    """SPEC.md's table of keys is a contract with operators and other tools."""
    assert path.path == key
    assert keys.parse(key) == path
    assert hash(keys.parse(key)) == hash(path)


@pytest.mark.parametrize("key", NOT_OURS)
def test_other_spellings_are_no_keys(key: str) -> None:
    """Two spellings of one key would be two values of one thing."""
    assert keys.parse(key) is None


@given(st.text(alphabet="tenanodible/-09afACME._%\n", max_size=60) | st.text())
def test_parse_is_total_and_takes_one_spelling(key: str) -> None:
    """Whatever somebody writes into etcd stops no watcher."""
    path = keys.parse(key)
    assert path is None or path.path == key


def test_prefixes_hold_what_they_name() -> None:
    """A prefix without its last slash would take in other tables."""
    assert keys.RangePath("acme", "orders", 5).path.startswith(keys.ranges_prefix("acme", "orders"))
    assert not keys.RangePath("acme", "orders2", 5).path.startswith(
        keys.ranges_prefix("acme", "orders")
    )
    assert keys.TablePath("acme", "orders").path.startswith(keys.tenant_tables_prefix("acme"))
    held = keys.NodeRangesPath(UUID, "acme", "orders").path
    assert held.startswith(keys.node_tables_prefix(UUID))
    assert held.startswith(keys.node_prefix(UUID))
    assert keys.NoticePath(UUID, 1).path.startswith(keys.notices_prefix(UUID))
