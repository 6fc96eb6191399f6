"""A client's call of a replicated range's node: what travels, and what the node makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from dstore.model.errors import ConditionFailed
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.storage.range_writer import Applied, Delete, Outcome
from dstore.storage.range_writer import Put as Stored
from tests.simulation.history import ANYTHING, Add, Call, Put, Read, Swap, Value

if TYPE_CHECKING:
    from collections.abc import Hashable

    from dstore.model.values import Item
    from dstore.storage.entries import Entry

_NAME: Final = "v"
_PAD: Final = "pad"
PAD_BYTES_MAX = 0  # of what stands beside each value, so that a file has more pages than a few


class Done(msgspec.Struct, frozen=True, array_like=True):
    """The answer of a call: a value, whether a condition held, or that it was done before."""

    value: int | str | None = None
    held: bool = True
    is_repeated: bool = False
    epoch: int = 0


class Do(PeerRequest[Done], frozen=True, array_like=True):
    """A client's call of a node."""

    key: str
    kind: str
    value: int | str | None
    expected: int | str | None
    request_id: str


_ROLES: Final = frozenset({ComponentRole.PROXY})
READ: Final = "Read"
DO: Final = PeerCall(name="test.do", request=Do, reply=Done, roles=_ROLES, is_safe=False)


def value_of(entry: Entry | None) -> Value:
    """Read the value of an entry."""
    if entry is None:
        return None
    ((kind, text),) = entry.item[_NAME].items()
    return int(text) if kind == "N" else str(text)


def _padded(item: Item) -> Item:
    """Put something of any size beside a value, always the same beside the same."""
    if not PAD_BYTES_MAX:
        return item
    size_bytes = crc32(repr(item).encode()) % PAD_BYTES_MAX
    return item | {_PAD: {"S": "x" * size_bytes}}


def outcome_of(request: Do, previous: Entry | None) -> Outcome:
    """Do what a call says; pure."""
    value = request.value
    if request.kind == "Swap" and value_of(previous) != request.expected:
        raise ConditionFailed
    if request.kind == "Add":
        before = value_of(previous)
        assert value is not None, request
        assert not isinstance(before, str), request
        value = (before or 0) + int(value)
    if value is None:
        return Delete()
    return Stored(_padded({_NAME: {"N": str(value)} if isinstance(value, int) else {"S": value}}))


def done_of(applied: Applied) -> Done:
    """Say what came of a write."""
    if applied.outcome is None:
        return Done(is_repeated=True)
    if isinstance(applied.outcome, Stored):
        ((kind, text),) = applied.outcome.item[_NAME].items()
        return Done(value=int(text) if kind == "N" else str(text))
    return Done()


def request_of(key: str, call: Call, *, request_id: str) -> Do:
    """Write a call down."""
    match call:
        case Put():
            return Do(key, "Put", call.value, None, request_id)
        case Swap():
            return Do(key, "Swap", call.value, call.expected, request_id)
        case Add():
            return Do(key, "Add", call.amount, None, request_id)
        case _:
            return Do(key, READ, None, None, request_id)


def answer_of(call: Call, done: Done) -> Hashable:
    """Read an answer as the history wants it."""
    match call:
        case Read():
            return done.value
        case Swap():
            return done.held
        case Add():
            return ANYTHING if done.is_repeated else done.value
        case _:
            return None
