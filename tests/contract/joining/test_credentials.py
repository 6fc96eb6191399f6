"""What proxies verify clients with: everything once, then changes; revocations within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.base.clock import US_PER_S
from dstore.base.limits import DAY_S, SIGNING_DAYS_AHEAD, SIGNING_DAYS_BEFORE
from dstore.model.errors import Unavailable
from dstore.model.status import ResourceStatus
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.security.signing_keys import AccessKeyDays, day_of, day_text
from dstore.security.sigv4 import date_key
from dstore.service.calls.key_calls import AskCredentials, BearerGiven, Credentials
from dstore.service.control.key_feed import KeyFeed
from dstore.service.enrolment.credential_reader import CredentialChange, CredentialReader
from dstore.storage.control import credentials, tables, tenants
from dstore.storage.control.records import BearerRecord
from tests.support.joining import Control, control, joined, member
from tests.support.peers import until

SECRET = "wJalrXUtnFEMI-canary"
DIGEST = bytes(range(32))


class Kept:
    """What a proxy has."""

    def __init__(self) -> None:
        self.access_keys: dict[str, AccessKeyDays] = {}
        self.bearers: dict[str, BearerGiven] = {}
        self.through_day = 0
        self.replaced = 0

    def replace(
        self,
        access_keys: Sequence[AccessKeyDays],
        bearers: Sequence[BearerGiven],
        *,
        through_day: int,
    ) -> None:
        self.access_keys = {key.access_key_id: key for key in access_keys}
        self.bearers = {bearer.id: bearer for bearer in bearers}
        self.through_day = through_day
        self.replaced += 1

    def change(self, change: CredentialChange) -> None:
        self.access_keys.update({key.access_key_id: key for key in change.access_keys})
        self.bearers.update({bearer.id: bearer for bearer in change.bearers})
        for key_id in change.revoked_access_keys:
            self.access_keys.pop(key_id, None)
        for bearer_id in change.revoked_bearers:
            self.bearers.pop(bearer_id, None)


class Asked:
    """Control in this process; it may be told to give short pages."""

    def __init__(self, feed: KeyFeed, *, limit: int = 1_000) -> None:
        self.feed = feed
        self.limit = limit
        self.asked: list[AskCredentials] = []

    async def call(self, request: PeerRequest[Credentials], **_named: object) -> Credentials:
        assert isinstance(request, AskCredentials)
        self.asked.append(request)
        return await self.feed.given(
            AskCredentials(state=request.state, after=request.after, limit=self.limit)
        )

    async def close(self) -> None:
        return None


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path / "plane") as running:
        await running.add_table("acme", node=(await joined(tmp_path / "n", running)).component)
        yield running


def reader(feed: KeyFeed, kept: Kept, *, limit: int = 1_000) -> CredentialReader:
    return CredentialReader(Asked(feed, limit=limit), kept)  # type: ignore[arg-type] # one call


def key_id(number: int) -> str:
    return f"DSAK{number:016d}"


async def stale(feed: KeyFeed) -> None:
    """Let the feed look into the store at the next question."""
    feed._read_at_ns = None


async def test_a_revocation_reaches_a_proxy_within_five_seconds(
    at: Control, tmp_path: Path
) -> None:
    """Over the real connection, at the real pace, with a key that was made while it ran."""
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    kept = Kept()
    enrolment = await joined(tmp_path / "proxy", at, role=ComponentRole.PROXY)
    async with member(enrolment) as proxy:
        running = asyncio.get_running_loop().create_task(
            CredentialReader(proxy.control, kept).run()
        )
        await until(lambda: key_id(1) in kept.access_keys)
        await at.add_access_key(key_id(2), tenant="acme", secret=SECRET)
        await until(lambda: key_id(2) in kept.access_keys)
        await at.revoke_access_key(key_id(1))
        began = monotonic()
        await until(lambda: key_id(1) not in kept.access_keys)
        assert monotonic() - began < 5
        assert kept.replaced == 1
        running.cancel()


async def test_keys_of_single_days_travel_and_the_secret_does_not(at: Control) -> None:
    """A proxy can verify from a week back to three days ahead, and never learns the secret."""
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    given_ = await at.feed.given(AskCredentials())
    (key,) = given_.access_keys
    today = day_of(at.clock.wall_us())
    days = key.days()
    assert (days.first_day, days.last_day) == (
        today - SIGNING_DAYS_BEFORE,
        today + SIGNING_DAYS_AHEAD,
    )
    assert days.key_of(today) == date_key(SECRET, day_text(today))
    assert days.tenant == "acme"
    assert given_.through_day == today + SIGNING_DAYS_AHEAD
    assert SECRET.encode() not in key.keys
    assert "canary" not in repr(given_)
    assert repr(key.keys) not in repr(given_)


async def test_tokens_come_as_digests_the_operators_too(at: Control) -> None:
    """A proxy compares digests; None is the operator's tenant."""
    async with at.plane.store.transaction() as tx:
        for name, tenant in (("tenants", "acme"), ("operators", None)):
            await credentials.insert_bearer(
                tx, BearerRecord(id=name, tenant=tenant, digest=DIGEST, created_at_us=1)
            )
    kept = Kept()
    await reader(at.feed, kept).read()
    assert {one.id: one.tenant for one in kept.bearers.values()} == {
        "tenants": "acme",
        "operators": None,
    }
    async with at.plane.store.transaction() as tx:
        await credentials.delete_bearer(tx, "operators")
    await stale(at.feed)
    again = reader(at.feed, kept)
    await again.read()
    assert set(kept.bearers) == {"tenants"}


