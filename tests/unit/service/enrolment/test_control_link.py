"""Which control is called, and when the next one is; without a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind, Unknown
from dstore.replication.peers.calls import Calls, PeerCall
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.service.enrolment.control_link import ControlLink


class Done(msgspec.Struct, frozen=True, array_like=True):
    """The reply, and who gave it."""

    by: str


class Read(PeerRequest[Done], frozen=True, array_like=True):
    """May be repeated."""


class Change(PeerRequest[Done], frozen=True, array_like=True):
    """May not."""


CALLS: Final = Calls(
    [
        PeerCall(
            name=f"test.{request.__name__.lower()}",
            request=request,
            reply=Done,
            roles=frozenset(ComponentRole),
            is_safe=request is Read,
        )
        for request in (Read, Change)
    ]
)
NOT_LEADING: Final = Unavailable(UnavailableKind.MOVED, "Another one leads.", retry_after_ms=100)


@dataclass
class Fake:
    """A control that answers, or fails as it is told, for a while or for good."""

    uri: str
    failures: list[Exception | None] = field(default_factory=list)
    always: Exception | None = None
    deadlines_s: list[float] = field(default_factory=list)
    redials: list[str] = field(default_factory=list)
    is_closed: bool = False

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        del request, request_id
        self.deadlines_s.append(deadline_s)
        failure = self.failures.pop(0) if self.failures else self.always
        if failure is not None:
            raise failure
        return Done(by=self.uri)

    def redial(self, reason: str) -> None:
        self.redials.append(reason)

    async def close(self) -> None:
        self.is_closed = True


class Plane:
    """Controls by their names."""

    def __init__(self, *names: str) -> None:
        self.fakes = {name: Fake(name) for name in names}
        self.link = ControlLink(names, dial=self.dial, calls=CALLS, clock=SystemClock())

    def dial(self, uri: str) -> Fake:
        return self.fakes.setdefault(uri, Fake(uri))

    async def call(self, request: PeerRequest[Done] | None = None, *, deadline_s: float = 1) -> str:
        return (await self.link.call(request or Change(), deadline_s=deadline_s)).by

    def called(self) -> dict[str, int]:
        return {name: len(fake.deadlines_s) for name, fake in self.fakes.items()}


@pytest.mark.parametrize("failure", [NOT_LEADING, Unreachable("Gone.")])
async def test_a_change_finds_the_control_that_leads_and_stays_with_it(failure: Exception) -> None:
    """One detour, not one at each call."""
    plane = Plane("a", "b", "c")
    plane.fakes["a"].always = plane.fakes["b"].always = failure
    assert await plane.call() == "c"
    assert await plane.call() == "c"
    assert plane.called() == {"a": 1, "b": 1, "c": 2}
    assert plane.link.controls == ("c", "a", "b")


async def test_an_unknown_outcome_is_told_and_nobody_else_is_asked() -> None:
    """The change may have happened; at another control it might happen twice."""
    plane = Plane("a", "b")
    plane.fakes["a"].always = Unknown("Lost.")
    with pytest.raises(Unknown):
        await plane.call()
    assert plane.called() == {"a": 1, "b": 0}


async def test_a_refusal_is_an_answer() -> None:
    """Another control would say the same."""
    plane = Plane("a", "b")
    plane.fakes["a"].always = Refused(RefusalKind.CONFLICT, "It exists.")
    with pytest.raises(Refused):
        await plane.call()
    assert plane.called() == {"a": 1, "b": 0}


async def test_while_nobody_leads_it_asks_again_up_to_the_deadline() -> None:
    """An election takes seconds; the caller hears of it only if it takes longer than it waits."""
    plane = Plane("a", "b")
    plane.fakes["a"].always = NOT_LEADING
    plane.fakes["b"].failures = [NOT_LEADING, Unreachable("Gone."), NOT_LEADING]
    assert await plane.call(deadline_s=5) == "b"
    assert plane.called() == {"a": 4, "b": 4}
    plane.fakes["b"].always = Unreachable("Gone.")
    with pytest.raises(Unavailable, match="Another one leads"):
        await plane.call(deadline_s=0.5)


@pytest.mark.parametrize("leader", ["a", "b", "c"])
async def test_what_the_leader_can_not_do_is_told_at_once(leader: str) -> None:
    """A full disk is no reason to wait for the deadline."""
    plane = Plane("a", "b", "c")
    for fake in plane.fakes.values():
        fake.always = NOT_LEADING
    plane.fakes[leader].always = Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")
    with pytest.raises(Unavailable, match="The disk is full"):
        await plane.call(deadline_s=60)
    assert plane.called() == {"a": 1, "b": 1, "c": 1}


async def test_a_control_that_hangs_leaves_time_for_another_one() -> None:
    """A read shares its time out; a change may need all of it where it was sent."""
    plane = Plane("a", "b")
    await plane.call(Read(), deadline_s=4)
    await plane.call(Change(), deadline_s=4)
    read_s, change_s = plane.fakes["a"].deadlines_s
    assert read_s == pytest.approx(2, abs=0.1)
    assert change_s == pytest.approx(4, abs=0.1)


async def test_controls_come_and_go() -> None:
    """Those that stay keep their connections; those that go are closed; an empty list is none."""
    plane = Plane("a", "b")
    kept = plane.fakes["b"]
    plane.link.set_controls([])
    plane.link.set_controls(["b", "c"])
    assert set(plane.link.controls) == {"b", "c"}
    assert await plane.call() == "b"
    assert plane.fakes["b"] is kept
    assert plane.fakes["a"].is_closed
    plane.link.redial("renewed")
    assert (kept.redials, plane.fakes["c"].redials) == (["renewed"], ["renewed"])
    await plane.link.close()
    assert kept.is_closed
    with pytest.raises(Unreachable):
        await plane.call()
