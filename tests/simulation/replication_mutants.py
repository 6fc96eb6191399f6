"""Broken variants of replication: every sentence of REPLICATION.md whose absence loses data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.replication import failover, leases, opening, placements, primary
from dstore.replication.follower import Follower
from dstore.replication.leases import Promise
from dstore.replication.primary import Primary
from dstore.replication.replica import Replica
from dstore.replication.replica_calls import Sealed
from dstore.storage import replica_log, requests
from dstore.storage.log_records import RecordKind
from dstore.storage.range_writer import RangeWriter
from dstore.storage.shipments import Shipment
from dstore.topology.coordinator import CoordinatorUnavailable, OutcomeUnknown
from dstore.topology.values import RangePlacement, ReplicaState
from tests.simulation import replicated

if TYPE_CHECKING:
    from dstore.replication.placements import Placed
    from tests.simulation.mutants import Patches


def _acknowledges_alone() -> Patches:
    """Ship, and wait for nobody."""

    def ship(self: Primary, records: Any) -> Any:
        shipping = original(self, records)
        if not shipping.done():
            shipping.set_result(None)
        return shipping

    original = Primary.ship
    return ((Primary, "ship", ship),)


def _serves_without_a_lease() -> Patches:
    """Take having been primary for being it: no lease, no confirmation (B1)."""
    return ((Primary, "certain", lambda _self: None),)


def _counts_its_lease_too_long() -> Patches:
    """Count a lease from when the answer was looked at, and then some (B1)."""

    async def send(self: Follower) -> bool:
        result = await original(self)
        if self.answered_sent_ns >= 0:
            self.lease_until_ns = leases.lease_until_ns(self._now_ns() + 3 * leases.LEASE_NS)
        return result

    original = Follower._send
    return ((Follower, "_send", send),)


def _does_not_wait_out_its_promise() -> Patches:
    """Serve at once as the new primary, whatever was promised to the old one."""
    return ((Promise, "wait_ns", lambda _self, _primary: 0),)


def _refuses_no_old_epoch() -> Patches:
    """Take records of a primary of an older epoch too (I6)."""

    async def bows_to(self: Replica, epoch: int, primary: str) -> bool:
        del epoch
        await self._load()
        return primary != self._around.node and self._primary is None

    return ((Replica, "_bows_to", bows_to),)


def _forgets_its_promise() -> Patches:
    """Keep the promised epoch in memory only (I6)."""
    return ((replica_log, "promise", lambda *_, **__: None),)


def _reopens_in_its_old_epoch() -> Patches:
    """Go on after a restart in the epoch of before: what was shipped then is met again (B2)."""

    async def own_epoch(self: Replica, placed: Placed) -> Placed:
        async with self._turn:
            await self._load()
            await self._promise_epoch(placed.value.epoch)
        return placed

    return ((Replica, "_own_epoch", own_epoch),)


def _opens_without_sealing() -> Patches:
    """Hear the others without a promise of theirs: hearing before sealing is the bug."""

    async def seal(self: Replica, request: Any) -> Any:
        self._check(request.incarnation)
        async with self._turn:
            await self._load()
            return Sealed(standing=await self._look())

    return ((Replica, "seal", seal),)


def _opens_without_the_longest_log() -> Patches:
    """Begin with one's own log, whatever others hold."""

    async def fetched(*_: Any, **__: Any) -> bool:
        return True

    return ((opening, "_fetch_longest", fetched),)


def _opens_with_who_is_there() -> Patches:
    """Go on without those who were not heard, and leave them in the set."""

    async def leave_out(placed: Placed, nodes: set[str], around: Any) -> Placed:
        del around
        smaller = primary._with_state(placed.value, nodes, ReplicaState.LEARNER)
        return placements.Placed(path=placed.path, value=smaller, revision=placed.revision)

    return ((opening, "_leave_out", leave_out), (opening, "REPLICA_SILENT_MS", 50))


def _serves_before_the_opening_is_held() -> Patches:
    """Answer as soon as the opening record is in one's own log."""

    def ship(self: Primary, records: Any) -> Any:
        shipping = shipped(self, records)
        if records[0].kind is RecordKind.OPENING and not shipping.done():
            shipping.set_result(None)
        return shipping

    shipped = Primary.ship
    return ((Primary, "ship", ship),)


def _swaps_what_it_reads() -> Patches:
    """Read the range's value anew and change that, whoever is primary by now (B5)."""

    async def swap(coordinator: Any, before: Placed, value: Any, *, pause: Any) -> Placed:
        now = await placements.read(coordinator, before.path)
        return await original(coordinator, now or before, value, pause=pause)

    original = placements.swap
    return ((placements, "swap", swap),)


def _takes_unknown_for_failed() -> Patches:
    """Take a swap of unknown outcome for one that did not happen (B6)."""

    async def swap(coordinator: Any, before: Placed, value: Any, *, pause: Any) -> Placed:
        class Once:
            async def commit(self, transaction: Any) -> Any:
                try:
                    return await coordinator.commit(transaction)
                except OutcomeUnknown as error:
                    raise CoordinatorUnavailable(error.message) from error

        once: Any = Once()
        return await original(once, before, value, pause=pause)

    original = placements.swap
    return ((placements, "swap", swap),)


def _shrinks_below_the_minimum() -> Patches:
    """Let the in-sync set become as small as it likes."""
    return ((RangePlacement, "min_in_sync", 1),)


