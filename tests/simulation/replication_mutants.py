"""Broken variants of replication: every sentence of REPLICATION.md whose absence loses data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from dstore.replication import accepted_loss, failover, leases, opening, placements
from dstore.replication.follower import Follower
from dstore.replication.leases import Promise
from dstore.replication.members import Members
from dstore.replication.primary import Primary
from dstore.replication.replica import Replica
from dstore.service.cluster import boot_counter
from dstore.storage import brief_names, range_file, replica_copy, replica_log, requests
from dstore.storage.range_writer import RangeWriter
from dstore.storage.shipments import Shipment
from dstore.storage.vault import main_file, wal_file
from dstore.topology.coordinator import CoordinatorUnavailable, OutcomeUnknown
from dstore.topology.values import ReplicaState
from tests.simulation import replicated
from tests.simulation.accepted import ACCEPTED
from tests.simulation.focused import DEPOSED, LONELY
from tests.simulation.mutants import Mutant
from tests.simulation.replicated import REPLICATED
from tests.simulation.returned import RETURNED
from tests.simulation.scanty import SCANTY

if TYPE_CHECKING:
    from dstore.replication.placements import Placed
    from tests.simulation.mutants import Patches


def _acknowledges_alone() -> Patches:
    """Ship, and wait for nobody."""

    def ship(self: Primary, records: Any, *, end: Any) -> Any:
        shipping = original(self, records, end=end)
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


def _refuses_no_old_epoch() -> Patches:
    """Take records of a primary of an older epoch too (I6)."""

    async def bows_to(self: Replica, epoch: int, primary: str) -> bool:
        del epoch
        await self._load()
        return primary != self._around.node and self._primary is None

    return ((Replica, "_bows_to", bows_to),)


def _reopens_in_its_old_epoch() -> Patches:
    """Go on after a restart in the epoch of before: what was shipped then is met again (B2)."""

    async def own_epoch(self: Replica, placed: Placed) -> Placed:
        async with self._turn:
            await self._load()
            await self._promise_epoch(placed.value.epoch)
        return placed

    return ((Replica, "_own_epoch", own_epoch),)


def _swaps_what_it_reads() -> Patches:
    """Read the range's value anew and change that, whoever is primary by now (B5)."""

    async def swap(coordinator: Any, before: Placed, value: Any, *, pause: Any) -> Placed:
        now = await placements.read(coordinator, before.path)
        return await original(coordinator, now or before, value, pause=pause)

    original = placements.swap
    return ((placements, "swap", swap),)


def _drops_without_a_swap() -> Patches:
    """Go on without a silent replica before the set says so."""

    def required(self: Members) -> list[Follower]:
        return [each for each in original(self) if not each.is_silent(300)]

    original = Members.required
    return ((Members, "required", required),)


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


def _forgets_names_of_requests() -> Patches:
    """Do a named request again as if it were another one (I9)."""
    return tuple((names, "find", lambda *_, **__: None) for names in (requests, brief_names))


def _takes_a_copy_for_whole() -> Patches:
    """Append to a copy that is not finished as to any other replica."""
    return ((replica_log, "NEVER_WHOLE", -1), (replica_log.ReplicaState, "is_whole", True))


def _copies_what_its_rows_lack() -> Patches:
    """Let the log follow a copy from its end, whatever of it the rows show."""

    async def copy_start(self: Primary) -> replica_copy.CopyStart:
        file = await self._around.open_file(self.range_id)
        history = (await file.look(replica_log.standing)).history
        known = tuple(each for each in history if each.first_seq <= self.end.seq)
        return replica_copy.CopyStart(epoch=known[-1].epoch, point=self.end, history=known)

    return ((Primary, "copy_start", copy_start),)


def _does_not_wait_out_its_promise() -> Patches:
    """Serve at once as the new primary, whatever was promised to the old one."""
    return ((Promise, "wait_ns", lambda _self, _primary: 0),)


