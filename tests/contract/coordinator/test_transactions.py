"""What every coordinator does with several keys at once."""

import pytest

from dstore.base.limits import TRANSACTION_OPERATIONS_MAX
from dstore.topology.coordinator import (
    NO_REVISION,
    Compare,
    Coordinator,
    CoordinatorRefused,
    CreateRevisionIs,
    Delete,
    Found,
    Get,
    KeyValue,
    LeaseGone,
    LeaseId,
    ModRevisionIs,
    Put,
    Removed,
    Revision,
    Stored,
    Transaction,
    ValueIs,
)


async def test_all_is_written_at_one_revision(coordinator: Coordinator) -> None:
    """Parent and children of a split become visible together."""
    await coordinator.put("old", b"")
    result = await coordinator.commit(
        Transaction(then=(Delete(key="old"), Put(key="a", value=b"1"), Put(key="b", value=b"2")))
    )
    assert result.succeeded
    assert result.responses == (
        Removed(existed=True, revision=result.revision),
        Stored(revision=result.revision),
        Stored(revision=result.revision),
    )
    kvs = (await coordinator.list("")).kvs
    assert [(kv.key, kv.mod_revision) for kv in kvs] == [
        ("a", result.revision),
        ("b", result.revision),
    ]


async def test_compares_choose_the_branch(coordinator: Coordinator) -> None:
    """Every kind of compare, true and false, of a key that is there and of one that is not."""
    created = await coordinator.put("k", b"a")
    changed = await coordinator.put("k", b"b")
    cases: list[tuple[Compare, bool]] = [
        (ModRevisionIs(key="k", revision=changed), True),
        (ModRevisionIs(key="k", revision=created), False),
        (ModRevisionIs(key="k", revision=NO_REVISION), False),
        (ModRevisionIs(key="none", revision=NO_REVISION), True),
        (ModRevisionIs(key="none", revision=Revision(1)), False),
        (CreateRevisionIs(key="k", revision=created), True),
        (CreateRevisionIs(key="k", revision=changed), False),
        (CreateRevisionIs(key="none", revision=NO_REVISION), True),
        (ValueIs(key="k", value=b"b"), True),
        (ValueIs(key="k", value=b"a"), False),
        (ValueIs(key="none", value=b""), False),
    ]
    for compare, expected in cases:
        result = await coordinator.commit(Transaction(compares=(compare,)))
        assert (compare, result.succeeded) == (compare, expected)
        assert result.revision == changed
    every = Transaction(
        compares=(cases[0][0], cases[1][0]),
        then=(Put(key="k", value=b"no"),),
        otherwise=(Get(key="k"),),
    )
    result = await coordinator.commit(every)
    kv = KeyValue(key="k", value=b"b", create_revision=created, mod_revision=changed)
    assert not result.succeeded
    assert result.responses == (Found(kv=kv, revision=changed),)


async def test_a_read_sees_what_was_written_before_it(coordinator: Coordinator) -> None:
    """Operations are done in their order."""
    first = await coordinator.put("k", b"a")
    result = await coordinator.commit(
        Transaction(
            then=(
                Get(key="k"),
                Put(key="k", value=b"b"),
                Get(key="k"),
                Get(key="none"),
                Delete(key="none"),
            )
        )
    )
    before, _, after, none, removed = result.responses
    assert isinstance(before, Found)
    assert isinstance(after, Found)
    assert before.kv == KeyValue(key="k", value=b"a", create_revision=first, mod_revision=first)
    assert after.kv == KeyValue(
        key="k", value=b"b", create_revision=first, mod_revision=result.revision
    )
    assert none == Found(kv=None, revision=result.revision)
    assert removed == Removed(existed=False, revision=result.revision)


async def test_one_of_two_swaps_wins(coordinator: Coordinator) -> None:
    """Compare-and-swap on what was captured before acting is what decides everything (B5)."""
    revision = await coordinator.put("range", b"primary a")
    captured = ModRevisionIs(key="range", revision=revision)
    results = [
        await coordinator.commit(
            Transaction(compares=(captured,), then=(Put(key="range", value=name),))
        )
        for name in (b"primary b", b"primary c")
    ]
    assert [result.succeeded for result in results] == [True, False]


async def test_a_lease_that_is_gone_stops_the_whole_transaction(coordinator: Coordinator) -> None:
    """Nothing of it is written; a lease in the branch that is not taken does not matter."""
    revision = await coordinator.put("other", b"")
    gone = Put(key="k", value=b"", lease_id=LeaseId(12_345))
    with pytest.raises(LeaseGone):
        await coordinator.commit(Transaction(then=(Put(key="a", value=b""), gone)))
    assert (await coordinator.get("a")).revision == revision
    result = await coordinator.commit(
        Transaction(then=(Put(key="a", value=b""),), otherwise=(gone,))
    )
    assert result.revision == revision + 1


async def test_bounds_of_a_transaction(coordinator: Coordinator) -> None:
    """The largest passes; one more, or a key written twice, is refused."""
    puts = tuple(
        Put(key=f"k{number}", value=b"v") for number in range(TRANSACTION_OPERATIONS_MAX + 1)
    )
    compares = tuple(ModRevisionIs(key=put.key, revision=NO_REVISION) for put in puts)
    largest = Transaction(compares=compares[:-1], then=puts[:-1], otherwise=puts[:-1])
    assert (await coordinator.commit(largest)).succeeded
    for refused in (
        Transaction(then=puts),
        Transaction(otherwise=puts),
        Transaction(compares=compares),
        Transaction(then=(puts[0], puts[0])),
        Transaction(then=(puts[0], Delete(key=puts[0].key))),
        Transaction(then=tuple(Put(key=f"k{n}", value=bytes(400_000)) for n in range(3))),
        Transaction(then=(Get(key=""),)),
    ):
        with pytest.raises(CoordinatorRefused):
            await coordinator.commit(refused)
