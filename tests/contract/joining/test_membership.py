"""Those that have joined: renewal without a restart, removal, shares, and control being away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from dstore.base.clock import US_PER_S
from dstore.base.limits import CERTIFICATE_LIFE_S, CONTROLS_MAX
from dstore.base.metrics import create_metrics
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.replication.peers.errors import Unreachable
from dstore.security.certificates import new_key_and_request
from dstore.security.identity import CertificateRefused, ComponentRole, Identity, needs_renewal
from dstore.security.tls import TlsContexts
from dstore.service.calls.key_calls import (
    AskComponentKey,
    AskCredentials,
    AskTenantShares,
    Renewed,
)
from dstore.service.control.membership import find
from dstore.service.enrolment import membership as membership_module
from dstore.service.enrolment.membership import Membership
from dstore.service.enrolment.records import Enrolment, load_enrolments
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import ComponentState
from tests.support import control_records as records
from tests.support.joining import (
    ENTROPY,
    Control,
    SetClock,
    component_share,
    control,
    joined,
    member,
)
from tests.support.peers import until

DAY_US = 24 * 3_600 * US_PER_S


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path / "plane") as running:
        yield running


@pytest.fixture
async def node(at: Control, tmp_path: Path) -> AsyncIterator[Membership]:
    async with member(await joined(tmp_path / "node", at)) as opened:
        yield opened


async def remove(at: Control, enrolment: Enrolment) -> None:
    """Remove a component as an operator does."""
    which = NODES if enrolment.role is ComponentRole.NODE else PROXIES
    async with at.plane.store.transaction() as tx:
        await which.set_state(
            tx, enrolment.component, ComponentState.REMOVED, now_us=at.clock.wall_us()
        )


async def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    """At two thirds of its life a fresh key is certified, stored, shown; calls go on."""
    # TLS goes by the machine's clock, which no test sets: so it all begins five days ago.
    clock = SetClock(-5 * DAY_US)
    redialled: list[str] = []
    async with AsyncExitStack() as stack:
        at = await stack.enter_async_context(control(tmp_path / "plane", clock=clock))
        enrolment = await joined(tmp_path / "node", at, clock=clock)
        node = await stack.enter_async_context(member(enrolment, clock=clock))
        before = node.tls.certificate
        node.on_renewed(lambda: redialled.append("peers"))
        await component_share(node)
        clock.ahead_us = 0
        assert needs_renewal(before, now_us=clock.wall_us())
        stack.callback(asyncio.get_running_loop().create_task(node.run()).cancel)
        await until(lambda: redialled == ["peers"])
        assert node.tls.certificate.serial != before.serial
        assert node.tls.certificate.not_after_us > before.not_after_us
        await component_share(node)
        async with at.plane.store.snapshot() as tx:
            known = await find(tx, enrolment.identity)
        assert known is not None
        assert known.certificate_serial == node.tls.certificate.serial
        assert TlsContexts(enrolment.directory).certificate == node.tls.certificate
    assert redialled == ["peers"]


async def test_a_renewal_that_fails_leaves_what_was(
    node: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a wrong answer: the former certificate goes on, on the disk and in memory."""
    before = node.tls.certificate

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(membership_module, "store_credentials", full)
        with pytest.raises(OSError, match="No space"):
            await node.renew()
    stranger = new_key_and_request(ENTROPY)

    async def wrong(*_args: object, **_named: object) -> Renewed:
        return Renewed(
            certificate_pem=(node.enrolment.directory / "peer.ca").read_bytes(),
            authorities_pem=stranger.request_pem,
        )

    with monkeypatch.context() as patched:
        patched.setattr(node.control, "call", wrong)
        with pytest.raises(CertificateRefused):
            await node.renew()
    assert node.tls.certificate == before
    assert TlsContexts(node.enrolment.directory).certificate == before
    await component_share(node)


async def test_a_component_can_be_certified_as_itself_only(at: Control, node: Membership) -> None:
    """The identity comes from the caller's certificate; the request has no say in it."""
    await node.renew()
    assert node.tls.certificate.identity == node.identity
    stranger = Identity(control_plane=at.plane.uuid, role=ComponentRole.NODE, uuid=ENTROPY.uuid())
    with pytest.raises(Refused, match="is not known to this control plane"):
        await at.memberships.renew(stranger, new_key_and_request(ENTROPY).request_pem)