def _opens_with_who_is_there() -> Patches:
    """Go on without those who were not heard, and leave them in the set."""

    async def leave_out(placed: Placed, nodes: set[str], around: Any) -> Placed:
        del around
        smaller = placements.with_state(placed.value, nodes, ReplicaState.LEARNER)
        return placements.Placed(path=placed.path, value=smaller, revision=placed.revision)

    return ((opening, "_leave_out", leave_out), (opening, "REPLICA_SILENT_MS", 50))


def _joins_who_lags() -> Patches:
    """Take a learner into the set that has not everything yet."""

    async def join(self: Members, learner: Follower) -> None:
        await self.swap(
            placements.with_state(self.placed.value, {learner.node}, ReplicaState.IN_SYNC)
        )

    return ((Members, "_join", join), (Members, "_is_ready", lambda _self, _learner: True))


def _joins_without_waiting_for_it() -> Patches:
    """Acknowledge without a joiner until its swap is known to have happened."""

    async def join(self: Members, learner: Follower) -> None:
        if learner.matched_seq >= self._leader.target.seq:
            await self.swap(
                placements.with_state(self.placed.value, {learner.node}, ReplicaState.IN_SYNC)
            )

    return ((Members, "_join", join),)


def _applies_what_is_not_committed() -> Patches:
    """Apply records as they come, so that what may be discarded is in the rows."""

    def append(connection: Any, **kept: Any) -> Any:
        return original(connection, **{**kept, "committed_seq": 1 << 40})

    original = replica_log.append
    return ((replica_log, "append", append),)


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


def _takes_any_answer_for_a_lease() -> Patches:
    """Take an answer that refuses for one that renews: it is alive, so one is primary (B2)."""

    def depose(self: Primary, _epoch: int) -> None:
        for each in self._members.followers.values():
            each.answered_sent_ns = self._now_ns()
            each.lease_until_ns = leases.lease_until_ns(each.answered_sent_ns)
        self.look()

    return ((Primary, "depose", depose),)


def _takes_an_unknown_swap_for_failed() -> Patches:
    """Believe that a swap whose answer was lost has not happened (B6)."""

    async def swap(coordinator: Any, before: Placed, value: Any, *, pause: Any) -> Placed:
        return await original(cast("Any", _Hasty(coordinator)), before, value, pause=pause)

    original = placements.swap
    return ((placements, "swap", swap),)


