"""Keys and the history of their versions, as etcd keeps them: pure, in memory, no waiting.

It is the embedded coordinator's state and, since it has neither clock nor I/O, the model against
which the real etcd is compared. A write has two steps: `plan` tells what it would do and changes
nothing, `install` does it. Between them the caller makes it durable.
"""

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from dstore.base.limits import EMBEDDED_HISTORY_BYTES_MAX, EMBEDDED_HISTORY_REVISIONS_MAX
from dstore.topology.coordinator import (
    NO_LEASE,
    NO_REVISION,
    Compacted,
    Compare,
    CreateRevisionIs,
    Delete,
    Event,
    Events,
    Found,
    Get,
    KeyValue,
    LeaseGone,
    LeaseId,
    Listing,
    ModRevisionIs,
    Operation,
    Put,
    Removed,
    Response,
    Revision,
    RolledBack,
    Stored,
    Transaction,
    TransactionResult,
    ValueIs,
)

# etcd's revision before anything was written.
FIRST_REVISION: Final = Revision(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a transaction would do: `changes` is None if it writes nothing."""

    result: TransactionResult
    changes: Events | None


class Versions:
    """Every key's versions since the last compaction, and what changed at each revision.

    Invariant: `_history[i]` is what revision `compacted + 1 + i` changed; a key's versions grow by
    revision, and those below `compacted` are gone but for the newest, unless it is a deletion.
    """

    __slots__ = ("_history", "_history_bytes", "_keys", "_versions", "compacted", "revision")

    def __init__(
        self, *, revision: Revision = FIRST_REVISION, kvs: Iterable[KeyValue] = ()
    ) -> None:
        """Begin with what stood at a revision, without history."""
        self.revision = revision
        self.compacted = revision
        # (mod revision, what stood from then on)
        self._versions: dict[str, list[tuple[Revision, KeyValue | None]]] = {
            kv.key: [(kv.mod_revision, kv)] for kv in kvs
        }
        self._keys = sorted(self._versions)
        self._history: list[Events] = []
        self._history_bytes = 0

    def get(self, key: str, revision: Revision | None = None) -> KeyValue | None:
        """Read a key. Raises: Compacted, RolledBack."""
        versions = self._versions.get(key)
        if revision is None:
            return versions[-1][1] if versions else None
        self._check(revision)
        for since, kv in reversed(versions or ()):
            if since <= revision:
                return kv
        return None

    def list(self, prefix: str, revision: Revision | None = None) -> Listing:
        """Read what lies under a prefix. Raises: Compacted, RolledBack."""
        kvs: list[KeyValue] = []
        for index in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            kv = self.get(key, revision)
            if kv is not None:
                kvs.append(kv)
        if revision is not None:
            self._check(revision)
        return Listing(kvs=tuple(kvs), revision=self.revision if revision is None else revision)

    def plan(self, transaction: Transaction, leases: Container[LeaseId]) -> Plan:
        """Tell what a transaction would do now. Raises: LeaseGone."""
        succeeded = all(self._holds(compare) for compare in transaction.compares)
        branch = transaction.then if succeeded else transaction.otherwise
        for operation in branch:
            if isinstance(operation, Put) and operation.lease_id != NO_LEASE:
                check_lease(operation.lease_id, leases)
        events = self._events(branch)
        revision = Revision(self.revision + 1) if events else self.revision
        responses = tuple(self._responses(branch, events, revision))
        return Plan(
            result=TransactionResult(succeeded=succeeded, revision=revision, responses=responses),
            changes=Events(revision=revision, events=events) if events else None,
        )

    def plan_deletes(self, keys: Iterable[str]) -> Plan:
        """Tell what the end of a lease would do: its keys go, in their order, at one revision."""
        deletes = tuple(Delete(key=key) for key in sorted(keys))
        return self.plan(Transaction(then=deletes), ())

    def install(self, changes: Events) -> None:
        """Do what was planned; `changes.revision` is the next one."""
        assert changes.revision == self.revision + 1, changes.revision
        for event in changes.events:
            versions = self._versions.get(event.key)
            if versions is None:
                self._versions[event.key] = versions = []
                insort(self._keys, event.key)
            versions.append((changes.revision, event.kv))
        self.revision = changes.revision
        self._history.append(changes)
        self._history_bytes += _bytes_of(changes)
        if (
            len(self._history) > EMBEDDED_HISTORY_REVISIONS_MAX
            or self._history_bytes > EMBEDDED_HISTORY_BYTES_MAX
        ):
            # A quarter at a time, so that the moving of lists is a small part of any one write.
            self.compact(Revision(self.compacted + 1 + len(self._history) // 4))

    def compact(self, revision: Revision) -> None:
        """Forget what stood before a revision. Raises: RolledBack: it is to come yet."""
        if revision > self.revision:
            raise rolled_back(seen=revision, found=self.revision)
        if revision <= self.compacted:
            return
        forgotten = self._history[: revision - self.compacted]
        del self._history[: len(forgotten)]
        self.compacted = revision
        self._history_bytes -= sum(map(_bytes_of, forgotten))
        gone = {
            key
            for key in {event.key for changes in forgotten for event in changes.events}
            if self._is_gone(key)
        }
        if gone:
            self._keys = [key for key in self._keys if key not in gone]

    def changes_after(self, revision: Revision, *, revisions_max: int) -> tuple[Events, ...]:
        """Return what the next revisions changed, at most `revisions_max` of them.

        Raises: Compacted.
        """
        if revision < self.compacted:
            raise compacted(self.compacted)
        first = revision - self.compacted
        return tuple(self._history[first : first + revisions_max])

    def _check(self, revision: Revision) -> None:
        if revision > self.revision:
            raise rolled_back(seen=revision, found=self.revision)
        if revision < self.compacted:
            raise compacted(self.compacted)

    def _holds(self, compare: Compare) -> bool:
        kv = self.get(compare.key)
        match compare:
            case ModRevisionIs():
                return compare.revision == (kv.mod_revision if kv else NO_REVISION)
            case CreateRevisionIs():
                return compare.revision == (kv.create_revision if kv else NO_REVISION)
            case ValueIs():
                return kv is not None and kv.value == compare.value
            case _:
                assert_never(compare)

    def _events(self, branch: tuple[Operation, ...]) -> tuple[Event, ...]:
        revision = Revision(self.revision + 1)
        events: list[Event] = []
        for operation in branch:
            before = self.get(operation.key)
            match operation:
                case Put():
                    kv = KeyValue(
                        key=operation.key,
                        value=operation.value,
                        create_revision=before.create_revision if before else revision,
                        mod_revision=revision,
                        lease_id=operation.lease_id,
                    )
                    events.append(Event(key=kv.key, kv=kv))
                case Delete() if before is not None:
                    events.append(Event(key=operation.key, kv=None))
                case _:
                    pass
        return tuple(events)

    def _responses(
        self, branch: tuple[Operation, ...], events: tuple[Event, ...], revision: Revision
    ) -> Iterator[Response]:
        written = {event.key: event.kv for event in events}
        done: dict[str, KeyValue | None] = {}  # a Get sees what the operations before it wrote
        for operation in branch:
            key = operation.key
            match operation:
                case Get():
                    yield Found(kv=done[key] if key in done else self.get(key), revision=revision)
                case Put():
                    done[key] = written[key]
                    yield Stored(revision=revision)
                case Delete():
                    done[key] = None
                    yield Removed(existed=key in written, revision=revision)
                case _:
                    assert_never(operation)

    def _is_gone(self, key: str) -> bool:
        """Drop a key's versions below the compaction; tell whether nothing is left of it."""
        versions = self._versions[key]
        kept = 0
        while kept + 1 < len(versions) and versions[kept + 1][0] <= self.compacted:
            kept += 1
        if versions[kept][0] <= self.compacted and versions[kept][1] is None:
            kept += 1
        del versions[:kept]
        if not versions:
            del self._versions[key]
        return not versions


def check_lease(lease_id: LeaseId, leases: Container[LeaseId]) -> None:
    """Complain about a lease that is not there. Raises: LeaseGone."""
    if lease_id not in leases:
        raise LeaseGone(f"There is no lease {lease_id:x}; it ended or never was.")


def compacted(oldest: Revision) -> Compacted:
    """Make the error of a read below the oldest revision that is kept."""
    return Compacted(f"What stood before revision {oldest} is forgotten.", oldest=oldest)


def rolled_back(*, seen: Revision, found: Revision) -> RolledBack:
    """Make the error of a coordinator that is younger than what was seen of it."""
    return RolledBack(
        f"The coordinator is at revision {found}, though revision {seen} was seen: it was restored "
        "from an older copy."
    )


def _bytes_of(changes: Events) -> int:
    return sum(
        len(event.key) + (len(event.kv.value) if event.kv else 0) for event in changes.events
    )