async def test_who_was_removed_is_not_admitted_and_its_connections_end(
    at: Control, tmp_path: Path
) -> None:
    """Within seconds: the open connection, a new one, each call; the certificate lives on."""
    enrolment = await joined(tmp_path / "node", at)
    other = await joined(tmp_path / "other", at, role=ComponentRole.PROXY)
    async with member(enrolment) as node, member(other) as proxy:
        await component_share(node)
        await component_share(proxy)
        peer = node.control._peers[at.url]
        assert peer.state.is_connected  # type: ignore[attr-defined] # RemotePeer's
        await remove(at, enrolment)
        await until(lambda: not peer.state.is_connected)  # type: ignore[attr-defined] # the same
        with pytest.raises(Refused, match=r"^This node was removed from its control plane") as said:
            await node.control.call(AskComponentKey(), deadline_s=5.0)
        assert said.value.kind is RefusalKind.FORBIDDEN
        with pytest.raises(Refused, match="was removed"):
            await node.run()
        with pytest.raises(Refused, match="was removed"):
            await Membership.open(enrolment, clock=SetClock(), entropy=ENTROPY)
        await component_share(proxy)
        # What listens elsewhere hears it from its own membership.
        running = asyncio.get_running_loop().create_task(proxy.run())
        try:
            await until(lambda: proxy.barred(enrolment.identity) is not None)
        finally:
            running.cancel()
        assert proxy.barred(other.identity) is None


async def test_a_removed_component_is_refused_before_its_connection_ends(
    at: Control, node: Membership
) -> None:
    """In the second until then no key is handed out: each call looks into the store."""
    await component_share(node)
    at.roster._removed = frozenset()
    await remove(at, node.enrolment)
    for call in (
        component_share(node),
        node.renew(),
        node.control.call(AskTenantShares(("acme",)), deadline_s=2.0),
    ):
        with pytest.raises((Refused, Unreachable), match="was removed"):
            await call


async def test_a_certificate_of_another_control_plane_is_refused(
    at: Control, tmp_path: Path
) -> None:
    """A foreign authority's certificate ends at the handshake, on both sides with a sentence."""
    async with control(tmp_path / "other") as other:
        enrolment = await joined(tmp_path / "stranger", other)
        async with member(enrolment) as stranger:
            stranger.control.set_controls([at.url])
            with pytest.raises(Unreachable, match=r"can't be trusted|ended the handshake"):
                await stranger.control.call(AskComponentKey(), deadline_s=1.0)


async def test_a_node_gets_shares_of_tenants_that_it_holds_only(
    at: Control, node: Membership, tmp_path: Path
) -> None:
    """Without the share no file of the tenant opens, so nobody else gets one (I4)."""
    other = await joined(tmp_path / "other", at)
    share = await at.add_table("acme", node=node.enrolment.component)
    await at.add_table("globex", node=other.component)
    asked = AskTenantShares(("acme", "globex", "initech", "acme"))
    given = await node.control.call(asked, deadline_s=2.0)
    (one,) = given.shares
    assert (one.tenant, one.tenant_id, one.key) == ("acme", "uuid-of-acme", share)
    assert one.share(at.plane.uuid).control_plane == at.plane.uuid
    assert repr(share) not in repr(given)


async def test_a_damaged_key_of_one_tenant_locks_no_other(at: Control, node: Membership) -> None:
    """A node that starts asks for all its tenants at once: each waits for its own key only."""
    share = await at.add_table("acme", node=node.enrolment.component)
    await at.add_table("globex", node=node.enrolment.component)
    async with at.plane.store.transaction() as tx:
        await tx.change("UPDATE tenant SET sealed_key = $2 WHERE name = $1", "globex", bytes(60))
    given = await node.control.call(AskTenantShares(("acme", "globex")), deadline_s=2.0)
    assert [(one.tenant, one.key) for one in given.shares] == [("acme", share)]
    with pytest.raises(Corrupt, match="is damaged; restore the store"):
        await node.control.call(AskTenantShares(("globex",)), deadline_s=2.0)


