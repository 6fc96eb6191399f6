"""A join token admits one component, whoever asks at the same time."""

from __future__ import annotations

import asyncio

import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.storage.control import join_tokens
from dstore.storage.control.components import NODES
from dstore.storage.control.records import JoinTokenId
from dstore.storage.control.store import ControlStore
from tests.contract.control_store.conftest import Site
from tests.support import control_records as made
from tests.support.control_records import NOW_US

TOKEN = JoinTokenId("token-1")


async def _join(store: ControlStore, name: str, *, now_us: int = NOW_US) -> str | None:
    """Join as `name`. Returns: the UUID that the token admitted."""
    async with store.transaction() as tx:
        token = await join_tokens.use(tx, TOKEN, by=name, public_key=f"key-{name}", now_us=now_us)
        if token.used_by == name:
            await NODES.insert(tx, made.node(name))
    return token.used_by


async def test_of_twenty_that_race_one_is_admitted(site: Site) -> None:
    """Two controls, twenty components, one token: exactly one joins, the others hear why not."""
    stores = [await site.open(), await site.open()]
    async with stores[0].transaction() as tx:
        await join_tokens.insert(tx, made.join_token())
    joined = await asyncio.gather(
        *(_join(stores[number % 2], f"node-{number}") for number in range(20)),
        return_exceptions=True,
    )
    winners = [each for each in joined if isinstance(each, str)]
    losers = [each for each in joined if isinstance(each, Refused)]
    assert (len(winners), len(losers)) == (1, 19)
    assert {each.kind for each in losers} == {RefusalKind.UNAUTHENTICATED}
    async with stores[1].snapshot() as tx:
        assert [each.uuid for each in (await NODES.page(tx)).records] == winners


async def test_the_same_key_may_ask_again(store: ControlStore) -> None:
    """The answer to the first request may be lost; it is given again, under the first UUID."""
    async with store.transaction() as tx:
        await join_tokens.insert(tx, made.join_token())
        await join_tokens.use(tx, TOKEN, by="first", public_key="mine", now_us=NOW_US + 1)
        again = await join_tokens.use(tx, TOKEN, by="second", public_key="mine", now_us=NOW_US + 2)
        assert (again.used_by, again.used_at_us) == ("first", NOW_US + 1)
        with pytest.raises(Refused, match="was used already"):
            await join_tokens.use(tx, TOKEN, by="third", public_key="theirs", now_us=NOW_US + 3)


async def test_a_token_ends_with_its_time(store: ControlStore) -> None:
    """Expired means expired: unused, or used and asked again by its own key."""
    async with store.transaction() as tx:
        await join_tokens.insert(tx, made.join_token(lives_us=10))
        with pytest.raises(Refused, match="is expired"):
            await join_tokens.use(tx, TOKEN, by="a", public_key="mine", now_us=NOW_US + 10)
        await join_tokens.use(tx, TOKEN, by="a", public_key="mine", now_us=NOW_US + 9)
        with pytest.raises(Refused, match="was used already"):
            await join_tokens.use(tx, TOKEN, by="b", public_key="mine", now_us=NOW_US + 10)


async def test_an_admission_that_fails_leaves_the_token(store: ControlStore) -> None:
    """Token and component are one transaction: nobody is left without both."""
    async with store.transaction() as tx:
        await join_tokens.insert(tx, made.join_token())
        await NODES.insert(tx, made.node("taken"))
    with pytest.raises(Refused):
        await _join(store, "taken")
    assert await _join(store, "fresh") == "fresh"


async def test_revoked_and_forgotten_tokens_admit_nobody(store: ControlStore) -> None:
    """What is not there says no more than that."""
    async with store.transaction() as tx:
        for name in ("token-1", "token-2"):
            await join_tokens.insert(tx, made.join_token(name))
        await join_tokens.insert(tx, made.join_token("old", lives_us=1))
        assert await join_tokens.delete(tx, TOKEN)
        assert not await join_tokens.delete(tx, TOKEN)
        assert await join_tokens.forget_expired(tx, before_us=NOW_US + 2) == 1
        with pytest.raises(Refused, match="revoked"):
            await join_tokens.use(tx, TOKEN, by="a", public_key="k", now_us=NOW_US)
        assert [each.id for each in (await join_tokens.page(tx)).records] == ["token-2"]
