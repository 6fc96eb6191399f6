"""The port to the cluster's one source of decisions: etcd, or its twin inside this process.

Everything that more than one process must agree on is a key here, and every change has a revision:
one number for the whole store that only grows. `etcd.py` and `embedded.py` implement `Coordinator`
and pass one contract suite (`tests/contract/coordinator`). What the keys are called and what their
values mean is `topology.keyspace` and `topology.values`.

Errors, by what a caller does about them:

    CoordinatorError
    ├── CoordinatorUnavailable  a read, or a write that did not happen: try again later
    ├── OutcomeUnknown          a write that may have happened: assume the worse, then read
    ├── CoordinatorFull         out of space: nothing was written; reads and leases go on
    ├── CoordinatorRefused      not authorised, not trusted, over a bound: an operator or a bug
    ├── Compacted               a read at a revision whose history is gone: read the newest
    ├── LeaseGone               the lease expired or was revoked: grant another, put again
    └── RolledBack              another cluster, or an older state of this one: freeze
"""

from dataclasses import dataclass
from typing import Final, NewType, Protocol, Self, TypeAlias

from dstore.base.limits import COORDINATOR_TIMEOUT_S
from dstore.model.errors import DStoreError

Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)

NO_REVISION: Final = Revision(0)  # of a key that does not exist
NO_LEASE: Final = LeaseId(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A key as it stood at some revision; `mod_revision` >= `create_revision` >= 1."""

    key: str
    value: bytes
    create_revision: Revision  # of the put that made it after it last was absent
    mod_revision: Revision  # of its last put
    lease_id: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer of a get: None if the key did not exist at `revision`."""

    kv: KeyValue | None
    revision: Revision  # of the store, when it answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Every key under a prefix as it stood at one revision, by UTF-8 bytes of the key."""

    kvs: tuple[KeyValue, ...]
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The answer of a delete."""

    existed: bool
    revision: Revision  # of the store afterwards; unchanged if the key did not exist


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The answer of a put."""

    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A granted lease; the coordinator may grant more seconds than were asked for."""

    lease_id: LeaseId
    ttl_s: int


# -------------------------------------------------------------------------------- transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class ModRevisionIs:
    """True if the key's last put has this revision; NO_REVISION: if it does not exist."""

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRevisionIs:
    """True if the key was made at this revision; NO_REVISION: if it does not exist."""

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueIs:
    """True if the key exists and has this value."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Read a key inside a transaction, after the operations before it."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a key; a lease it had before is let go unless it is named again."""

    key: str
    value: bytes
    lease_id: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a key; no error if it does not exist."""

    key: str


Compare: TypeAlias = ModRevisionIs | CreateRevisionIs | ValueIs
Operation: TypeAlias = Get | Put | Delete
Response: TypeAlias = Found | Stored | Removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """If every compare is true, do `then`, else `otherwise`: at once, at one revision.

    Each part has at most TRANSACTION_OPERATIONS_MAX members, all of it at most
    COORDINATOR_REQUEST_BYTES_MAX bytes of keys and values, and one branch writes a key once.
    """

    compares: tuple[Compare, ...] = ()
    then: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionResult:
    """What a transaction did: one response for each operation of the branch that was taken."""

    succeeded: bool  # every compare was true
    revision: Revision  # of the store afterwards; of all that it wrote, if it wrote
    responses: tuple[Response, ...]


# -------------------------------------------------------------------------------------- watches


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A key was put, or deleted (`kv` is None): by a caller, or by the end of its lease."""

    key: str
    kv: KeyValue | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """All that one revision changed under the watched prefix, in the order of its operations."""

    revision: Revision
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """The whole prefix at one revision, in place of changes whose history is gone.

    What the watcher knows and does not find here was deleted meanwhile.
    """

    listing: Listing

    @property
    def revision(self) -> Revision:
        """The revision of the listing; what follows is newer."""
        return self.listing.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Nothing under the prefix changed up to this revision that was not reported before."""

    revision: Revision


WatchBatch: TypeAlias = Events | Resync | Progress


class Watch(Protocol):
    """A stream of batches without gap or repeat; close it, with `contextlib.aclosing` for one.

    Revisions of `Events` grow strictly. It outlives lost connections and waits for as long as they
    last: `heard_at_ns` tells how fresh it is. A caller that gives up waiting (`asyncio.timeout`
    around `anext`) loses nothing. One task reads it at a time.
    """

    @property
    def heard_at_ns(self) -> int:
        """When the coordinator last gave a sign of life on this watch, in `Clock.monotonic_ns`."""

    def __aiter__(self) -> Self:
        """Return the watch itself."""

    async def __anext__(self) -> WatchBatch:
        """Wait for the next batch.

        Raises:
            CoordinatorRefused: the prefix may not be watched.
            RolledBack: the coordinator is not the one whose revision the watch has reached.
            StopAsyncIteration: the watch or its coordinator was closed.
        """

    async def aclose(self) -> None:
        """End the watch; a reader that waits sees it end. Safe to call twice."""


# ----------------------------------------------------------------------------------------- port


class Coordinator(Protocol):
    """A small, consistent, watched store of keys.

    Reads are linearizable unless a revision is given. Every call gives up after `timeout_s`. A
    caller that is cancelled during a write knows as little as after `OutcomeUnknown`. Besides the
    errors named, each call raises CoordinatorUnavailable, CoordinatorRefused and RolledBack, and
    each write OutcomeUnknown and CoordinatorFull.

    A prefix is compared as text: end it with a slash. The empty prefix means every key.
    """

    async def get(
        self,
        key: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Found:
        """Read one key, as of `revision` if given. Raises: Compacted: that is too old."""

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Listing:
        """Read all keys under a prefix at one revision, in pages of COORDINATOR_PAGE_KEYS.

        `timeout_s` holds for each page. Raises: Compacted: `revision` is too old, or so much
        changed during the reading.
        """

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        lease_id: LeaseId = NO_LEASE,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Revision:
        """Write one key. Raises: LeaseGone: there is no such lease; nothing was written."""

    async def delete(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Removed:
        """Delete one key; a key that does not exist changes nothing, the revision included."""

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        """Do a transaction. Raises: LeaseGone: the branch puts under no such lease."""

    async def grant(self, ttl_s: int, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Lease:
        """Make a lease of 1 <= `ttl_s` <= LEASE_TTL_S_MAX seconds.

        Raises no OutcomeUnknown: a lease that nobody knows of ends by itself.
        """

    async def keep_alive(
        self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> int:
        """Let a lease's seconds begin anew and return them; count them from before the call.

        Raises: LeaseGone: it ended, and what was put under it is deleted or about to be.
            No OutcomeUnknown.
        """

    async def revoke(self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> None:
        """End a lease and delete what was put under it, at one revision; fine if it is gone."""

    def watch(self, prefix: str, *, after_revision: Revision | None = None) -> Watch:
        """Report every change under a prefix that is newer than a revision.

        With None the first batch is a `Resync` of the newest revision.
        """

    async def compact(
        self, revision: Revision, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> None:
        """Forget what stood before a revision; fine if it is forgotten already.

        Without it the history grows until there is no space left. Raises: RolledBack: the revision
        is to come yet. No OutcomeUnknown.
        """

    async def cluster_id(self, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> str:
        """Name this coordinator's cluster: 16 hexadecimal digits, for its whole life."""

    async def peek(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Found:
        """Read a key of whichever coordinator answers, be its past another than was seen.

        For whoever finds out whether to `accept` it; nothing else may be made of the answer.
        Raises no RolledBack.
        """

    def accept(self) -> None:
        """Take the coordinator that answers now for the right one, whatever was seen before.

        From here on RolledBack compares with what it says first. Only with proof that its control
        plane has recovered into it (REPLICATION.md).
        """

    async def close(self) -> None:
        """End all watches and calls, and let go of connections and files. Safe to call twice."""


# --------------------------------------------------------------------------------------- errors


class CoordinatorError(DStoreError):
    """The root of the port's errors; services translate them for their callers."""


class CoordinatorUnavailable(CoordinatorError):
    """No answer to a read, or a write that certainly did not happen."""


class OutcomeUnknown(CoordinatorError):
    """A write may or may not have happened; only a later linearizable read tells (B6)."""


class CoordinatorFull(CoordinatorError):
    """The coordinator has no space left; nothing was written."""


class CoordinatorRefused(CoordinatorError):
    """The coordinator will not do this however often it is asked."""


class Compacted(CoordinatorError):
    """The history of a revision is gone."""

    def __init__(self, message: str, *, oldest: Revision | None = None) -> None:
        """Name the oldest revision that can be read; None if it is not known."""
        super().__init__(message)
        self.oldest = oldest


class LeaseGone(CoordinatorError):
    """There is no such lease: it ended, was revoked or never was."""


class RolledBack(CoordinatorError):
    """The coordinator's past is not the one that this process has seen."""
