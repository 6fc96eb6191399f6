"""The control plane in its store: made once, opened with the right key only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.security.certificates import read_certificate
from dstore.security.control_key import ControlKey
from dstore.security.keys import Key256
from dstore.service.control.plane import (
    CONTROL_UUID_FILE,
    ControlPlane,
    is_new,
    open_plane,
    own_credentials,
    register_control,
)
from dstore.storage.control import planes
from dstore.storage.control.components import CONTROLS
from dstore.storage.control.opening import open_store
from dstore.storage.control.records import ComponentState
from dstore.storage.control.store import ControlStore

KEY = ControlKey(key=Key256(bytes(range(32))))
CLOCK, ENTROPY = SystemClock(), SystemEntropy()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ControlStore]:
    """Open an empty store."""
    fatal: list[BaseException] = []
    opened = await open_store("sqlite", directory=tmp_path, on_fatal=fatal.append)
    yield opened
    await opened.close()
    assert fatal == []


async def _open(
    store: ControlStore, directory: Path, *, key: ControlKey = KEY, location: str = "NA"
) -> ControlPlane:
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    return await open_plane(
        store, key, directory=directory, location=location, clock=CLOCK, entropy=ENTROPY
    )


async def test_a_plane_is_made_once(store: ControlStore, tmp_path: Path) -> None:
    """A restart finds the same plane and the same process; another process is another one."""
    assert await is_new(store)
    first = await _open(store, tmp_path)
    assert not await is_new(store)
    again, other = await _open(store, tmp_path), await _open(store, tmp_path / "other")
    assert (again.uuid, again.process, again.key) == (first.uuid, first.process, first.key)
    assert (other.uuid, other.key) == (first.uuid, first.key)
    assert other.process != first.process
    assert other.authority.certificate_pem == first.authority.certificate_pem


async def test_two_that_start_at_once_share_one_plane(store: ControlStore, tmp_path: Path) -> None:
    """Both may draw a plane; one row wins, and both take that."""
    planes_made = await asyncio.gather(
        *(_open(store, tmp_path / f"control{number}") for number in range(4))
    )
    assert len({made.uuid for made in planes_made}) == 1
    assert len({made.key for made in planes_made}) == 1
    assert len({made.process for made in planes_made}) == 4


async def test_another_key_is_locked_not_damage(store: ControlStore, tmp_path: Path) -> None:
    """A wrong control key is the operator's to put right; nothing is overwritten."""
    await _open(store, tmp_path)
    with pytest.raises(Unavailable) as caught:
        await _open(store, tmp_path, key=ControlKey(key=Key256(bytes(range(1, 33)))))
    assert caught.value.kind is UnavailableKind.LOCKED
    await _open(store, tmp_path)


async def test_damage_is_said(store: ControlStore, tmp_path: Path) -> None:
    """The right key over flipped bytes: Corrupt, never another plane."""
    await _open(store, tmp_path)
    async with store.transaction() as tx:
        await tx.change("UPDATE control_plane SET sealed_ca_key = $1", b"\x01" + bytes(100))
    with pytest.raises(Corrupt):
        await _open(store, tmp_path)


async def test_a_store_of_another_location_is_refused(store: ControlStore, tmp_path: Path) -> None:
    """RIDs name the location, so it never changes under a store."""
    await _open(store, tmp_path)
    with pytest.raises(Refused, match="NA"):
        await _open(store, tmp_path, location="EU")


async def test_no_key_is_in_clear(store: ControlStore, tmp_path: Path) -> None:
    """Neither the plane's key nor the authority's private key is in the store's file (I4)."""
    plane = await _open(store, tmp_path)
    async with store.snapshot() as tx:
        record = await planes.get(tx)
    assert record is not None
    sealed = record.sealed_keys + record.sealed_ca_key
    assert bytes(plane.key) not in sealed
    assert plane.authority.key_pem[40:80] not in sealed
    assert plane.key.hex() not in repr(plane)


async def test_a_control_certifies_itself(store: ControlStore, tmp_path: Path) -> None:
    """Its credentials are kept over restarts, and made anew when they are of no use."""
    plane = await _open(store, tmp_path)
    made = await own_credentials(plane, tmp_path, clock=CLOCK, entropy=ENTROPY)
    assert read_certificate(made.certificate_pem).identity == plane.identity
    again = await own_credentials(plane, tmp_path, clock=CLOCK, entropy=ENTROPY)
    assert again.certificate_pem == made.certificate_pem
    await asyncio.to_thread((tmp_path / "peer.ca").write_text, "nothing")
    third = await own_credentials(plane, tmp_path, clock=CLOCK, entropy=ENTROPY)
    assert (
        read_certificate(third.certificate_pem).serial
        != read_certificate(made.certificate_pem).serial
    )


async def test_a_removed_control_does_not_come_back(store: ControlStore, tmp_path: Path) -> None:
    """What an operator removed stays removed until its UUID is given up."""
    plane = await _open(store, tmp_path)

    async def register() -> None:
        await register_control(
            plane, uri="https://a:1/", version="1", certificate_serial="0a", now_us=5
        )

    await register()
    await register()
    async with store.transaction() as tx:
        await CONTROLS.set_state(tx, plane.process, ComponentState.REMOVED, now_us=6)
    with pytest.raises(Refused, match=CONTROL_UUID_FILE) as caught:
        await register()
    assert caught.value.kind is RefusalKind.CONFLICT


async def test_a_damaged_uuid_is_not_replaced(store: ControlStore, tmp_path: Path) -> None:
    """A control that lost its name says so instead of taking another one."""
    await _open(store, tmp_path)
    await asyncio.to_thread((tmp_path / CONTROL_UUID_FILE).write_text, "gone")
    with pytest.raises(Corrupt):
        await _open(store, tmp_path)