class _Hasty:
    """A coordinator of which nobody waits to hear."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    async def commit(self, transaction: Any) -> Any:
        try:
            return await self._coordinator.commit(transaction)
        except OutcomeUnknown as error:
            raise CoordinatorUnavailable("It has not answered.") from error


def _ends_at_what_is_applied() -> Patches:
    """Forget in a new epoch what is not known to be committed (B8)."""

    def promise(connection: Any, epoch: int) -> None:
        state = replica_log.read_state(connection)
        if epoch > state.promised_epoch and state.is_whole:
            _end_log_at(connection, state.applied_seq)
        original(connection, epoch)

    original = replica_log.promise
    return ((replica_log, "promise", promise),)


def _end_log_at(connection: Any, seq: int) -> None:
    """Forget the records behind one, which stays if it is there."""
    state = replica_log.read_state(connection)
    point = replica_log.point_at(connection, seq)
    rows = connection.execute("SELECT EPOCH FROM log WHERE SEQ = ?", (seq,)).fetchall()
    if point is None or not rows:
        return
    connection.execute("DELETE FROM log WHERE SEQ > ?", (seq,))
    connection.execute("DELETE FROM epoch WHERE FIRST_SEQ > ?", (seq,))
    connection.execute(
        "UPDATE meta SET SEQ = ?, DIGEST = ?, EPOCH = ?, APPLIED_SEQ = ?",
        (seq, point.digest, rows[0][0], state.applied_seq),
    )


def _trusts_every_directory() -> Patches:
    """Go on with whatever lies on the disk, an old copy or nothing, as the one of before."""
    return ((boot_counter, "_agrees", lambda *_, **__: True),)


def _trims_what_is_not_applied() -> Patches:
    """Trim the log early: what a replica has still to apply goes too."""

    def apply(connection: Any, state: Any, *, up_to_seq: int) -> None:
        original(connection, state, up_to_seq=up_to_seq)
        connection.execute("DELETE FROM log WHERE SEQ <= ?", (up_to_seq + 1,))

    original = replica_log.apply
    return ((replica_log, "apply", apply),)


def _refuses_at_once() -> Patches:
    """Tell of a condition that failed without making certain of being the primary."""

    def begin(self: Shipment, prepared: Any, replication: Any, **others: Any) -> None:
        one = cast("Any", _Certain()) if prepared.is_empty else replication
        original(self, prepared, one, **others)

    original = Shipment.__init__
    return ((Shipment, "__init__", begin),)


def _undoes_without_the_disk() -> Patches:
    """Undo what the event loop began with a batch from what is in memory, or not (I1)."""

    class Absent(Exception):
        """A page is not in memory."""

    def roll_back(self: RangeWriter) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    readers = (main_file, wal_file, range_file)
    return (
        (RangeWriter, "_roll_back", roll_back),
        *((module, "NotResident", Absent) for module in readers),
    )


def _takes_what_is_left_for_all() -> Patches:
    """Accept what is left of a range without saying that it may lack something (B10)."""
    return ((accepted_loss.Remains, "is_lossless", True),)


def _accepts_in_its_old_epoch() -> Patches:
    """Accept what is left of a range in an epoch that who comes back has promised."""

    def accepted(value: Any, *args: Any, **named: Any) -> Any:
        return msgspec.structs.replace(original(value, *args, **named), epoch=value.epoch)

    original = accepted_loss.accepted
    return ((accepted_loss, "accepted", accepted),)


class _Certain:
    """A replication that is always certain."""

    def certain(self) -> None:
        return None


_SEEDS: Final = {
    _acknowledges_alone: (REPLICATED, 0),
    _serves_without_a_lease: (REPLICATED, 0),
    _counts_its_lease_too_long: (REPLICATED, 2),
    _refuses_no_old_epoch: (REPLICATED, 1),
    _reopens_in_its_old_epoch: (REPLICATED, 0),
    _swaps_what_it_reads: (REPLICATED, 3),
    _drops_without_a_swap: (REPLICATED, 0),
    _applies_what_is_not_committed: (REPLICATED, 21),
    _acknowledges_what_is_not_durable: (RETURNED, 11),
    _forgets_requests_elsewhere: (REPLICATED, 1),
    _forgets_names_of_requests: (REPLICATED, 8),
    _takes_a_copy_for_whole: (REPLICATED, 5),
    _copies_what_its_rows_lack: (RETURNED, 63),
    _opens_with_who_is_there: (LONELY, 5),
    _joins_who_lags: (LONELY, 0),
    _joins_without_waiting_for_it: (LONELY, 7),
    _fails_over_to_anybody: (LONELY, 3),
    _does_not_wait_out_its_promise: (DEPOSED, 2),
    _takes_any_answer_for_a_lease: (DEPOSED, 2),
    _takes_an_unknown_swap_for_failed: (LONELY, 9),
    _ends_at_what_is_applied: (LONELY, 0),
    _trusts_every_directory: (RETURNED, 0),
    _trims_what_is_not_applied: (LONELY, 0),
    _refuses_at_once: (REPLICATED, 11),
    _undoes_without_the_disk: (SCANTY, 3),
    _takes_what_is_left_for_all: (ACCEPTED, 0),
    _accepts_in_its_old_epoch: (ACCEPTED, 1),
}

REPLICATION_MUTANTS: Final = tuple(
    Mutant(name=patches.__name__.strip("_"), patches=patches, scenario=scenario, seed=seed)
    for patches, (scenario, seed) in _SEEDS.items()
)