async def test_a_new_day_brings_new_keys(at: Control) -> None:
    """At midnight everything is given anew, so that a proxy never runs out of days."""
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    kept = Kept()
    one = reader(at.feed, kept)
    await one.read()
    before = kept.access_keys[key_id(1)]
    at.clock.ahead_us = DAY_S * US_PER_S
    await one.read()
    after = kept.access_keys[key_id(1)]
    assert (after.first_day, kept.through_day) == (
        before.first_day + 1,
        day_of(at.clock.wall_us()) + SIGNING_DAYS_AHEAD,
    )


async def test_credentials_of_a_tenant_that_is_being_deleted_are_void(at: Control) -> None:
    """They end with the decision, not when the last file is gone."""
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    kept = Kept()
    one = reader(at.feed, kept)
    await one.read()
    assert set(kept.access_keys) == {key_id(1)}
    async with at.plane.store.transaction() as tx:
        tenant = await tenants.get(tx, "acme")
        assert tenant is not None
        await tenants.update(tx, replace(tenant, status=ResourceStatus.DELETING))
    await stale(at.feed)
    await one.read()
    assert kept.access_keys == {}


async def test_credentials_name_their_tenant_by_its_uuid(at: Control) -> None:
    """One of the same id in a later tenant of that name is another one, and told as a change."""
    bearer = BearerRecord(id="bearer-1", tenant="acme", digest=DIGEST, created_at_us=1)
    kept = Kept()
    one = reader(at.feed, kept)
    seen = []
    for uuid in (None, str(UUID(int=7))):
        async with at.plane.store.transaction() as tx:
            tenant = await tenants.get(tx, "acme")
            assert tenant is not None
            if uuid is not None:
                for table in (await tables.page(tx, "acme")).records:
                    await tables.delete(tx, table.table_id)
                await tenants.delete(tx, "acme")
                tenant = replace(tenant, uuid=uuid)
                await tenants.insert(tx, tenant)
            await credentials.insert_bearer(tx, bearer)
        await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
        await stale(at.feed)
        await one.read()
        assert kept.access_keys[key_id(1)].tenant_id == tenant.uuid
        assert kept.bearers["bearer-1"].tenant_id == tenant.uuid
        assert at.feed._contents is not None
        seen.append(at.feed._contents.state)
    assert seen[0] != seen[1]
    assert kept.replaced == 1, "told as a change"


async def test_a_proxy_that_was_elsewhere_meanwhile_is_given_everything(
    at: Control, tmp_path: Path
) -> None:
    """Another control knows no state of this one's, so a revoked key can't survive the change."""
    for number in range(3):
        await at.add_access_key(key_id(number), tenant="acme", secret=SECRET)
    kept = Kept()
    one = reader(at.feed, kept)
    await one.read()
    async with control(tmp_path / "plane", process="second") as second:
        await at.revoke_access_key(key_id(1))
        one._control = Asked(second.feed)  # type: ignore[assignment] # one call
        await one.read()
    assert set(kept.access_keys) == {key_id(0), key_id(2)}
    assert kept.replaced == 2


