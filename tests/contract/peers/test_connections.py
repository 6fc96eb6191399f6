"""What a connection adds to the contract: who is let in, what is lost, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dstore.base.clock import US_PER_S, SystemClock
from dstore.base.limits import PEER_PAYLOAD_BYTES_MAX
from dstore.model.errors import RefusalKind, Refused, Unknown
from dstore.replication.peers import remote as remote_peers
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import PeerRequest
from dstore.replication.peers.remote import RemotePeer
from dstore.security.certificates import CertificateAuthority
from dstore.security.identity import ComponentRole, Identity
from dstore.security.tls import TlsContexts
from tests.support.peers import (
    AUTHORITY,
    ENTROPY,
    NODE,
    PLANE,
    PROXY,
    REPORTING,
    Echo,
    Grow,
    Node,
    Said,
    Served,
    Wait,
    Write,
    credentials_in,
    remote,
    served,
    until,
)
from tests.support.ports import lasting_ports

HOUR_US = 3_600 * US_PER_S


class SetClock(SystemClock):
    """A clock that somebody has set."""

    __slots__ = ("ahead_us",)

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    def wall_us(self) -> int:
        return super().wall_us() + self.ahead_us


class StoppedClock(SystemClock):
    """A clock whose hands stand still."""

    __slots__ = ("stands_us",)

    def __init__(self, stands_us: int) -> None:
        self.stands_us = stands_us

    def wall_us(self) -> int:
        return self.stands_us


@pytest.fixture
async def node() -> Node:
    return Node()


@pytest.fixture
def contexts(tmp_path: Path) -> dict[Identity, TlsContexts]:
    return {one: credentials_in(tmp_path / one.uuid, one) for one in (NODE, PROXY, REPORTING)}


@pytest.fixture
async def at(node: Node, contexts: dict[Identity, TlsContexts]) -> AsyncIterator[Served]:
    async with served(node.methods, contexts[NODE].server) as running:
        yield running


@pytest.fixture
async def peer(at: Served, contexts: dict[Identity, TlsContexts]) -> AsyncIterator[RemotePeer]:
    one = remote(at.url, contexts[PROXY])
    yield one
    await one.close()


def spawn(
    peer: RemotePeer, *requests: PeerRequest[Said], deadline_s: float = 10
) -> list[asyncio.Task[Said]]:
    loop = asyncio.get_running_loop()
    return [loop.create_task(peer.call(one, deadline_s=deadline_s)) for one in requests]


async def refused(peer: RemotePeer) -> str:
    """Return why a peer can't be called."""
    with pytest.raises(Unreachable) as caught:
        await peer.call(Echo(b""), deadline_s=5)
    await peer.close()
    return str(caught.value)


async def test_a_lost_connection(at: Served, peer: RemotePeer, node: Node) -> None:
    """What had left and writes is unknown, what reads may be repeated; then all goes on."""
    calls = spawn(peer, Wait(b""), Write(b""))
    await until(lambda: node.begun == 2)
    for one in tuple(at.server._open):
        one.link._socket.abort()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Unreachable, Unknown]
    assert (await peer.call(Echo(b"again"), deadline_s=5)).data == b"again"
    assert peer.state.dials == 2


async def test_nobody_there(contexts: dict[Identity, TlsContexts], node: Node) -> None:
    """A component that is down is said to be so at once, and is found when it is back."""
    async with served(node.methods, contexts[NODE].server) as at:
        url, port = at.url, int(at.url.rpartition(":")[2])
    peer = remote(url, contexts[PROXY])
    with pytest.raises(Unreachable, match="can't be reached") as caught:
        await peer.call(Write(b""), deadline_s=5)
    assert caught.value.retry_after_ms is None or caught.value.retry_after_ms > 0
    async with served(node.methods, contexts[NODE].server, port=port):
        await until(lambda: peer.state.is_connected)
        assert (await peer.call(Echo(b"up"), deadline_s=5)).data == b"up"
        await peer.close()


async def test_somebody_else_answers(at: Served, contexts: dict[Identity, TlsContexts]) -> None:
    """An address may have changed hands: whoever answers must be who was meant."""
    other = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=ENTROPY.uuid())
    peer = remote(at.url, contexts[PROXY], wanted=other)
    assert f"is node {NODE.uuid}; somebody else was meant" in await refused(peer)


