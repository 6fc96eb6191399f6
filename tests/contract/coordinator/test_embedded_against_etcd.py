"""The embedded coordinator is a model of etcd: the same random operations, the same answers.

The simulator trusts the model, so the model is held to the real thing (RELIABILITY.md, 1.3).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from dstore.topology.coordinator import (
    NO_LEASE,
    NO_REVISION,
    Compacted,
    Compare,
    Coordinator,
    CreateRevisionIs,
    Delete,
    Event,
    Events,
    Found,
    Get,
    KeyValue,
    LeaseGone,
    LeaseId,
    Listing,
    ModRevisionIs,
    Operation,
    Progress,
    Put,
    Removed,
    Resync,
    Revision,
    Stored,
    Transaction,
    TransactionResult,
    ValueIs,
)
from tests.contract.coordinator.conftest import embedded
from tests.support.etcd import EtcdServer, coordinator_of

_KEYS = ("a/1", "a/2", "a/2/x", "a/é", "b/1", "b", "c/\U0001f600")
_PREFIXES = ("", "a/", "a/2", "b", "nobody/")
_STEPS = 150
_namespaces = count(1)


class Pair:
    """One coordinator and how its revisions and leases read in the other's terms."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Begin before the first write."""
        self.coordinator = coordinator
        self.base = 0  # etcd is shared, so its revisions begin anywhere
        self.leases: list[LeaseId] = [NO_LEASE]

    def revision(self, relative: int) -> Revision:
        return Revision(self.base + relative) if relative else NO_REVISION

    def plain(self, answer: object) -> object:  # noqa: PLR0911 - one a kind of answer
        """Spell an answer without what is this coordinator's own."""
        match answer:
            case KeyValue():
                return replace(
                    answer,
                    create_revision=Revision(answer.create_revision - self.base),
                    mod_revision=Revision(answer.mod_revision - self.base),
                    lease_id=LeaseId(self.leases.index(answer.lease_id)),
                )
            case Found(kv=kv, revision=revision):
                return ("found", self.plain(kv), revision - self.base)
            case Listing(kvs=kvs, revision=revision):
                return ("listing", [self.plain(kv) for kv in kvs], revision - self.base)
            case Removed(existed=existed, revision=revision):
                return ("removed", existed, revision - self.base)
            case Stored(revision=revision):
                return ("stored", revision - self.base)
            case TransactionResult(succeeded=succeeded, revision=revision, responses=responses):
                replies = [self.plain(response) for response in responses]
                return ("result", succeeded, revision - self.base, replies)
            case Resync(listing=listing):
                return ("resync", self.plain(listing))
            case Events(revision=revision, events=events):
                return ("events", revision - self.base, [self.plain(event) for event in events])
            case Event(key=key, kv=kv):
                return (key, self.plain(kv))
            case int():
                return answer - self.base
            case _:
                return answer


