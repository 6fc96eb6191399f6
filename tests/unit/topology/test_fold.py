"""Views follow the events, and what is bad stays outside."""

from __future__ import annotations

import pytest

from dstore.model.hashing import HASH_MAX
from dstore.model.status import ResourceStatus
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Revision
from dstore.topology.fold import Fold
from dstore.topology.scopes import routing, routing_and
from dstore.topology.view import TableView
from tests.support.topology import (
    HALF,
    NODES,
    definition,
    details,
    events,
    fold,
    key_value,
    placement,
    shown,
    table,
    tenant,
    uuid,
    whole_table,
)

TABLE_KEY = "table/acme/orders"
LOW, MIDDLE = "tenant/acme/orders/0", f"tenant/acme/orders/{HALF + 1}"
RANGES = "tenant/acme/orders/"
SPLIT = {LOW: placement(HALF, range_id=201), MIDDLE: placement(range_id=202)}
LEADER = values.encode(values.Leader(control=uuid(9), uri="https://control:8001/"))


def orders(made: Fold) -> TableView:
    found = made.view.table("acme", "orders")
    assert found is not None
    return found


def test_table_is_found_with_its_ranges() -> None:
    """This is the look-up of every request."""
    made = fold({**whole_table(), **SPLIT})
    found = orders(made)
    assert found.definition == definition()
    assert [placed.low_hash for placed in found.ranges] == [0, HALF + 1]
    for key_hash, number in ((0, 201), (HALF, 201), (HALF + 1, 202), (HASH_MAX, 202)):
        placed = found.range_of(key_hash)
        assert placed is not None
        assert placed.range_id == uuid(number)
        assert placed.mod_revision == 1
    assert found.table is found.table
    ref = found.table.ranges.at((HALF + 1).to_bytes(4, "big") + b"key")
    assert (ref.range_id, ref.node, ref.epoch) == (uuid(202), NODES[0], 1)
    assert made.problems == {}


def test_view_is_at_a_revision_and_old_views_stay_as_they_were() -> None:
    """A request that took a view finishes with it, whatever happens meanwhile."""
    made = fold(whole_table())
    before, contents_before = made.view, shown(made.view)
    made.apply(events({LOW: placement(epoch=2, node=1)}, 2))
    made.stamp(cluster_id="c1", revision=Revision(2))
    assert (before.revision, made.view.revision) == (1, 2)
    assert shown(before) == contents_before
    assert orders(made).ranges[0].placement.node == NODES[1]


def test_views_share_what_did_not_change() -> None:
    """An event of one table costs nothing for the others."""
    made = fold(whole_table(), {f"node/{NODES[0]}/details": details()})
    before = made.view
    made.apply(events(whole_table(name="letters"), 3))
    assert made.view.nodes is before.nodes
    assert made.view.table("acme", "orders") is before.table("acme", "orders")


def test_components_are_found_by_role() -> None:
    """Status pages and placement go by what components say of themselves."""
    node, proxy = NODES[0], NODES[1]
    held = values.NodeRanges(
        low_hash=0,
        high_hash=HASH_MAX,
        table_id=uuid(100),
        ranges=(values.HeldRange(low_hash=0, high_hash=HASH_MAX, range_id=uuid(200)),),
    )
    boot = values.NodeBoot(number=3, nonce="n", incarnation=uuid(5))
    made = fold(
        {
            f"node/{node}/details": details("https://n:1"),
            f"node/{node}/alive": values.encode(values.Alive(session=uuid(6), boot=3)),
            f"node/{node}/boot": values.encode(boot),
            f"node/{node}/id/acme/orders/hash": values.encode(held),
            f"node/{node}/id/acme/orders/details": b'{"status":"okay"}',
            f"proxy/{proxy}/details": details("https://p:1"),
            "control/leader": LEADER,
            f"notice/{node}/17": b'{"details":"disk low","kind":"disk_low"}',
            "somebody/else": b"?",
        }
    )
    view = made.view
    found = view.node(node)
    assert found is not None
    assert found.details is not None
    assert found.details.value.uri == "https://n:1"
    assert found.boot is not None
    assert found.boot.value == boot
    assert found.held.get("acme/orders") is not None
    assert found.reported.get("acme/orders") is not None
    assert list(view.components(ComponentRole.PROXY)) == [proxy]
    assert view.leader is not None
    assert view.leader.value.control == uuid(9)
    assert [known.value.kind for known in view.notices.values()] == ["disk_low"]
    assert (made.ignored_keys, made.problems) == (1, {})
    made.apply(events(dict.fromkeys(shown(view)), 2))
    assert shown(made.view) == {}
    assert len(made.view.nodes) == len(made.view.tenants) == len(made.view.notices) == 0


@pytest.mark.parametrize("key", [LOW, TABLE_KEY, "tenant/acme"])
def test_malformed_value_leaves_the_last_good_one(key: str) -> None:
    """A bad write to etcd takes no table out of service; it is reported until it is mended."""
    made = fold(whole_table())
    before = shown(made.view)
    assert made.apply(events({key: b"{]"}, 2)) == []
    assert shown(made.view) == before
    assert [(each.path, each.revision) for each in made.problems.values()] == [(key, 2)]
    assert len(made.take_new_problems()) == 1
    made.apply(events({key: b"{]"}, 2))
    assert made.take_new_problems() == []
    made.apply(events({key: whole_table()[key]}, 3))
    assert made.problems == {}
    assert shown(made.view)[key] == (whole_table()[key], 3)