@pytest.mark.parametrize("request_", [AskTenantShares(("acme",)), AskCredentials()])
async def test_roles_are_kept_apart(at: Control, tmp_path: Path, request_: object) -> None:
    """A proxy gets no share of a tenant, a node no credentials of clients."""
    is_shares = isinstance(request_, AskTenantShares)
    role = ComponentRole.PROXY if is_shares else ComponentRole.NODE
    async with member(await joined(tmp_path / "one", at, role=role)) as one:
        with pytest.raises(Refused) as refused:
            await one.control.call(request_, deadline_s=2.0)  # type: ignore[arg-type] # both are
    assert refused.value.kind is RefusalKind.FORBIDDEN


async def test_while_control_is_away_what_is_there_goes_on(tmp_path: Path) -> None:
    """The certificate, the list of controls and who is barred stay; calls say what is wrong."""
    async with AsyncExitStack() as stack:
        async with control(tmp_path / "plane") as at:
            enrolment = await joined(tmp_path / "node", at)
            removed = await joined(tmp_path / "removed", at)
            await remove(at, removed)
            node = await stack.enter_async_context(member(enrolment))
            stack.callback(asyncio.get_running_loop().create_task(node.run()).cancel)
            await until(lambda: node.barred(removed.identity) is not None)
            port = int(at.address.rpartition(":")[2])
        await until(lambda: node.status.problem != "", within_s=10)
        with pytest.raises(Unreachable):
            await component_share(node, deadline_s=0.3)
        assert node.barred(removed.identity) is not None
        async with control(tmp_path / "plane", port=port) as back:
            assert node.status.controls == (back.url,)
            await until(lambda: node.status.problem == "", within_s=15)
            await component_share(node)


async def test_how_long_a_certificate_lasts_is_measured(node: Membership) -> None:
    """Who watches the metric hears of a control that is out of reach days before it hurts."""
    metrics = create_metrics()
    node.measure(metrics)
    left_s = metrics.registry.get_sample_value("dstore_certificate_seconds", {"role": "node"})
    assert left_s is not None
    assert 0 < left_s <= CERTIFICATE_LIFE_S


async def test_another_control_answers_when_one_is_gone(tmp_path: Path) -> None:
    """A component learns of all controls, remembers them, and calls whichever answers."""
    plane = tmp_path / "plane"
    async with control(plane, process="second") as second:
        async with control(plane, process="first") as first:
            enrolment = await joined(tmp_path / "node", first)
            assert set(enrolment.controls) == {first.url, second.url}
            async with member(enrolment) as node:
                share = await component_share(node)
        (kept,) = load_enrolments(tmp_path / "node")
        async with member(kept) as node:
            assert await component_share(node) == share
            assert node.control.controls[0] == second.url


async def test_controls_that_move_are_followed(tmp_path: Path) -> None:
    """New addresses are taken up while it runs, and stand on the disk for the next start."""
    plane = tmp_path / "plane"
    async with control(plane, process="first") as first:
        enrolment = await joined(tmp_path / "node", first)
        async with member(enrolment) as node:
            running = asyncio.get_running_loop().create_task(node.run())
            async with control(plane, process="second") as second:
                wanted = {first.url, second.url}
                await until(lambda: set(node.control.controls) == wanted, within_s=10)
                await until(lambda: set(load_enrolments(tmp_path / "node")[0].controls) == wanted)
            running.cancel()


async def test_controls_that_were_replaced_hide_none_that_is_there(at: Control) -> None:
    """A control that begins anew with each restart leaves records; the others stay in the list."""
    async with at.plane.store.transaction() as tx:
        for number in range(2 * CONTROLS_MAX):
            left = records.control(f"00000000-0000-4000-8000-{number:012d}")
            again = replace(left, uri="https://control.example:8001", changed_at_us=number)
            await CONTROLS.insert(tx, again)
    await at.roster.refresh()
    members = await at.roster.members()
    assert [member.uri for member in members.controls] == [at.url, "https://control.example:8001"]
    assert members.controls[1].uuid.endswith(f"{2 * CONTROLS_MAX - 1}")


async def test_ended_certificates_are_told_at_the_start(at: Control, tmp_path: Path) -> None:
    """An operator reads what to do, instead of a handshake's riddle."""
    enrolment = await joined(tmp_path / "node", at)
    late = SetClock(2 * CERTIFICATE_LIFE_S * US_PER_S)
    with pytest.raises(CertificateRefused, match="renew or join again"):
        await Membership.open(enrolment, clock=late, entropy=ENTROPY)
