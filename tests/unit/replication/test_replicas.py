"""Who may say what to a node's replicas."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.base.tasks import Tasks
from dstore.model.errors import Refused
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


@pytest.mark.parametrize(("call", "request_"), ASKED, ids=lambda one: getattr(one, "name", ""))
async def test_nobody_speaks_for_another_primary(call: Any, request_: Any) -> None:
    """A node that was broken into can't have others' replicas emptied or deposed in their name."""
    unused = cast("Any", None)
    tasks = Tasks(_raise)
    around = Surroundings(
        node=uuid(2),
        incarnation=DISK,
        clock=SystemClock(),
        coordinator=unused,
        peer_of=unused,
        open_file=unused,
        on_serving=unused,
        on_fault=unused,
        files=unused,
        tasks=tasks,
        began_ns=0,
    )
    replicas = Replicas(around)
    replicas.add(RANGE)
    [handler] = [each.handler for each in replicas.answered() if each.call is call]
    caller = Identity(control_plane=uuid(7), role=ComponentRole.NODE, uuid=uuid(3))
    with pytest.raises(Refused, match="own name"):
        await handler(request_, Received(caller, 0, ""))
    await tasks.close()