async def test_a_role_that_may_call_nothing(
    at: Served, contexts: dict[Identity, TlsContexts]
) -> None:
    """It is not let in, hears why, and the node's log says so too."""
    with capture_logs() as events:
        said = await refused(remote(at.url, contexts[REPORTING], here=REPORTING))
    assert "A reporting may not do this; it is for node, proxy." in said
    assert [one["reason"] for one in events if one["event"] == "peer_refused"]


async def test_a_greeting_that_lies(at: Served, contexts: dict[Identity, TlsContexts]) -> None:
    """The certificate counts, not what is said."""
    peer = remote(at.url, contexts[PROXY], here=NODE)
    assert "somebody else than its certificate says" in await refused(peer)


async def test_another_control_plane(at: Served, tmp_path: Path) -> None:
    """Its certificates are refused in the handshake: the caller is told, whichever side refuses."""
    plane = ENTROPY.uuid()
    authority = CertificateAuthority.create(plane, now_us=SystemClock().wall_us(), entropy=ENTROPY)
    stranger = Identity(control_plane=plane, role=ComponentRole.PROXY, uuid=ENTROPY.uuid())
    knows_us = credentials_in(tmp_path / "a", stranger, authority=authority)
    knows_itself = credentials_in(
        tmp_path / "b", stranger, authority=authority, trusted=authority.certificate_pem
    )
    with capture_logs() as events:
        for context in (knows_us, knows_itself):
            said = await refused(remote(at.url, context, here=stranger))
            assert "trust" in said, said
    seen = [one for one in events if one["event"] == "peer_handshake_refused"]
    assert len(seen) == 1  # the node's own refusal; it hears nothing of the caller's


async def test_an_expired_certificate(at: Served, tmp_path: Path) -> None:
    """It is refused with the word that tells the operator what to do."""
    now_us = SystemClock().wall_us()
    context = credentials_in(tmp_path / "old", PROXY, now_us=now_us - HOUR_US, life_s=1)
    said = await refused(remote(at.url, context, clock=StoppedClock(now_us)))
    assert "ended 3599 s ago" in said


