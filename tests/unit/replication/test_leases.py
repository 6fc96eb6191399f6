"""What a replica has promised to whom, and until when."""

from __future__ import annotations

from dstore.base.clock import NS_PER_MS, SystemClock
from dstore.base.limits import REPLICA_LEASE_MARGIN_MS
from dstore.replication.leases import LEASE_NS, Promise, lease_until_ns


class SetClock(SystemClock):
    """A clock that stands still unless it is moved."""

    now_ns = 100 * LEASE_NS

    def monotonic_ns(self) -> int:
        """Tell what it was set to."""
        return self.now_ns


def promise(clock: SetClock) -> Promise:
    """Begin with nothing promised."""
    return Promise(clock, began_ns=clock.now_ns - LEASE_NS)


def test_a_primary_counts_on_less_than_it_was_promised() -> None:
    """Clocks run at different speeds, and a loop may be late (B3)."""
    assert lease_until_ns(0) == LEASE_NS - REPLICA_LEASE_MARGIN_MS * NS_PER_MS


def test_a_process_that_begins_has_promised_everybody() -> None:
    """It does not know what the one before it has promised."""
    clock = SetClock()
    assert Promise(clock, began_ns=clock.now_ns).wait_ns("a") == LEASE_NS


def test_a_promise_holds_up_all_others() -> None:
    """Only who was promised last need not wait for it."""
    clock = SetClock()
    given = promise(clock)
    given.give("a", epoch=3)
    assert (given.wait_ns("a"), given.wait_ns("b")) == (0, LEASE_NS)
    given.give("b", epoch=4)
    assert (given.wait_ns("a"), given.wait_ns("b")) == (LEASE_NS, LEASE_NS)
    clock.now_ns += LEASE_NS
    assert given.wait_ns("c") == 0


def test_who_has_ended_holds_nobody_up() -> None:
    """A hand-over takes no lease's time."""
    given = promise(SetClock())
    given.give("a", epoch=3)
    given.release("a", epoch=3)
    assert given.wait_ns("b") == 0


def test_a_release_says_nothing_of_a_later_epoch() -> None:
    """A message that comes late does not undo what was promised to the same node since."""
    given = promise(SetClock())
    given.give("a", epoch=5)
    given.release("a", epoch=3)
    given.release("b", epoch=9)
    assert given.wait_ns("b") == LEASE_NS


def test_an_earlier_primary_is_not_forgotten() -> None:
    """Who gives a lease up lets nobody else's go."""
    given = promise(SetClock())
    given.give("a", epoch=3)
    given.give("b", epoch=4)
    given.release("b", epoch=4)
    assert given.wait_ns("c") == LEASE_NS


def test_what_an_ended_primary_had_sent_promises_it_nothing() -> None:
    """Its last message may be answered behind its word that it has ended; a later term counts."""
    given = promise(SetClock())
    given.give("a", epoch=3)
    given.release("a", epoch=3)
    given.release("z", epoch=1)  # an old message
    given.give("a", epoch=3)
    assert given.wait_ns("b") == 0
    given.give("a", epoch=5)
    assert given.wait_ns("b") == LEASE_NS


def test_who_is_bound_to_another_primary_says_so() -> None:
    """A primary had better wait before it hands over to one that could not serve at once."""
    clock = SetClock()
    given = promise(clock)
    bound = []
    for primary, later_ns in (("a", 0), ("b", 0), ("b", LEASE_NS)):
        clock.now_ns += later_ns
        given.give(primary, epoch=4)
        bound.append(given.is_bound)
    assert bound == [False, True, False]
    assert Promise(clock, began_ns=clock.now_ns).is_bound
