"""What every coordinator does with keys that live only as long as somebody cares."""

import asyncio
from contextlib import aclosing

import pytest

from dstore.base.limits import LEASE_TTL_S_MAX
from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorRefused,
    Event,
    Events,
    LeaseGone,
    LeaseId,
)

_PATIENCE_S = 15.0


async def test_the_end_of_a_lease_takes_its_keys(coordinator: Coordinator) -> None:
    """All of them go at one revision, and a watch says so."""
    lease = await coordinator.grant(1)
    assert lease.ttl_s >= 1
    for key in ("alive/b", "alive/a"):
        await coordinator.put(key, b"", lease_id=lease.lease_id)
    last = await coordinator.put("alive/stays", b"")
    found = await coordinator.get("alive/a")
    assert found.kv is not None
    assert found.kv.lease_id == lease.lease_id
    async with (
        asyncio.timeout(_PATIENCE_S),
        aclosing(coordinator.watch("alive/", after_revision=last)) as watch,
    ):
        batch = await anext(watch)
    assert isinstance(batch, Events)
    assert batch.events == (Event(key="alive/a", kv=None), Event(key="alive/b", kv=None))
    assert batch.revision == last + 1
    assert [kv.key for kv in (await coordinator.list("alive/")).kvs] == ["alive/stays"]
    with pytest.raises(LeaseGone):
        await coordinator.keep_alive(lease.lease_id)


async def test_a_lease_that_is_kept_alive_goes_on(coordinator: Coordinator) -> None:
    """Its seconds begin anew each time."""
    lease = await coordinator.grant(3)
    await coordinator.put("k", b"", lease_id=lease.lease_id)
    for _ in range(8):
        assert await coordinator.keep_alive(lease.lease_id) == lease.ttl_s
        await asyncio.sleep(0.5)
    assert (await coordinator.get("k")).kv is not None
    await coordinator.revoke(lease.lease_id)


async def test_many_leases_are_kept_alive_at_once(coordinator: Coordinator) -> None:
    """Each answer reaches who asked."""
    leases = [await coordinator.grant(10 + number) for number in range(20)]
    kept = await asyncio.gather(
        *(coordinator.keep_alive(lease.lease_id) for lease in leases * 3),
        coordinator.keep_alive(LeaseId(4_711)),
        return_exceptions=True,
    )
    assert kept[:-1] == [lease.ttl_s for lease in leases * 3]
    assert isinstance(kept[-1], LeaseGone)


async def test_a_revoked_lease_is_gone(coordinator: Coordinator) -> None:
    """Its keys go at once; a second time is fine, a put under it is not."""
    lease = await coordinator.grant(60)
    await coordinator.put("k", b"", lease_id=lease.lease_id)
    await coordinator.revoke(lease.lease_id)
    await coordinator.revoke(lease.lease_id)
    assert (await coordinator.get("k")).kv is None
    with pytest.raises(LeaseGone):
        await coordinator.keep_alive(lease.lease_id)
    with pytest.raises(LeaseGone):
        await coordinator.put("k", b"", lease_id=lease.lease_id)


async def test_a_key_is_under_the_lease_of_its_last_put(coordinator: Coordinator) -> None:
    """A put without a lease, or with another, lets the former go."""
    first, second = await coordinator.grant(60), await coordinator.grant(60)
    for key in ("free", "moved", "stays"):
        await coordinator.put(key, b"", lease_id=first.lease_id)
    await coordinator.put("free", b"")
    await coordinator.put("moved", b"", lease_id=second.lease_id)
    await coordinator.revoke(first.lease_id)
    assert [kv.key for kv in (await coordinator.list("")).kvs] == ["free", "moved"]
    await coordinator.revoke(second.lease_id)
    assert [kv.key for kv in (await coordinator.list("")).kvs] == ["free"]


async def test_a_lease_without_keys_ends_silently(coordinator: Coordinator) -> None:
    """Nothing changed, so the revision stays."""
    revision = await coordinator.put("k", b"")
    lease = await coordinator.grant(60)
    await coordinator.revoke(lease.lease_id)
    assert (await coordinator.get("k")).revision == revision


async def test_bounds_of_a_lease(coordinator: Coordinator) -> None:
    """A lease for ever would keep a dead node alive."""
    for ttl_s in (0, -1, LEASE_TTL_S_MAX + 1):
        with pytest.raises(CoordinatorRefused):
            await coordinator.grant(ttl_s)