@pytest.mark.parametrize("ahead_us", [-HOUR_US, HOUR_US // 6])
async def test_a_clock_that_is_wrong(
    contexts: dict[Identity, TlsContexts], node: Node, ahead_us: int
) -> None:
    """An hour off, or ten minutes: a sentence about clocks, on the side that asks."""
    clock = SetClock(ahead_us)
    async with served(node.methods, contexts[NODE].server, clock=clock) as at:
        assert "clock" in await refused(remote(at.url, contexts[PROXY]))


async def test_draining(at: Served, peer: RemotePeer, node: Node) -> None:
    """Calls under way are answered; then the connection ends and no new one is taken."""
    calls = spawn(peer, Wait(b"a"), Write(b"b"))
    await until(lambda: node.begun == 2)
    draining = asyncio.get_running_loop().create_task(at.server.drain(timeout_s=5))
    await until(lambda: not peer.state.is_connected)
    with pytest.raises(Unreachable, match="about to stop"):
        await peer.call(Echo(b""), deadline_s=5)
    node.finish()
    assert [reply.data for reply in await asyncio.gather(*calls)] == [b"a", b"written"]
    await draining


async def test_a_call_on_its_way_to_one_that_drains(
    at: Served, peer: RemotePeer, node: Node
) -> None:
    """Whoever calls before it has heard of the end is answered: its write's fate is known."""
    assert (await peer.call(Echo(b"first"), deadline_s=5)).data == b"first"
    draining = asyncio.get_running_loop().create_task(at.server.drain(timeout_s=5))
    (late,) = spawn(peer, Write(b"late"))
    await until(lambda: node.begun == 2)
    node.finish()
    assert (await late).data == b"written"
    await draining


async def test_one_that_is_back_is_dialled_at_once(
    contexts: dict[Identity, TlsContexts], node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears that it is back need not wait for the next attempt, which may be seconds away."""
    monkeypatch.setattr(remote_peers, "PEER_BACKOFF_S_MIN", 60.0)
    monkeypatch.setattr(remote_peers, "PEER_BACKOFF_S_MAX", 60.0)
    (port,) = lasting_ports(1)
    peer = remote(f"https://127.0.0.1:{port}", contexts[PROXY])
    try:
        with pytest.raises(Unreachable):
            await peer.call(Echo(b"away"), deadline_s=5)
        async with served(node.methods, contexts[NODE].server, port=port):
            peer.hurry()
            await until(lambda: peer.state.is_connected, within_s=5)
            assert (await peer.call(Echo(b"back"), deadline_s=5)).data == b"back"
    finally:
        await peer.close()


async def test_renewal(
    at: Served, peer: RemotePeer, contexts: dict[Identity, TlsContexts], tmp_path: Path, node: Node
) -> None:
    """A new certificate is shown by the next connection; what is under way on the old one ends."""
    (call,) = spawn(peer, Wait(b"old"))
    await until(lambda: node.begun == 1)
    before = {one.certificate.serial for one in at.server._open}
    credentials_in(tmp_path / PROXY.uuid, PROXY)
    contexts[PROXY].reload()
    peer.redial("the certificate was renewed")
    assert (await peer.call(Echo(b"new"), deadline_s=5)).data == b"new"
    assert len({one.certificate.serial for one in at.server._open} - before) == 1
    node.go.set()
    assert (await call).data == b"old"
    await until(lambda: len(at.server.connections) == 1)


async def test_a_certificate_that_ends_on_an_open_connection(
    contexts: dict[Identity, TlsContexts], node: Node
) -> None:
    """TLS looks once; a connection does not outlive what it was let in with."""
    clock = SetClock()
    async with served(node.methods, contexts[NODE].server, clock=clock, beat_s=0.25) as at:
        peer = remote(at.url, contexts[PROXY], beat_s=0.25)
        await peer.call(Echo(b""), deadline_s=5)
        clock.ahead_us = 2 * HOUR_US
        await until(lambda: not at.server.connections)
        assert "ended" in await refused(peer)


async def test_small_calls_pass_large_ones(peer: RemotePeer) -> None:
    """A reply of 16 MiB takes its time; the small ones behind it do not."""
    (large,) = spawn(peer, Grow(16 << 20))
    await asyncio.sleep(0)
    for _ in range(5):
        await peer.call(Echo(b""), deadline_s=5)
    assert not large.done()
    await large


async def test_payloads_beyond_the_bound(peer: RemotePeer) -> None:
    """Each is an error of that call alone, said on the side that can act."""
    too_many = PEER_PAYLOAD_BYTES_MAX + 1
    for _ in range(2):  # before there is a connection, and on one
        with pytest.raises(Refused, match="split it") as caught:
            await peer.call(Echo(bytes(too_many)), deadline_s=5)
        assert caught.value.kind is RefusalKind.TOO_LARGE
        with pytest.raises(Unreachable, match="its log says why"):
            await peer.call(Grow(too_many), deadline_s=5)
    assert peer.state.dials == 1


async def test_a_storm_of_cancellations(at: Served, peer: RemotePeer, node: Node) -> None:
    """Thousands give up at once: nothing is left behind, and the next call is answered."""
    for _ in range(3):
        calls = spawn(peer, *[Wait(b"")] * 3_000)
        await until(lambda: node.begun > 0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        node.go.set()
        await until(lambda: peer.state.calls == 0, within_s=10)
        node.go.clear()
    assert peer.state.waiting == 0
    assert (await peer.call(Echo(b"on"), deadline_s=5)).data == b"on"
    assert at.server.connections[0].calls == 0


async def test_late_answers_are_passed_over(peer: RemotePeer, node: Node) -> None:
    """An answer after the deadline is dropped over there, or counted here; both sides go on."""
    await peer.call(Echo(b"connected"), deadline_s=5)
    calls = spawn(peer, *[Wait(b"")] * 20, deadline_s=0.05)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {Unreachable}
    node.finish()
    # Whatever has arrived there, perhaps none on a slow machine.
    assert (await peer.call(Echo(b"on"), deadline_s=5)).data == b"on"
    await until(lambda: node.done == node.begun - 2)
    assert peer.state.calls == 0


def test_the_trust_is_the_plans() -> None:
    """The tests speak TLS 1.3 with the authority of one control plane."""
    assert AUTHORITY.control_plane == PLANE
    assert ssl.HAS_TLSv1_3
