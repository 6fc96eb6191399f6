"""Seeds of a range that is split: one task fills those of an attempt, whoever asks and when."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from dstore.base.tasks import Tasks
from dstore.replication import cuts as cuts_module
from dstore.replication.cuts import Cuts
from dstore.replication.placements import Placed
from dstore.replication.split_calls import SOW, Sow, Sown, Split
from dstore.topology.coordinator import Revision
from dstore.topology.keyspace import RangePath
from tests.support.replicas import DISK, placement, replica
from tests.support.topology import uuid

if TYPE_CHECKING:
    import pytest

    from dstore.replication.surroundings import Surroundings

VALUE = placement(replica(1), replica(2), epoch=3)
PRIMARY, RANGE = uuid(1), VALUE.range_id
SPLIT = Split(low_id=uuid(601), high_id=uuid(602), at_hash=1 << 31)


class _Sower:
    """Fills nothing; its time is over as soon as it begins, since nobody asks."""

    made: list[_Sower]

    def __init__(self, parent: Placed, split: Split, *_: Any, **__: Any) -> None:
        self.split, self.epoch, self.level_seq = split, parent.value.epoch, None
        self.runs = 0
        self.made.append(self)

    def touch(self) -> None:
        """Be wanted."""

    async def run(self) -> None:
        """End at once."""
        self.runs += 1


class _Replica:
    """A replica that promises whatever is asked."""

    range_id = RANGE

    def __init__(self, epoch: int) -> None:
        path = RangePath("acme", "orders", 0)
        self.placed = Placed(path=path, value=VALUE, revision=Revision(7))
        self._epoch = epoch

    async def seal(self, _request: Any) -> Any:
        """Say what is promised."""
        return SimpleNamespace(standing=SimpleNamespace(promised_epoch=self._epoch))


async def test_an_attempt_keeps_who_fills_its_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old request may still ripen seeds; so nobody else begins to empty them meanwhile."""
    _Sower.made = []
    monkeypatch.setattr(cuts_module, "Sower", _Sower)
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    around = cast("Surroundings", SimpleNamespace(tasks=tasks, node=uuid(2)))
    found = cast("Any", _Replica(VALUE.epoch))
    cuts = Cuts(around, cast("Any", None), find=lambda _range_id: found)
    sow = next(each.handler for each in cuts.answered() if each.call is SOW)
    request = Sow(
        range_id=RANGE, epoch=VALUE.epoch, primary=PRIMARY, incarnation=uuid(DISK), split=SPLIT
    )
    caller = cast("Any", SimpleNamespace(caller=SimpleNamespace(uuid=PRIMARY)))
    try:
        for _ in range(3):
            assert await sow(request, caller) == Sown(promised_epoch=VALUE.epoch)
            await asyncio.sleep(0.01)
        assert [each.runs for each in _Sower.made] == [3]
        other = Split(low_id=uuid(603), high_id=uuid(604), at_hash=1 << 31)
        again = Sow(
            range_id=RANGE, epoch=VALUE.epoch, primary=PRIMARY, incarnation=uuid(DISK), split=other
        )
        await sow(again, caller)
        assert len(_Sower.made) == 2
    finally:
        await tasks.close()
    assert failures == []