class Driver:
    """Draws operations, and does each on both coordinators."""

    def __init__(self, random: Random, pairs: tuple[Pair, Pair]) -> None:
        """Draw from `random`."""
        self.random = random
        self.pairs = pairs
        self.newest = 0  # the newest relative revision
        self.compacted = 0

    def step(self) -> Callable[[Pair], Awaitable[object]]:
        """Draw one operation; it is the same for whichever coordinator it is done on."""
        draw, key = self.random, self.random.choice(_KEYS)
        prefix, past = draw.choice(_PREFIXES), draw.randint(1, max(self.newest, 1))
        value, lease = draw.randbytes(draw.randint(0, 4)), draw.randrange(len(self.pairs[0].leases))
        transaction = self._transaction()
        steps: list[Callable[[Pair], Awaitable[object]]] = [
            lambda on: on.coordinator.get(key),
            lambda on: on.coordinator.get(key, revision=on.revision(past)),
            lambda on: on.coordinator.list(prefix),
            lambda on: on.coordinator.list(prefix, revision=on.revision(past)),
            lambda on: on.coordinator.put(key, value, lease_id=on.leases[lease]),
            lambda on: on.coordinator.put(key, value, lease_id=on.leases[lease]),
            lambda on: on.coordinator.delete(key),
            lambda on: on.coordinator.commit(transaction(on)),
            lambda on: on.coordinator.commit(transaction(on)),
            _grant,
            lambda on: on.coordinator.revoke(on.leases[lease] or LeaseId(99)),
            lambda on: _kept(on, on.leases[lease] or LeaseId(99)),
        ]
        if draw.random() < 0.03:
            steps = [lambda on: on.coordinator.compact(on.revision(past))]
        return draw.choice(steps)

    def _transaction(self) -> Callable[[Pair], Transaction]:
        draw = self.random
        compares = [self._compare() for _ in range(draw.randint(0, 2))]
        branches = [
            [self._operation(key) for key in draw.sample(_KEYS, draw.randint(0, 4))]
            for _ in range(2)
        ]
        return lambda on: Transaction(
            compares=tuple(compare(on) for compare in compares),
            then=tuple(operation(on) for operation in branches[0]),
            otherwise=tuple(operation(on) for operation in branches[1]),
        )

    def _compare(self) -> Callable[[Pair], Compare]:
        draw, key = self.random, self.random.choice(_KEYS)
        past, value = draw.randint(0, self.newest), draw.randbytes(draw.randint(0, 1))
        kinds: list[Callable[[Pair], Compare]] = [
            lambda on: ModRevisionIs(key=key, revision=on.revision(past)),
            lambda _: ModRevisionIs(key=key, revision=NO_REVISION),
            lambda on: CreateRevisionIs(key=key, revision=on.revision(past)),
            lambda _: CreateRevisionIs(key=key, revision=NO_REVISION),
            lambda _: ValueIs(key=key, value=value),
        ]
        return draw.choice(kinds)

    def _operation(self, key: str) -> Callable[[Pair], Operation]:
        draw = self.random
        value, lease = draw.randbytes(1), draw.randrange(len(self.pairs[0].leases))
        kinds: list[Callable[[Pair], Operation]] = [
            lambda _: Get(key=key),
            lambda on: Put(key=key, value=value, lease_id=on.leases[lease]),
            lambda _: Put(key=key, value=value),
            lambda _: Delete(key=key),
        ]
        return draw.choice(kinds)


async def _grant(on: Pair) -> None:
    on.leases.append((await on.coordinator.grant(600)).lease_id)


async def _kept(on: Pair, lease_id: LeaseId) -> str:
    return f"{await on.coordinator.keep_alive(lease_id)} s"


async def _answer(step: Callable[[Pair], Awaitable[object]], on: Pair) -> object:
    try:
        return on.plain(await step(on))
    except (Compacted, LeaseGone) as error:
        return type(error)


async def _history(pair: Pair, prefix: str, after: int, newest: int) -> list[object]:
    """Watch until the newest revision has passed."""
    seen: list[object] = []
    watch = pair.coordinator.watch(prefix, after_revision=pair.revision(after))
    async with asyncio.timeout(10), aclosing(watch):
        async for batch in watch:
            if not isinstance(batch, Progress):
                seen.append(pair.plain(batch))
            if batch.revision >= pair.revision(newest):
                break
    return seen


@pytest.mark.xdist_group("etcd")
@pytest.mark.parametrize("seed", range(8))
async def test_the_same_operations_have_the_same_answers(
    etcd_server: EtcdServer, seed: int
) -> None:
    """A seed replays its operations; every answer and every watch must agree."""
    real = coordinator_of(etcd_server, namespace=f"d{next(_namespaces)}/")
    async with embedded(None) as model:
        pairs = (Pair(model), Pair(real))
        try:
            for pair in pairs:
                pair.base = await pair.coordinator.put("z", b"") - 1
            driver = Driver(Random(seed), pairs)
            driver.newest = 1
            for number in range(_STEPS):
                step = driver.step()
                answers = [await _answer(step, pair) for pair in pairs]
                assert (number, answers[0]) == (number, answers[1])
                driver.newest = (await model.get("z")).revision - pairs[0].base
            for pair in pairs:  # the last change is under every prefix, so that watches end
                await pair.coordinator.commit(
                    Transaction(then=tuple(Put(key=f"{p}end", value=b"") for p in _PREFIXES))
                )
            for after in {1, driver.newest // 2, driver.newest}:
                for prefix in _PREFIXES:
                    newest = driver.newest + 1
                    histories = [await _history(pair, prefix, after, newest) for pair in pairs]
                    assert (after, prefix, histories[0]) == (after, prefix, histories[1])
        finally:
            await real.close()