def test_malformed_value_that_is_deleted_is_forgotten() -> None:
    """Deleting is one way to mend."""
    made = fold(whole_table(), {LOW: b"?"}, {LOW: None, TABLE_KEY: None})
    assert made.problems == {}
    assert made.view.table("acme", "orders") is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({LOW: placement(HALF)}, "no range"),
        ({LOW: None}, "no range"),
        ({MIDDLE: placement(range_id=202)}, "two ranges"),
        ({LOW: placement(HALF, range_id=3), "tenant/acme/orders/7": placement()}, "two ranges"),
    ],
)
def test_gaps_and_overlaps_leave_the_last_good_ranges(
    changes: dict[str, bytes | None], word: str
) -> None:
    """I8: no range is without an owner and none has two, whatever etcd says."""
    made = fold(whole_table())
    good = orders(made).ranges
    made.apply(events(changes, 2))
    assert orders(made).ranges == good
    assert made.problems[RANGES].why.startswith(word)
    made.apply(events(dict.fromkeys(changes) | SPLIT, 3))
    assert [placed.high_hash for placed in orders(made).ranges] == [HALF, HASH_MAX]
    assert made.problems == {}


def test_split_is_seen_whole() -> None:
    """All that one revision wrote is settled at once."""
    made = fold(whole_table(), SPLIT)
    assert [placed.range_id for placed in orders(made).ranges] == [uuid(201), uuid(202)]
    made.apply(events({MIDDLE: None, LOW: placement(range_id=203)}, 3))
    assert [placed.range_id for placed in orders(made).ranges] == [uuid(203)]
    assert made.problems == {}


def test_epoch_does_not_go_back() -> None:
    """I6: whoever heard of an epoch routes by no older one."""
    made = fold(whole_table(), {LOW: placement(epoch=5, node=1)}, {LOW: placement(epoch=4)})
    assert orders(made).ranges[0].placement.epoch == 5
    assert LOW in made.problems
    made.apply(events({LOW: placement(epoch=6)}, 4))
    assert orders(made).ranges[0].placement.epoch == 6
    assert made.problems == {}


def test_table_made_again_has_none_of_the_former_ranges() -> None:
    """Another table of the same name starts empty; the old one's files are not its own."""
    made = fold(whole_table(), {TABLE_KEY: table(definition(table_id=101))})
    assert orders(made).ranges == ()
    assert orders(made).range_of(0) is None
    assert RANGES in made.problems
    made.apply(events({LOW: placement(table_id=101, range_id=300)}, 3))
    assert orders(made).ranges[0].range_id == uuid(300)
    assert made.problems == {}


@pytest.mark.parametrize("status", [ResourceStatus.CREATING, ResourceStatus.DELETING])
def test_tables_that_come_or_go_may_lack_ranges(status: ResourceStatus) -> None:
    """Their keys are written and deleted in several transactions."""
    made = fold({"tenant/acme": tenant(), TABLE_KEY: table(status=status)})
    assert orders(made).status is status
    assert made.problems == {}


def test_order_of_a_table_s_keys_does_not_matter() -> None:
    """Keys of one table come from several transactions, and listings come in parts."""
    parts = list(whole_table().items())
    expected = [(key, value) for key, (value, _) in shown(fold(whole_table()).view).items()]
    for order in (parts, parts[::-1]):
        made = fold(*({key: value} for key, value in order))
        assert [(key, value) for key, (value, _) in shown(made.view).items()] == expected
        assert made.problems == {}


def test_table_of_no_tenant_is_not_found() -> None:
    """A tenant that was deleted is served no more, though its tables' keys go later."""
    made = fold(whole_table(), {"tenant/acme": None})
    assert made.view.tenant("acme") is None
    assert made.view.table("acme", "orders") is None
    made.apply(events({"tenant/acme": tenant()}, 3))
    assert orders(made).ranges


def test_listing_brings_only_what_is_newer() -> None:
    """A resync of 100,000 tables decodes those that changed."""
    made = fold(whole_table(), SPLIT)
    kvs = [
        key_value("tenant/acme", tenant(), 1),
        key_value(TABLE_KEY, table(), 1),
        key_value(LOW, SPLIT[LOW], 2),
        key_value(MIDDLE, SPLIT[MIDDLE], 3),
        key_value("table/acme/letters", table(definition(name="letters")), 1),
    ]
    assert [event.key for event in made.newer(kvs)] == [MIDDLE, "table/acme/letters"]


def test_every_key_is_known_for_a_resync() -> None:
    """What is withheld or malformed is also gone when the listing lacks it."""
    made = fold(whole_table(), {MIDDLE: placement()}, {"table/acme/letters": b"?"})
    assert set(made.known_keys()) == {*whole_table(), MIDDLE, "table/acme/letters"}


def test_scopes_leave_out_what_a_role_does_not_need() -> None:
    """A proxy of a large cluster keeps no node's list of tables."""
    held = keys.NodeRangesPath(NODES[0], "acme", "orders")
    assert not routing(held)
    assert not routing(keys.NoticePath(NODES[0], 1))
    assert routing(keys.RangePath("acme", "orders", 0))
    assert routing_and(NODES[0])(held)
    assert not routing_and(NODES[1])(held)
    made = Fold(scope=routing)
    assert made.apply(events({held.path: b"malformed, and nobody's business"}, 1)) == []
    assert made.problems == {}


def test_control_marks_stand_beside_what_is_routed_by() -> None:
    """Whose the coordinator is and how far control published is known, and changes no table."""
    marks = {
        "control/plane": values.encode(values.Plane(control_plane=uuid(3), recoveries=2)),
        "control/published": values.encode(values.Published(sequence=7)),
    }
    made = fold(whole_table(), marks)
    assert shown(made.view) == shown(fold(whole_table()).view) | {
        key: (value, 2) for key, value in marks.items()
    }
    assert (made.ignored_keys, made.problems) == (0, {})
    broken = fold({"control/published": b'{"sequence":-1}'})
    assert list(broken.problems) == ["control/published"]