def _joins_who_lags() -> Patches:
    """Take a learner into the set that has not everything yet."""

    async def join(self: Primary, learner: Follower) -> None:
        await self._swap(
            primary._with_state(self._placed.value, {learner.node}, ReplicaState.IN_SYNC)
        )

    return ((Primary, "_join", join), (Primary, "_is_ready", lambda _self, _learner: True))


def _joins_without_waiting_for_it() -> Patches:
    """Acknowledge without a joiner until its swap is known to have happened."""

    async def join(self: Primary, learner: Follower) -> None:
        if learner.matched_seq >= self.target.seq:
            await self._swap(
                primary._with_state(self._placed.value, {learner.node}, ReplicaState.IN_SYNC)
            )

    return ((Primary, "_join", join),)


def _drops_without_a_swap() -> Patches:
    """Go on without a silent replica before the set says so."""

    def required(self: Primary) -> list[Follower]:
        return [each for each in original(self) if not each.is_silent(300)]

    original = Primary._required
    return ((Primary, "_required", required),)


def _applies_what_is_not_committed() -> Patches:
    """Apply records as they come, so that what may be discarded is in the rows."""

    def append(connection: Any, **kept: Any) -> Any:
        return original(connection, **{**kept, "committed_seq": 1 << 40})

    original = replica_log.append
    return ((replica_log, "append", append),)


def _cuts_within_an_epoch() -> Patches:
    """Replace whatever differs, or is missing, by what the latest message says (B7)."""

    def append(connection: Any, *, after: Any, records: Any, **kept: Any) -> Any:
        state = replica_log.read_state(connection)
        last_seq = records[-1].seq if records else after.seq
        if state.applied_seq <= last_seq < state.end.seq:
            digest = replica_log._digest_at(connection, state, last_seq)
            if digest is not None:
                connection.execute("DELETE FROM log WHERE SEQ > ?", (last_seq,))
                connection.execute(
                    "UPDATE meta SET SEQ = ?, DIGEST = ?, APPLIED_SEQ = ?",
                    (last_seq, digest, state.applied_seq),
                )
        return original(connection, after=after, records=records, **kept)

    original = replica_log.append
    return ((replica_log, "append", append),)


def _acknowledges_what_is_not_durable() -> Patches:
    """Let a replica answer before its log is synced (I1)."""

    def change(self: RangeWriter, work: Any) -> Any:
        self._residency.defers_sync = True
        try:
            return changed(self, work)
        finally:
            self._residency.defers_sync = False

    changed = RangeWriter.change
    return ((RangeWriter, "change", change),)


def _forgets_requests_elsewhere() -> Patches:
    """Keep names of requests at the primary alone: a failover forgets them (I9)."""
    return ((replica_log, "_remember", lambda *_: None),)


def _forgets_requests() -> Patches:
    """Do a named request again as if it were another one (I9)."""
    return ((requests, "find", lambda *_, **__: None),)


def _fails_over_to_anybody() -> Patches:
    """Name any replica primary, in sync or not."""

    async def fail_over(placed: Placed, coordinator: Any, *, peer_of: Any) -> Any:
        everybody = msgspec.structs.replace(
            placed.value,
            replicas=tuple(
                msgspec.structs.replace(each, state=ReplicaState.IN_SYNC)
                for each in placed.value.replicas
            ),
        )
        wrong = placements.Placed(path=placed.path, value=everybody, revision=placed.revision)
        return await original(wrong, coordinator, peer_of=peer_of)

    original = failover.fail_over
    return ((replicated, "fail_over", fail_over),)


def _answers_refusals_unconfirmed() -> Patches:
    """Tell a client that its condition failed without being certain to be the primary."""

    def init(self: Shipment, prepared: Any, replication: Any, **kept: Any) -> None:
        begin(self, prepared, _Sure(replication), **kept)

    begin = Shipment.__init__
    return ((Shipment, "__init__", init),)


class _Sure:
    """A replication that is always certain."""

    def __init__(self, replication: Any) -> None:
        self.ship, self.committed = replication.ship, replication.committed
        self.wanted_after_seq = replication.wanted_after_seq

    def certain(self) -> None:
        return None


def _takes_a_copy_for_whole() -> Patches:
    """Append to a copy that is not finished as to any other replica."""
    return ((replica_log, "NEVER_WHOLE", -1), (replica_log.ReplicaState, "is_whole", True))


_all: Final = (
    _acknowledges_alone,
    _serves_without_a_lease,
    _counts_its_lease_too_long,
    _does_not_wait_out_its_promise,
    _refuses_no_old_epoch,
    _forgets_its_promise,
    _reopens_in_its_old_epoch,
    _opens_without_sealing,
    _opens_without_the_longest_log,
    _opens_with_who_is_there,
    _serves_before_the_opening_is_held,
    _swaps_what_it_reads,
    _takes_unknown_for_failed,
    _shrinks_below_the_minimum,
    _joins_who_lags,
    _joins_without_waiting_for_it,
    _drops_without_a_swap,
    _applies_what_is_not_committed,
    _cuts_within_an_epoch,
    _acknowledges_what_is_not_durable,
    _forgets_requests_elsewhere,
    _forgets_requests,
    _fails_over_to_anybody,
    _answers_refusals_unconfirmed,
    _takes_a_copy_for_whole,
)
ALL = {each.__name__.strip("_"): each for each in _all}
