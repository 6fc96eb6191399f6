"""The contract of `Peer`, held by a connection over TLS and by its twin in one process alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    DStoreError,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import Peer
from dstore.replication.peers.room import Room
from dstore.security.identity import Identity
from tests.support.peers import (
    NODE,
    PROXY,
    Echo,
    Fail,
    FailWrite,
    Grow,
    Missing,
    Node,
    Replicate,
    Wait,
    Write,
    credentials_in,
    direct,
    remote,
    served,
    until,
)

ERRORS: list[Exception] = [
    Refused(RefusalKind.NOT_FOUND, "There is none."),
    Unavailable(UnavailableKind.NO_SPACE, "Full.", retry_after_ms=250),
    ConditionFailed("False.", previous={"id": {"S": "a"}, "n": {"N": "1"}, "b": {"B": "AA=="}}),
    ConditionFailed("False."),
    Unknown("Who knows."),
    Corrupt("Rotten.", file="f.db", where="page 3"),
    NotMine("range", 7),
    NotMine(None),
    Unreachable("Away.", retry_after_ms=9),
    KeyError("a mistake"),
]

Build = Callable[..., Peer]


@pytest.fixture
async def node() -> Node:
    return Node(ERRORS)


@pytest.fixture(params=["websocket", "direct"])
async def build(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> AsyncIterator[Build]:
    """Make peers that call `node`, each implementation in turn."""
    peers: list[Peer] = []

    if request.param == "direct":

        def make_direct(here: Identity = PROXY, calls_max: int = 4_096) -> Peer:
            peers.append(direct(node.methods, here=here, calls_max=calls_max))
            return peers[-1]

        yield make_direct
        for peer in peers:
            await peer.close()
        return

    own = credentials_in(tmp_path / "node", NODE)
    async with served(node.methods, own.server) as at:

        def make_remote(here: Identity = PROXY, calls_max: int = 4_096) -> Peer:
            context = credentials_in(tmp_path / here.uuid, here)
            room = Room(calls_max=calls_max, waiting_max=calls_max - 1)
            peers.append(remote(at.url, context, here=here, room=room))
            return peers[-1]

        yield make_remote
        for peer in peers:
            await peer.close()


@pytest.fixture
async def peer(build: Build) -> Peer:
    return build()


def read_off(error: BaseException) -> dict[str, Any]:
    """Return everything that a caller can see of an error."""
    seen: dict[str, Any] = {"type": type(error), "text": str(error)}
    for name in ("kind", "previous", "retry_after_ms", "file", "where", "range_id", "epoch"):
        seen[name] = getattr(error, name, None)
    return seen


async def test_a_call_is_answered(peer: Peer) -> None:
    """The plain case: what went in comes back."""
    reply = await peer.call(Echo(b"hello"), deadline_s=5)
    assert reply.data == b"hello"


async def test_the_handler_knows_who_asks(peer: Peer, node: Node) -> None:
    """The caller is who its certificate says; the deadline and the request's id travel."""
    await peer.call(Echo(b""), deadline_s=5, request_id="r-1")
    assert node.received is not None
    assert (node.received.caller, node.received.request_id) == (PROXY, "r-1")


async def test_coroutines_and_futures_answer_too(peer: Peer, node: Node) -> None:
    """A handler may answer later, in either way, and others pass meanwhile."""
    waits = [asyncio.ensure_future(peer.call(Wait(b"w"), deadline_s=5)) for _ in range(3)]  # noqa: TID251 -- awaited below
    writes = [asyncio.ensure_future(peer.call(Write(b"x"), deadline_s=5)) for _ in range(3)]  # noqa: TID251 -- the same
    await until(lambda: node.begun == 6)
    assert (await peer.call(Echo(b"first"), deadline_s=5)).data == b"first"
    node.finish()
    assert [reply.data for reply in await asyncio.gather(*waits, *writes)] == [
        *[b"w"] * 3,
        *[b"written"] * 3,
    ]


@pytest.mark.parametrize("number", range(len(ERRORS) - 1))
async def test_errors_arrive_as_themselves(peer: Peer, number: int) -> None:
    """Every error of the house keeps its type and its fields, so that callers can react."""
    with pytest.raises(DStoreError) as caught:
        await peer.call(Fail(number), deadline_s=5)
    assert read_off(caught.value) == read_off(ERRORS[number])


