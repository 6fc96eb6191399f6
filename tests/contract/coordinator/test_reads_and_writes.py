"""What every coordinator does with single keys and prefixes."""

import pytest

from dstore.base.limits import (
    COORDINATOR_KEY_BYTES_MAX,
    COORDINATOR_PAGE_KEYS,
    COORDINATOR_REQUEST_BYTES_MAX,
    TRANSACTION_OPERATIONS_MAX,
)
from dstore.topology.coordinator import (
    Compacted,
    Coordinator,
    CoordinatorRefused,
    CoordinatorUnavailable,
    KeyValue,
    Put,
    Revision,
    RolledBack,
    Transaction,
)


async def test_a_put_is_read_back(coordinator: Coordinator) -> None:
    """A key remembers when it was made and when it last was put."""
    first = await coordinator.put("node/1", b"a")
    second = await coordinator.put("node/1", b"\x00\xff")
    found = await coordinator.get("node/1")
    assert second == first + 1
    assert found.revision == second
    assert found.kv == KeyValue(
        key="node/1", value=b"\x00\xff", create_revision=first, mod_revision=second
    )


async def test_a_key_that_was_deleted_is_made_anew(coordinator: Coordinator) -> None:
    """The create revision is what an epoch is, so it must begin anew."""
    await coordinator.put("k", b"a")
    removed = await coordinator.delete("k")
    again = await coordinator.put("k", b"")
    found = await coordinator.get("k")
    assert removed.existed
    assert found.kv == KeyValue(key="k", value=b"", create_revision=again, mod_revision=again)


async def test_deleting_what_is_not_there_changes_nothing(coordinator: Coordinator) -> None:
    """A revision means that something changed."""
    before = await coordinator.put("other", b"")
    removed = await coordinator.delete("k")
    assert (removed.existed, removed.revision) == (False, before)
    assert (await coordinator.get("k")).kv is None


async def test_a_prefix_is_listed_in_order(coordinator: Coordinator) -> None:
    """Keys come by their UTF-8 bytes, and a prefix is text, not a path."""
    for key in ("a/\U0001f600", "a/z", "a/", "a", "b/", "a0", "a/é", "a/b/c"):
        await coordinator.put(key, key.encode())
    listing = await coordinator.list("a/")
    assert [kv.key for kv in listing.kvs] == ["a/", "a/b/c", "a/z", "a/é", "a/\U0001f600"]
    assert [kv.key for kv in (await coordinator.list("")).kvs][:2] == ["a", "a/"]
    assert (await coordinator.list("nobody/")).kvs == ()


async def test_many_keys_are_listed_at_one_revision(coordinator: Coordinator) -> None:
    """A listing is read in pages, which must be of one moment."""
    keys = [f"p/{number:05}" for number in range(2 * COORDINATOR_PAGE_KEYS + 1)]
    for first in range(0, len(keys), TRANSACTION_OPERATIONS_MAX):
        batch = keys[first : first + TRANSACTION_OPERATIONS_MAX]
        await coordinator.commit(Transaction(then=tuple(Put(key=key, value=b"v") for key in batch)))
    listing = await coordinator.list("p/")
    assert [kv.key for kv in listing.kvs] == keys


async def test_the_past_is_read_until_it_is_compacted(coordinator: Coordinator) -> None:
    """A read at a revision shows that moment, or says that it is gone."""
    first = await coordinator.put("k/1", b"old")
    second = await coordinator.put("k/1", b"new")
    third = await coordinator.delete("k/1")
    fourth = await coordinator.put("k/2", b"x")

    old = await coordinator.get("k/1", revision=first)
    assert old.kv is not None
    assert (old.kv.value, old.revision) == (b"old", fourth)
    assert [kv.value for kv in (await coordinator.list("k/", revision=second)).kvs] == [b"new"]
    assert (await coordinator.list("k/", revision=second)).revision == second
    assert (await coordinator.get("k/1", revision=third.revision)).kv is None

    await coordinator.compact(third.revision)
    await coordinator.compact(second)  # a second time is fine
    with pytest.raises(Compacted):
        await coordinator.get("k/1", revision=second)
    with pytest.raises(Compacted):
        await coordinator.list("k/", revision=first)
    assert (await coordinator.get("k/1", revision=third.revision)).kv is None
    assert [kv.key for kv in (await coordinator.list("k/")).kvs] == ["k/2"]


async def test_a_revision_that_is_to_come_was_rolled_back(coordinator: Coordinator) -> None:
    """Who has seen a higher revision talks to a restored coordinator (REPLICATION.md)."""
    revision = await coordinator.put("k", b"")
    later = Revision(revision + 1_000)
    with pytest.raises(RolledBack):
        await coordinator.get("k", revision=later)
    with pytest.raises(RolledBack):
        await coordinator.list("k", revision=later)
    with pytest.raises(RolledBack):
        await coordinator.compact(later)


async def test_bounds_are_refused_before_anything_is_sent(coordinator: Coordinator) -> None:
    """What one coordinator takes, the other takes; the largest of each passes."""
    longest = "k" * COORDINATOR_KEY_BYTES_MAX
    largest = bytes(COORDINATOR_REQUEST_BYTES_MAX - len(longest))
    await coordinator.put(longest, largest)
    found = await coordinator.get(longest)
    assert found.kv is not None
    assert found.kv.value == largest
    for key, value in ((longest + "k", b""), ("", b""), (longest, largest + b"x"), ("\ud800", b"")):
        with pytest.raises(CoordinatorRefused):
            await coordinator.put(key, value)


async def test_a_cluster_has_a_name(coordinator: Coordinator) -> None:
    """It tells a restored or exchanged coordinator from the one that was known."""
    name = await coordinator.cluster_id()
    assert len(name) == 16
    assert int(name, 16) > 0
    assert await coordinator.cluster_id() == name


async def test_nothing_is_answered_after_the_end(coordinator: Coordinator) -> None:
    """A closed coordinator says so at once, and may be closed again."""
    await coordinator.close()
    await coordinator.close()
    with pytest.raises(CoordinatorUnavailable):
        await coordinator.get("k")
    with pytest.raises(CoordinatorUnavailable):
        await coordinator.put("k", b"")
    with pytest.raises(CoordinatorUnavailable):
        coordinator.watch("k")
