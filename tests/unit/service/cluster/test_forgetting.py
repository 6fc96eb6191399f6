"""What a node remembers of ranges goes with them, however many come and go while it runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dstore.service.cluster.assignments import TableState
from dstore.service.cluster.giving_up import GivingUp
from dstore.service.cluster.table_reports import TableReports
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import HeldStatus
from tests.support.topology import uuid

UNUSED: Any = None


class Said:
    """What a node says in the coordinator."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.by_key: dict[str, bytes | None] = {}

    def say(self, key: str, value: bytes | None) -> None:
        """Say something."""
        self.by_key[key] = value


def test_why_something_is_kept_is_remembered_while_it_is() -> None:
    """Reasons of ranges that were given back or dropped long ago stayed for ever."""
    holdings = SimpleNamespace(ranges={uuid(1): None}, tenants={})
    giving_up = GivingUp(
        keys.ComponentId(uuid(9)),
        control_plane=uuid(8),
        watcher=UNUSED,
        coordinator=UNUSED,
        control=UNUSED,
        holdings=cast("Any", holdings),
        duties=UNUSED,
        replicas=UNUSED,
        shares=UNUSED,
        on_unknown=UNUSED,
    )
    giving_up._keep(uuid(1), "It is not shown.")
    holdings.ranges = {uuid(2): None}
    giving_up._keep(uuid(2), "It is not shown.")
    assert [*giving_up._kept] == [uuid(2)]


def test_a_range_that_is_given_again_is_not_damaged_any_more() -> None:
    """Its file was deleted with it, and the new one has nothing of the damage."""
    held = SimpleNamespace(tenant="acme", table="orders", ref=UNUSED, scrubbed_at_us=0)
    counts = SimpleNamespace(quantity=lambda _: 0, size_bytes=lambda _: 0, index_sizes=lambda _: {})
    holdings = SimpleNamespace(ranges={uuid(1): held}, counts=counts)
    said = Said()
    reports = TableReports(
        cast("Any", said),
        cast("Any", holdings),
        heat=cast("Any", SimpleNamespace(requests_per_s=lambda _: 0)),
        node=keys.ComponentId(uuid(9)),
        is_waiting=lambda _: False,
    )
    path = keys.NodeTablePath(keys.ComponentId(uuid(9)), "acme", "orders")

    def status() -> HeldStatus:
        encoded = said.by_key[path.path]
        assert encoded is not None
        return values.decode(path, encoded).status

    state = TableState(tenant="acme", table="orders", ranges={uuid(1): HeldStatus.OKAY})
    reports.note(state)
    reports.note_damage(uuid(1))
    assert status() is HeldStatus.DAMAGED
    holdings.ranges = {}
    reports.note(TableState(tenant="acme", table="orders", ranges={}))
    assert said.by_key[path.path] is None
    holdings.ranges = {uuid(1): held}
    reports.note(state)
    assert status() is HeldStatus.OKAY
