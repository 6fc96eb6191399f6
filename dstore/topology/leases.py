"""A key that stands for as long as its process lives: under a lease, renewed, taken up again.

A node's `alive` and the leader's name are such keys. What is believed about one is on the safe
side:

- A lease counts from when its renewal was *sent*, on the holder's own clock, less a margin (B1,
  B3). Once that time is over the key counts as lost, whatever etcd says later.
- A renewal only proves that the lease lives (B2). The key is watched too: deleted or overwritten,
  it is lost at once.
- After a loss everything begins anew: new lease, new put, new revision. Leases vanish for no reason
  (B14), so that is quick.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import LEASE_MARGIN_S, LEASE_RENEWALS
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import (
    NO_REVISION,
    Coordinator,
    CoordinatorError,
    CoordinatorUnavailable,
    CreateRevisionIs,
    Events,
    KeyValue,
    LeaseGone,
    LeaseId,
    Put,
    Resync,
    Revision,
    Transaction,
    WatchBatch,
)

_log: Final = get_logger(__name__)

_REVOKE_S_MAX: Final = 1.0  # at the end; else the lease ends by itself


@dataclass(slots=True, kw_only=True)
class _Term:
    """One lease, from its grant to its loss."""

    lease_id: LeaseId
    certain_until_ns: int
    held_since: Revision = NO_REVISION  # of the key's put under this lease


class LeasedKey:
    """Holds one key; `run` it in an owned task, cancel that to let the key go."""

    __slots__ = (
        "_clock",
        "_coordinator",
        "_entropy",
        "_is_exclusive",
        "_key",
        "_on_change",
        "_on_taken",
        "_tasks",
        "_term",
        "_ttl_s",
        "_value",
    )

    def __init__(
        self,
        coordinator: Coordinator,
        key: str,
        value: bytes,
        *,
        ttl_s: int,
        is_exclusive: bool,
        clock: Clock,
        entropy: Entropy,
        on_change: Callable[[Revision | None], None],
        on_taken: Callable[[], None] | None = None,
    ) -> None:
        """Say what to hold.

        Args:
            coordinator: where.
            key: which; nobody else puts it without a lease of their own.
            value: what it says.
            ttl_s: seconds until others see that this process is gone; > 2 * LEASE_MARGIN_S.
            is_exclusive: wait until the key does not exist, instead of overwriting it.
            clock: judges how long the lease is certain.
            entropy: spreads retries.
            on_change: is told the put's revision when the key is held, None as soon as it is lost.
            on_taken: is told if somebody else has overwritten the key while it was held.
        """
        assert ttl_s > 2 * LEASE_MARGIN_S, ttl_s
        self._coordinator = coordinator
        self._key = key
        self._value = value
        self._ttl_s = ttl_s
        self._is_exclusive = is_exclusive
        self._clock = clock
        self._entropy = entropy
        self._on_change = on_change
        self._on_taken = on_taken
        self._tasks = Tasks(_ignored)
        self._term: _Term | None = None

    @property
    def held_since(self) -> Revision | None:
        """The revision of the put, while it is certain that the key is held; else None.

        It is certain for this step of the event loop: ask again after every await.
        """
        term = self._term
        if term is None or not term.held_since:
            return None
        return term.held_since if self._clock.monotonic_ns() < term.certain_until_ns else None

    async def run(self) -> None:
        """Hold the key, again and again, until cancelled; then let it go at once."""
        backoff = Backoff(self._entropy)
        try:
            while True:
                if await self._hold_once():
                    backoff.reset()
                await asyncio.sleep(backoff.next_s())
        finally:
            await self._tasks.close()

    async def _hold_once(self) -> bool:
        """Live through one term. Returns: whether the key was held in it, and not taken away."""
        sent_ns = self._clock.monotonic_ns()
        try:
            lease = await self._coordinator.grant(self._ttl_s)
        except CoordinatorError as error:
            _log.warning("lease_not_granted", path=self._key, why=error.message)
            return False
        term = _Term(
            lease_id=lease.lease_id, certain_until_ns=self._certain_until_ns(sent_ns, lease.ttl_s)
        )
        self._term = term
        watching = self._tasks.spawn(self._watched(term), name="leased_key")
        renewing = self._tasks.spawn(self._renewed(term), name="lease_renewal")
        try:
            await asyncio.wait((watching, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._term = None
            why = ""
            if term.held_since:
                ended = renewing if renewing.done() else watching
                why = ended.result() if ended.done() and not ended.cancelled() else "let go"
                _log.info("leased_key_lost", path=self._key, why=why, held_since=term.held_since)
                self._on_change(None)
            if why == _TAKEN and self._on_taken is not None:
                self._on_taken()
            watching.cancel()
            renewing.cancel()
            await asyncio.wait((watching, renewing))
            await self._revoke(term)
        # Two that take one key from each other do so ever more slowly.
        return term.held_since != NO_REVISION and why != _TAKEN

    async def _renewed(self, term: _Term) -> str:
        """Renew the lease until it is lost. Returns: why it is."""
        pause_s = self._ttl_s / LEASE_RENEWALS
        while True:
            await asyncio.sleep(max(min(pause_s, self._certain_s(term)), 0.0))
            sent_ns = self._clock.monotonic_ns()
            certain_s = self._certain_s(term)
            if certain_s <= 0:
                return "its time is over"
            try:
                ttl_s = await self._coordinator.keep_alive(
                    term.lease_id, timeout_s=min(certain_s, self._ttl_s / LEASE_RENEWALS)
                )
            except LeaseGone:
                return "the lease is gone"
            except CoordinatorUnavailable:
                pause_s = self._ttl_s / LEASE_RENEWALS / 4
                continue
            except CoordinatorError as error:
                return error.message
            if self._certain_s(term) <= 0:
                return "a renewal came too late"
            pause_s = self._ttl_s / LEASE_RENEWALS
            term.certain_until_ns = self._certain_until_ns(sent_ns, ttl_s)

    async def _watched(self, term: _Term) -> str:
        """Put the key and watch it until it is lost. Returns: why it is."""
        try:
            if not self._is_exclusive:
                revision = await self._coordinator.put(
                    self._key, self._value, lease_id=term.lease_id
                )
                self._held(term, revision)
            async with aclosing(self._coordinator.watch(self._key)) as watch:
                async for batch in watch:
                    seen = _key_in(batch, self._key)
                    # What happened before the key was won tells nothing of whether it still is.
                    if seen is _UNTOUCHED or batch.revision < term.held_since:
                        continue
                    why = await self._judged(term, seen if isinstance(seen, KeyValue) else None)
                    if why is not None:
                        return why
        except CoordinatorError as error:
            return error.message
        return "the coordinator was closed"

    async def _judged(self, term: _Term, kv: KeyValue | None) -> str | None:
        """Act on what the key is now. Returns: why the term is over, None if it is not."""
        if term.held_since:
            if kv is None:
                return "the key was deleted"
            return _TAKEN if kv.lease_id != term.lease_id else None
        if kv is not None:
            return None  # another's; its end will be seen
        put = Put(key=self._key, value=self._value, lease_id=term.lease_id)
        result = await self._coordinator.commit(
            Transaction(
                compares=(CreateRevisionIs(key=self._key, revision=NO_REVISION),), then=(put,)
            )
        )
        if result.succeeded:
            self._held(term, result.revision)
        return None

    def _held(self, term: _Term, revision: Revision) -> None:
        if self._certain_s(term) <= 0:
            return  # the answer came too late; the renewal's task ends the term
        term.held_since = revision
        _log.info("leased_key_held", path=self._key, held_since=revision)
        self._on_change(revision)

    async def _revoke(self, term: _Term) -> None:
        with suppress(CoordinatorError):
            await self._coordinator.revoke(term.lease_id, timeout_s=_REVOKE_S_MAX)

    def _certain_until_ns(self, sent_ns: int, ttl_s: int) -> int:
        return sent_ns + int((ttl_s - LEASE_MARGIN_S) * NS_PER_S)

    def _certain_s(self, term: _Term) -> float:
        return (term.certain_until_ns - self._clock.monotonic_ns()) / NS_PER_S


_UNTOUCHED: Final = object()
_TAKEN: Final = "the key was taken"


def _key_in(batch: WatchBatch, key: str) -> object:
    """Find what became of one key: a KeyValue, None if it is deleted, or _UNTOUCHED."""
    match batch:
        case Resync(listing=listing):
            return next((kv for kv in listing.kvs if kv.key == key), None)
        case Events(events=events):
            return next((event.kv for event in events if event.key == key), _UNTOUCHED)
        case _:
            return _UNTOUCHED


def _ignored(_error: BaseException) -> None:
    """Do nothing: `Tasks` has logged it."""
