"""Who is kept out, and who is told of it when there are more than others are told of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.security.identity import ComponentRole, Identity
from dstore.service.control import roster as roster_module
from dstore.service.control.roster import Roster
from dstore.storage.control.components import NODES, PROXIES
from dstore.storage.control.opening import open_store
from dstore.storage.control.records import ComponentState
from dstore.storage.control.store import ControlStore
from tests.support import control_records
from tests.support.topology import uuid


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    """Open a store in which one proxy and then four nodes were removed."""

    def failed(error: BaseException) -> None:
        raise error

    opened = await open_store(
        f"sqlite:{tmp_path / 'control.db'}", directory=tmp_path, on_fatal=failed
    )
    now_us = SystemClock().wall_us()
    async with opened.transaction() as tx:
        await PROXIES.insert(tx, control_records.proxy(uuid(40)))
        await PROXIES.set_state(tx, uuid(40), ComponentState.REMOVED, now_us=now_us - 10)
        for number in range(1, 5):
            await NODES.insert(tx, control_records.node(uuid(number)))
            await NODES.set_state(tx, uuid(number), ComponentState.REMOVED, now_us=now_us + number)
    yield opened
    await opened.close()


@pytest.mark.parametrize(("told_max", "nodes"), [(2, 1), (3, 2), (5, 4), (100, 4)])
async def test_everybody_is_barred_and_each_role_is_told_of(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch, told_max: int, nodes: int
) -> None:
    """Many removed nodes hide no removed proxy, and control itself forgets none of either."""
    monkeypatch.setattr(roster_module, "REMOVED_TOLD_MAX", told_max)
    roster = Roster(store, clock=SystemClock())
    told = (await roster.members()).removed
    assert set(told) == {*(uuid(4 - number) for number in range(nodes)), uuid(40)}
    assert len(told) <= told_max
    removed = [(ComponentRole.NODE, uuid(number)) for number in range(1, 5)]
    for role, name in (*removed, (ComponentRole.PROXY, uuid(40))):
        identity = Identity(control_plane=uuid(9), role=role, uuid=name)
        assert roster.barred(identity) is not None, name
    assert roster.barred(Identity(control_plane=uuid(9), role=role, uuid=uuid(41))) is None
