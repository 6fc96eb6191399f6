"""Who may say what to a node's replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine, Refused, Unavailable, UnavailableKind
from dstore.replication.leases import LEASE_NS
from dstore.replication.peers.port import Received
from dstore.replication.replica_calls import (
    APPEND_RECORDS,
    BEGIN_COPY,
    FETCH_RECORDS,
    SEAL_REPLICA,
    TAKE_COPY,
    TAKE_OVER,
    AppendRecords,
    BeginCopy,
    FetchRecords,
    SealReplica,
    TakeCopy,
    TakeOver,
)
from dstore.replication.replicas import Replicas
from dstore.replication.surroundings import Surroundings
from dstore.security.identity import ComponentRole, Identity
from dstore.storage.log_records import LogPoint
from dstore.storage.replica_copy import CopyPage
from tests.support.topology import uuid

RANGE, PRIMARY, DISK = uuid(500), uuid(1), uuid(900)
OF: dict[str, Any] = {"range_id": RANGE, "epoch": 1, "primary": PRIMARY, "incarnation": DISK}
POINT = LogPoint(seq=0, digest=bytes(32))
ASKED = [
    (APPEND_RECORDS, AppendRecords(**OF, after=POINT, records=(), committed_seq=0)),
    (SEAL_REPLICA, SealReplica(**OF)),
    (FETCH_RECORDS, FetchRecords(**OF, after=POINT)),
    (BEGIN_COPY, BeginCopy(**OF, number=1, found=POINT)),
    (TAKE_COPY, TakeCopy(**OF, number=1, index=0, page=CopyPage((), (), bytes(32)))),
    (TAKE_OVER, TakeOver(**OF, value=b"", revision=1)),
]


def _raise(error: BaseException) -> None:
    raise error


class SetClock(SystemClock):
    """Tells what it is told to tell."""

    now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


async def _unreadable(_range_id: str) -> Any:
    raise Unavailable(UnavailableKind.OVERLOADED, "not now")


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    """Give what the replicas of node 2 need; it began long ago, and its files can't be read."""
    unused = cast("Any", None)
    tasks, clock = Tasks(_raise), SetClock()
    clock.now_ns = 100 * LEASE_NS
    yield Surroundings(
        node=uuid(2),
        incarnation=DISK,
        clock=clock,
        coordinator=unused,
        peer_of=unused,
        open_file=_unreadable,
        on_serving=lambda *_: None,
        on_fault=unused,
        files=unused,
        tasks=tasks,
        began_ns=0,
    )
    await tasks.close()


@pytest.mark.parametrize(("call", "request_"), ASKED[:-1], ids=lambda one: getattr(one, "name", ""))
async def test_who_is_about_to_go_answers_nobody(
    around: Surroundings, call: Any, request_: Any
) -> None:
    """Whoever was answered would count on it, and it is deleted on what was read behind this."""
    replicas = Replicas(around)
    replica = replicas.add(RANGE)
    [handler] = [each.handler for each in replicas.answered() if each.call is call]
    caller = Identity(control_plane=uuid(7), role=ComponentRole.NODE, uuid=PRIMARY)
    replica.leave()
    with pytest.raises(NotMine):
        await handler(request_, Received(caller, 0, ""))
    replica.stay()
    with pytest.raises(Unavailable, match="not now"):
        await handler(request_, Received(caller, 0, ""))


async def test_a_promise_outlives_a_replica(around: Surroundings) -> None:
    """A range that is taken away and comes back at once may have promised somebody a moment ago."""
    replicas = Replicas(around)
    assert not replicas.add(RANGE).has_promised, "the process began long ago"
    replicas.remove(RANGE)
    assert replicas.add(RANGE).has_promised
    replicas.remove(RANGE)
    cast("SetClock", around.clock).now_ns += LEASE_NS
    assert not replicas.add(RANGE).has_promised


@pytest.mark.parametrize(("call", "request_"), ASKED, ids=lambda one: getattr(one, "name", ""))
async def test_nobody_speaks_for_another_primary(
    around: Surroundings, call: Any, request_: Any
) -> None:
    """A node that was broken into can't have others' replicas emptied or deposed in their name."""
    replicas = Replicas(around)
    replicas.add(RANGE)
    [handler] = [each.handler for each in replicas.answered() if each.call is call]
    caller = Identity(control_plane=uuid(7), role=ComponentRole.NODE, uuid=uuid(3))
    with pytest.raises(Refused, match="own name"):
        await handler(request_, Received(caller, 0, ""))