async def test_a_mistake_over_there_is_unknown_to_a_writer(peer: Peer) -> None:
    """A handler that breaks may have written: a reader may retry, a writer must find out."""
    with pytest.raises(Unreachable, match=r"its log says why"):
        await peer.call(Fail(len(ERRORS) - 1), deadline_s=5)
    with pytest.raises(Unknown, match=r"its log says why"):
        await peer.call(FailWrite(len(ERRORS) - 1), deadline_s=5)


async def test_the_role_decides_what_may_be_called(build: Build, node: Node) -> None:
    """A proxy may not replicate; a node may (DESIGN section 8)."""
    with pytest.raises(Refused, match=r"A proxy may not call test.replicate") as caught:
        await build().call(Replicate(), deadline_s=5)
    assert caught.value.kind is RefusalKind.FORBIDDEN
    assert node.begun == 0
    assert (await build(here=NODE).call(Replicate(), deadline_s=5)).data == b"replicated"


async def test_an_unknown_call_is_refused(peer: Peer) -> None:
    """A newer component may call what an older one does not know; the connection lives on."""
    with pytest.raises(Refused, match="is unknown here"):
        await peer.call(Missing(), deadline_s=5)
    assert (await peer.call(Echo(b"a"), deadline_s=5)).data == b"a"


async def test_deadlines(peer: Peer, node: Node) -> None:
    """Late is late: a read may be repeated, a write may have happened, and the work goes on."""
    await peer.call(Echo(b"connected"), deadline_s=20)  # else the deadline may end a dial
    with pytest.raises(Unreachable, match="in time"):
        await peer.call(Wait(b""), deadline_s=0.5)
    with pytest.raises(Unknown, match="in time"):
        await peer.call(Write(b""), deadline_s=0.5)
    node.finish()
    await until(lambda: node.done == 1)
    assert (await peer.call(Echo(b"on"), deadline_s=5)).data == b"on"


async def test_a_cancelled_caller_cancels_nothing_over_there(peer: Peer, node: Node) -> None:
    """Half a write helps nobody: only the answer is given up."""
    calls = [
        asyncio.ensure_future(peer.call(request, deadline_s=5))  # noqa: TID251 -- awaited below
        for request in (Wait(b""), Write(b""))
    ]
    await until(lambda: node.begun == 2)
    for call in calls:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    assert not node.futures[0].cancelled()
    node.finish()
    await until(lambda: node.done == 1)
    assert (await peer.call(Echo(b"on"), deadline_s=5)).data == b"on"


@pytest.mark.parametrize("size", [1, 32_768, 32_769, 200_000, 16 << 20])
async def test_large_payloads(peer: Peer, size: int) -> None:
    """Payloads of all sizes pass whole, in both directions."""
    data = bytes(range(256)) * (size // 256 + 1)
    assert (await peer.call(Echo(data[:size]), deadline_s=20)).data == data[:size]
    assert (await peer.call(Grow(size), deadline_s=20)).data == bytes(size)


async def test_thousands_of_calls_at_once(peer: Peer) -> None:
    """More calls than one frame, one turn or one bound holds, each with its own answer."""
    calls = [peer.call(Echo(b"%d" % number), deadline_s=20) for number in range(4_000)]
    replies = await asyncio.gather(*calls)
    assert [reply.data for reply in replies] == [b"%d" % number for number in range(4_000)]


async def test_calls_beyond_the_bound_are_refused(build: Build, node: Node) -> None:
    """What is in flight is bounded, and whoever is refused knows that nothing was done."""
    peer = build(calls_max=2)
    await peer.call(Echo(b""), deadline_s=5)
    node.begun = 0
    calls = [
        asyncio.ensure_future(peer.call(Wait(b""), deadline_s=5))  # noqa: TID251 -- awaited below
        for _ in range(6)
    ]
    await until(lambda: sum(call.done() for call in calls) >= 3)
    node.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert {error.kind for error in refused} == {UnavailableKind.OVERLOADED}
    assert len(results) - len(refused) == node.begun
    assert 2 <= node.begun <= 3


async def test_closing(peer: Peer, node: Node) -> None:
    """Calls under way end at once when the peer is closed, and no new ones begin."""
    calls = [
        asyncio.ensure_future(peer.call(request, deadline_s=60))  # noqa: TID251 -- awaited below
        for request in (Wait(b""), Write(b""))
    ]
    await until(lambda: node.begun == 2)
    await peer.close()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Unreachable, Unknown]
    with pytest.raises(Unreachable, match="any more"):
        await peer.call(Echo(b""), deadline_s=5)
    await peer.close()
