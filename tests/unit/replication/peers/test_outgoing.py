"""What leaves when: small things first, large ones in turn, nothing twice."""

from __future__ import annotations

import msgspec

from dstore.base.limits import PEER_FRAME_BYTES_MAX, PEER_PART_BYTES
from dstore.replication.peers.outgoing import Outgoing
from dstore.replication.peers.records import (
    Answer,
    LargeAnswer,
    Part,
    Record,
    decode_frame,
    encode,
)

RAW = msgspec.Raw(encode(None))


class Refusing:
    """A ticket of a call that nobody waits for."""

    def leaves(self) -> bool:
        return False


def small(number: int) -> Answer:
    return Answer(number, False, RAW)


def large(outgoing: Outgoing, number: int, size: int) -> None:
    opening = LargeAnswer(number, False, size)
    outgoing.put_large(opening, number, payload=bytes(size))


def frames_of(outgoing: Outgoing) -> list[list[Record]]:
    found = []
    while outgoing:
        frame = outgoing.take()
        assert len(frame) <= PEER_FRAME_BYTES_MAX
        found.append(decode_frame(frame))
    return found


def test_one_turn_is_one_frame() -> None:
    """What gathers in a turn of the loop leaves together, in order."""
    outgoing = Outgoing()
    for number in range(1, 101):
        outgoing.put(small(number), 1)
    (frame,) = frames_of(outgoing)
    assert [one.id for one in frame if isinstance(one, Answer)] == list(range(1, 101))
    assert (outgoing.bytes_waiting, outgoing.take()) == (0, b"")


def test_large_payloads_take_turns() -> None:
    """Two large payloads share the frames, and a small one leaves before the rest of both."""
    outgoing = Outgoing()
    large(outgoing, 1, 20 * PEER_PART_BYTES)
    large(outgoing, 2, 20 * PEER_PART_BYTES)
    first = decode_frame(outgoing.take())
    assert {one.id for one in first if isinstance(one, Part)} == {1, 2}
    outgoing.put(small(3), 1)
    assert decode_frame(outgoing.take())[0] == small(3)
    frames_of(outgoing)
    assert outgoing.bytes_waiting == 0


def test_small_ones_starve_no_large_one() -> None:
    """However many small records wait, each frame carries a part."""
    outgoing = Outgoing()
    large(outgoing, 1, 4 * PEER_PART_BYTES)
    for number in range(2, 5_000):
        outgoing.put(small(number), PEER_PART_BYTES // 8)
    for frame in frames_of(outgoing)[:4]:
        assert any(isinstance(one, Part) for one in frame)


def test_what_nobody_waits_for_stays_here() -> None:
    """A cancelled call that has not left never does, small or large."""
    outgoing = Outgoing()
    outgoing.put(small(1), 1, ticket=Refusing())
    opening = LargeAnswer(2, False, 9)
    outgoing.put_large(opening, 2, payload=bytes(9), ticket=Refusing())
    assert (outgoing.take(), outgoing.bytes_waiting, bool(outgoing)) == (b"", 0, False)
