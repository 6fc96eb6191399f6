"""One connection at work over a socket that is played: turns, back-pressure, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest

from dstore.base.limits import (
    PEER_FRAME_RECORDS_MAX,
    PEER_PART_BYTES,
    PEER_RECORDS_TURN,
    PEER_SENT_BYTES_WAITING_MAX,
)
from dstore.base.tasks import Tasks
from dstore.replication.peers.link import Link
from dstore.replication.peers.records import (
    Answer,
    CloseCode,
    Closed,
    Malformed,
    Record,
    decode_frame,
    encode_frame,
)
from tests.support.peers import until

LOST = Closed(CloseCode.LOST, "")


class Played:
    """A socket whose other side is the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_full = False
        self.unsent_bytes = 0
        self.is_paused = False
        self.closed: Closed | None = None
        self.is_aborted = False
        self.arrive: Callable[[bytes | Closed], None] = _nowhere
        self.room: Callable[[], None] = _nothing

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    async def receive(self) -> bytes | Closed:
        raise NotImplementedError

    def listen(
        self, on_arrival: Callable[[bytes | Closed], None], on_room: Callable[[], None]
    ) -> None:
        self.arrive, self.room = on_arrival, on_room

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    async def close(self, closed: Closed) -> None:
        self.closed = closed

    def abort(self) -> None:
        self.is_aborted = True


class Linked:
    """A link that runs."""

    def __init__(self, tasks: Tasks) -> None:
        self.socket = Played()
        self.link = Link(self.socket, tasks=tasks, beat_s=60)
        self.turns: list[list[int]] = []
        self.error: Exception | None = None
        self.running = tasks.spawn(self.link.run(self._handle), name="running")

    def _handle(self, records: Sequence[Record]) -> None:
        if self.error is not None:
            raise self.error
        self.turns.append([one.id for one in records if isinstance(one, Answer)])


@pytest.fixture
async def linked() -> AsyncIterator[Linked]:
    tasks = Tasks(lambda _error: None)
    one = Linked(tasks)
    await asyncio.sleep(0)
    yield one
    await tasks.close()


def _nowhere(_what: bytes | Closed) -> None:
    raise AssertionError("nobody listens yet")


def _nothing() -> None:
    return None


def answer(number: int, size: int = 1) -> Answer:
    return Answer(number, False, msgspec.Raw(msgspec.msgpack.encode(bytes(size))))


def frame(first: int, count: int) -> bytes:
    return encode_frame([answer(number) for number in range(first, first + count)])


async def test_a_turn_leaves_in_one_frame(linked: Linked) -> None:
    """Records of one turn share a frame, and the next turn has its own."""
    for number in (1, 2, 3):
        linked.link.put(answer(number), 1)
    assert linked.socket.sent == []
    await asyncio.sleep(0)
    linked.link.put(answer(4), 1)
    await asyncio.sleep(0)
    assert [len(decode_frame(one)) for one in linked.socket.sent] == [3, 1]


async def test_a_long_frame_is_handled_in_turns(linked: Linked) -> None:
    """The loop is left to others in between; what comes behind it waits for its turn."""
    linked.socket.arrive(frame(1, PEER_FRAME_RECORDS_MAX))
    assert (linked.turns, linked.socket.is_paused) == ([], True)
    linked.socket.arrive(frame(PEER_FRAME_RECORDS_MAX + 1, 1))  # one that was on its way
    await until(lambda: not linked.socket.is_paused)
    assert {len(turn) for turn in linked.turns[:-1]} == {PEER_RECORDS_TURN}
    flat = [number for turn in linked.turns for number in turn]
    assert flat == [*range(1, PEER_FRAME_RECORDS_MAX + 2)]


async def test_an_end_behind_a_long_frame(linked: Linked) -> None:
    """What has arrived before the end counts: answers are not lost."""
    linked.socket.arrive(frame(1, PEER_FRAME_RECORDS_MAX))
    linked.socket.arrive(LOST)
    assert sum(map(len, linked.turns)) == PEER_FRAME_RECORDS_MAX
    assert await linked.running == LOST
    assert linked.socket.is_aborted


async def test_a_full_socket(linked: Linked) -> None:
    """Nothing is sent until there is room; then what has gathered shares a frame."""
    linked.socket.is_full = True
    for number in (1, 2):
        linked.link.put(answer(number), 1)
        await asyncio.sleep(0)
    assert linked.socket.sent == []
    assert linked.link.is_busy
    linked.socket.is_full = False
    linked.socket.room()
    await asyncio.sleep(0)
    assert [len(decode_frame(one)) for one in linked.socket.sent] == [2]
    assert not linked.link.is_busy


async def test_a_side_that_does_not_fetch(linked: Linked) -> None:
    """It is not read until half of what waits for it has left."""
    linked.socket.is_full = True
    for number in range(1, PEER_SENT_BYTES_WAITING_MAX // PEER_PART_BYTES + 2):
        linked.link.put(answer(number, PEER_PART_BYTES), PEER_PART_BYTES)
    linked.socket.arrive(frame(1, 1))
    assert (len(linked.turns), linked.socket.is_paused) == (1, True)
    linked.socket.is_full = False
    linked.socket.room()
    await until(lambda: not linked.socket.is_paused)
    assert 0 < linked.link.bytes_waiting <= PEER_SENT_BYTES_WAITING_MAX // 2


@pytest.mark.parametrize("frame_of", [lambda: b"\xc1", lambda: frame(1, 1)])
async def test_what_breaks_the_protocol(linked: Linked, frame_of: Callable[[], bytes]) -> None:
    """The other side is told what it did, and the connection ends."""
    linked.error = Malformed("lied")
    linked.socket.arrive(frame_of())
    closed = await linked.running
    assert closed.code == CloseCode.MALFORMED
    assert linked.socket.closed == closed
    linked.link.put(answer(1), 1)
    await asyncio.sleep(0)
    assert linked.socket.sent == []


async def test_a_fault_here(linked: Linked) -> None:
    """A mistake of a handler's ends the connection and is raised where it can be seen."""
    linked.error = KeyError("mistake")
    linked.socket.arrive(frame(1, 1))
    with pytest.raises(KeyError):
        await linked.running
    assert linked.socket.is_aborted
    assert not linked.link.is_open
