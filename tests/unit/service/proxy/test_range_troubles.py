"""What a proxy says of a table by what the topology shows of its ranges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from dstore.model.index_rows import IndexSize
from dstore.service.directory import RangeTrouble
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.topology.status import TopologyState
from dstore.topology.values import HeldIndex, RangePlacement, RangeState
from tests.support.replicas import DISK, learner, placement, range_view, replica

THREE = placement(replica(1), replica(2), replica(3))
SHORT = placement(replica(1), replica(2), learner(3))
LOST = replace(THREE, state=RangeState.POSSIBLE_LOSS)
DISKS = {1: DISK, 2: DISK, 3: DISK}


def _directory(view: object) -> ViewDirectory:
    watcher: Any = SimpleNamespace(
        view=view, status=lambda: SimpleNamespace(state=TopologyState.LIVE)
    )
    return ViewDirectory(watcher)


@pytest.mark.parametrize(
    ("value", "dead", "trouble"),
    [
        (THREE, (), None),
        (THREE, (3,), RangeTrouble.UNDER_REPLICATED),
        (SHORT, (), RangeTrouble.UNDER_REPLICATED),
        (LOST, (3,), RangeTrouble.POSSIBLE_LOSS),
        (LOST, (2, 3), RangeTrouble.READ_ONLY),
        (THREE, (1,), RangeTrouble.UNAVAILABLE),
    ],
)
def test_a_range_is_named_with_its_worst_trouble(
    value: RangePlacement, dead: tuple[int, ...], trouble: RangeTrouble | None
) -> None:
    """Who can't use a range is not told that it is short of copies."""
    directory = _directory(range_view(value, DISKS, dead=dead))
    found = directory.troubles(directory.table("acme", "orders"))
    assert [each.trouble for each in found] == ([] if trouble is None else [trouble])
    assert [each.range_id for each in found] == [value.range_id] * len(found)


def test_what_local_indexes_have_is_as_the_primary_says() -> None:
    """Each replica says it of the same entries: one of them counts."""
    told = (HeldIndex(name="by-day", entries=7, stored_bytes=210),)
    directory = _directory(range_view(THREE, DISKS, local_indexes=told))
    sizes = directory.index_sizes(directory.table("acme", "orders"))
    assert sizes == {"by-day": IndexSize(7, 210)}
