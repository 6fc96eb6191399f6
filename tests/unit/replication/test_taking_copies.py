"""A replica is emptied for a copy only on the word of a primary that does not count on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from dstore.model.errors import Corrupt, Unavailable
from dstore.replication import placements
from dstore.replication.placements import Placed
from dstore.replication.replica_calls import BeginCopy
from dstore.replication.surroundings import Surroundings
from dstore.replication.taking_copies import CopyTaker
from dstore.storage.log_records import LogPoint, Standing
from dstore.topology.coordinator import Revision
from dstore.topology.keyspace import RangePath
from dstore.topology.values import RangePlacement
from tests.support.replicas import DISK, learner, placement, replica
from tests.support.topology import uuid

ME, PRIMARY = 2, 1
EPOCH = 4
FOUND = LogPoint(seq=5, digest=b"5" * 32)
COUNTS = placement(replica(PRIMARY), replica(ME), epoch=EPOCH)
LEARNS = placement(replica(PRIMARY), learner(ME), epoch=EPOCH)
BEGIN = BeginCopy(
    range_id=COUNTS.range_id,
    epoch=EPOCH,
    primary=uuid(PRIMARY),
    incarnation=uuid(DISK),
    number=1,
    found=FOUND,
)


class _Replica:
    """A replica whose log ends at FOUND; `emptied` counts the steps."""

    range_id = COUNTS.range_id
    is_damaged = False

    def __init__(self) -> None:
        path = RangePath("acme", "orders", 0)
        self.placed: Placed | None = Placed(path=path, value=LEARNS, revision=Revision(1))
        self.emptied = 0

    async def look(self) -> Standing:
        return Standing(promised_epoch=EPOCH, epoch=EPOCH, end=FOUND, applied_seq=5, history=())

    async def alter(self, work: Any) -> Any:
        del work
        self.emptied += 1
        return False


def _taker(replica: _Replica) -> CopyTaker:
    async def renew(_range_id: str, *, promised_epoch: int) -> None:
        del promised_epoch
        replica.emptied += 1

    files = SimpleNamespace(begins_anew=lambda _range_id: None, renew=renew)
    around = SimpleNamespace(node=uuid(ME), coordinator=None, files=files)
    return CopyTaker(replica, cast("Surroundings", around))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[RangePlacement | None]:
    """Give the range's value as the coordinator has it, the last of the list."""
    values: list[RangePlacement | None] = [LEARNS]

    async def read(_coordinator: Any, path: RangePath) -> Placed | None:
        value = values[-1]
        return None if value is None else Placed(path=path, value=value, revision=Revision(9))

    monkeypatch.setattr(placements, "read", read)
    return values


async def test_a_message_that_comes_late_empties_nobody() -> None:
    """The log has gone on since, so the replica has learned, and may count by now."""
    replica = _Replica()
    late = msgspec.structs.replace(BEGIN, found=LogPoint(seq=4, digest=b"4" * 32))
    with pytest.raises(Unavailable):
        await _taker(replica).make_room(late)
    assert replica.emptied == 0
    assert await _taker(replica).make_room(BEGIN)
    assert replica.emptied == 2


@pytest.mark.parametrize(
    "value",
    [
        COUNTS,
        msgspec.structs.replace(LEARNS, epoch=EPOCH + 1),
        msgspec.structs.replace(LEARNS, range_id=uuid(999)),
        None,
    ],
)
async def test_of_what_is_wrong_the_coordinator_is_asked(
    shown: list[RangePlacement | None], value: RangePlacement | None
) -> None:
    """Where a log ends tells nothing of rows that are wrong, nor of a file that is ruined."""
    replica = _Replica()
    wrong = msgspec.structs.replace(BEGIN, is_wrong=True)
    shown.append(value)
    with pytest.raises(Unavailable):
        await _taker(replica).make_room(wrong)
    with pytest.raises(Unavailable):
        await _taker(replica).begin_anew(BEGIN)
    assert replica.emptied == 0
    shown.append(LEARNS)
    assert await _taker(replica).make_room(wrong)
    await _taker(replica).begin_anew(BEGIN)
    assert replica.emptied == 3


async def test_a_file_that_took_no_piece_is_made_anew() -> None:
    """It is said at once: else the same copy would be made again and again, and never be whole."""
    replica = _Replica()
    taker = _taker(replica)
    taker._is_ruined = True
    with pytest.raises(Corrupt):
        await taker.make_room(BEGIN)
