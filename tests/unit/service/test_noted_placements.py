"""Ranges' values that a node has noted, on its disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dstore.model.errors import NotMine
from dstore.storage.placement_records import NotedPlacement
from tests.unit.service.nodes import a_node
from tests.unit.service.test_range_duties import DEFINITION, LEFT, RIGHT, TENANT, TENANT_ID


def _noted(epoch: int, revision: int, *, range_id: str = LEFT.range_id) -> NotedPlacement:
    return NotedPlacement(
        range_id=range_id,
        value=f"{epoch}, {revision}".encode(),
        epoch=epoch,
        revision=revision,
    )


async def test_the_newest_stays_across_restarts(tmp_path: Path) -> None:
    """Of an epoch the later revision, and never an older epoch; gone with the range."""
    data = tmp_path / "data"
    async with a_node(data) as node:
        await node.duties.ensure_tenant(TENANT, tenant_id=TENANT_ID)
        for ref in (LEFT, RIGHT):
            await node.duties.ensure_range(DEFINITION, ref)
        held = node.holdings
        for noted in (_noted(3, 9), _noted(3, 12), _noted(3, 10), _noted(2, 40)):
            await held.note_placements([noted])
        await held.note_placements([_noted(1, 1, range_id="5a0e0000-0000-4000-8000-000000000009")])
    async with a_node(data) as node:
        held = node.holdings
        assert [held.ranges[ref.range_id].is_noted for ref in (LEFT, RIGHT)] == [True, False]
        found = await held.noted_placements([LEFT.range_id, RIGHT.range_id, "another"])
        assert found == {
            LEFT.range_id: _noted(3, 12),
            RIGHT.range_id: NotedPlacement(
                range_id=RIGHT.range_id, value=None, epoch=0, revision=0
            ),
        }
        assert (await held.standing(LEFT.range_id)).promised_epoch >= 0
        await node.duties.drop_range(LEFT.range_id)
        assert await held.noted_placements([LEFT.range_id]) == {}
        with pytest.raises(NotMine):
            await held.standing(LEFT.range_id)