async def test_a_damaged_secret_keeps_no_other_from_working(at: Control) -> None:
    """It is left out, and said in the log; the rest is given."""
    record = await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    async with at.plane.store.transaction() as tx:
        damaged = replace(record, id=key_id(2))  # sealed for another id
        await credentials.insert_access_key(tx, damaged)
    kept = Kept()
    await reader(at.feed, kept).read()
    assert set(kept.access_keys) == {key_id(1)}


async def test_while_control_is_away_the_last_known_goes_on(at: Control) -> None:
    """Nothing is dropped for silence, and the reader says that it is not fresh."""
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    kept = Kept()
    one = reader(at.feed, kept)
    await one.read()

    class Away:
        async def call(self, *_args: object, **_named: object) -> Credentials:
            raise Unreachable("Control is away.")

    there, one._control = one._control, Away()  # type: ignore[assignment] # one call
    running = asyncio.get_running_loop().create_task(one.run())
    await until(lambda: one.problem == "Control is away.")
    assert set(kept.access_keys) == {key_id(1)}
    one._control = there
    await until(lambda: one.problem == "")
    running.cancel()


async def test_without_its_store_control_vouches_for_nothing(
    at: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't know what another control has revoked; another one may answer."""
    await at.feed.given(AskCredentials())
    await stale(at.feed)

    def away() -> None:
        raise Unreachable("The database is away.")

    monkeypatch.setattr(type(at.plane.store), "snapshot", lambda _self: away())
    with pytest.raises(Unavailable, match="The database is away"):
        await at.feed.given(AskCredentials())


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "revoke", "read", "page"]), st.integers(0, 6)),
    max_size=40,
)


async def test_a_reading_that_is_cut_short_leaves_no_revoked_key(at: Control) -> None:
    """What is asked next begins at what was taken, be it from another control, and not before it.

    The first control has never seen the key that came and went meanwhile, so it can't take it back.
    """
    first, other = KeyFeed(at.plane, clock=at.clock), KeyFeed(at.plane, clock=at.clock)
    kept = Kept()

    class Failing(Asked):
        async def call(self, request: PeerRequest[Credentials], **named: object) -> Credentials:
            if self.asked:
                raise Unreachable("that control ended")
            return await super().call(request, **named)

    one = reader(first, kept)
    await one.read()
    await at.add_access_key(key_id(1), tenant="acme", secret=SECRET)
    one._control = Failing(other)  # type: ignore[assignment] # one call
    with pytest.raises(Unavailable):
        await one.read()
    await at.revoke_access_key(key_id(1))
    one._control = Asked(first)  # type: ignore[assignment] # one call
    await stale(first)
    await one.read()
    await one.read()
    assert kept.access_keys == {}


@pytest.mark.timeout(300)
async def test_whatever_happens_between_two_pages_the_proxy_ends_as_control_is(
    at: Control,
) -> None:
    """Pages of two, changes between any two of them: after a quiet reading both are equal."""

    @settings(max_examples=25, deadline=None)
    @given(steps=STEPS)
    def check(steps: list[tuple[str, int]]) -> None:
        scenarios.append(steps)

    scenarios: list[list[tuple[str, int]]] = []
    check()
    for steps in scenarios:
        await play(at, steps)


async def play(at: Control, steps: list[tuple[str, int]]) -> None:
    """Change the store between the questions of a reader, then let it come to rest."""
    feed, kept = KeyFeed(at.plane, clock=at.clock), Kept()
    pending = list(steps)
    present: set[int] = set()

    async def next_change() -> None:
        while pending:
            what, number = pending.pop(0)
            if what == "add" and number not in present:
                await at.add_access_key(key_id(number), tenant="acme", secret=SECRET)
                present.add(number)
            elif what == "revoke" and number in present:
                await at.revoke_access_key(key_id(number))
                present.discard(number)
            else:
                return

    class Changing(Asked):
        async def call(self, request: PeerRequest[Credentials], **named: object) -> Credentials:
            await next_change()
            await stale(feed)
            return await super().call(request, **named)

    one = CredentialReader(Changing(feed, limit=2), kept)  # type: ignore[arg-type] # one call
    while pending:
        await one.read()
    one._control = Asked(feed)  # type: ignore[assignment] # one call
    await stale(feed)
    await one.read()
    await one.read()
    assert set(kept.access_keys) == {key_id(number) for number in present}
    for number in tuple(present):
        await at.revoke_access_key(key_id(number))
