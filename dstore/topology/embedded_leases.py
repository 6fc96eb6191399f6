"""The embedded coordinator's leases: when each ends, and which keys stand under it."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.limits import EMBEDDED_LEASES_MAX
from dstore.topology.coordinator import NO_LEASE, CoordinatorFull, Events, LeaseId
from dstore.topology.embedded_versions import Versions, check_lease

_NEVER: Final = 1 << 63


@dataclass(slots=True, kw_only=True)
class _Lease:
    ttl_s: int
    ends_at_ns: int
    keys: set[str] = field(default_factory=set)


class Leases(Container[LeaseId]):
    """All leases that have not been ended, those that are due included.

    Invariant: a key is in its lease's `keys` if and only if its newest version names that lease.
    """

    __slots__ = ("_clock", "_leases", "next_end_ns")

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._leases: dict[LeaseId, _Lease] = {}
        self.next_end_ns = _NEVER  # no lease ends before, in `Clock.monotonic_ns`

    def __contains__(self, lease_id: object) -> bool:
        """Tell whether a lease has not been ended."""
        return lease_id in self._leases

    def check_room(self) -> None:
        """Refuse one lease too many. Raises: CoordinatorFull."""
        if len(self._leases) >= EMBEDDED_LEASES_MAX:
            raise CoordinatorFull(f"There are {EMBEDDED_LEASES_MAX} leases already.")

    def add(self, lease_id: LeaseId, ttl_s: int) -> None:
        """Let a lease begin now."""
        ends_at_ns = self._clock.monotonic_ns() + ttl_s * NS_PER_S
        self._leases[lease_id] = _Lease(ttl_s=ttl_s, ends_at_ns=ends_at_ns)
        self.next_end_ns = min(self.next_end_ns, ends_at_ns)

    def adopt(self, key: str, lease_id: LeaseId) -> None:
        """Note that a key stands under a lease; one that is gone has no keys."""
        if lease_id in self._leases:
            self._leases[lease_id].keys.add(key)

    def renew(self, lease_id: LeaseId) -> int:
        """Let a lease's seconds begin anew and return them. Raises: LeaseGone."""
        check_lease(lease_id, self._leases)
        lease = self._leases[lease_id]
        lease.ends_at_ns = self._clock.monotonic_ns() + lease.ttl_s * NS_PER_S
        return lease.ttl_s

    def end(self, lease_id: LeaseId) -> None:
        """Forget a lease."""
        self._leases.pop(lease_id, None)

    def keys_of(self, lease_id: LeaseId) -> frozenset[str] | None:
        """Name what stands under a lease; None if there is no such lease."""
        lease = self._leases.get(lease_id)
        return None if lease is None else frozenset(lease.keys)

    def is_due(self, lease_id: LeaseId) -> bool:
        """Tell whether a lease's time is over and it has not been ended."""
        lease = self._leases.get(lease_id)
        return lease is not None and lease.ends_at_ns <= self._clock.monotonic_ns()

    def due(self) -> tuple[LeaseId, ...]:
        """Name the leases whose time is over, and find out when the next one's will be."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self.next_end_ns:
            return ()
        ends = (lease.ends_at_ns for lease in self._leases.values())
        self.next_end_ns = min(ends, default=_NEVER)
        return tuple(self._due(now_ns))

    def wait_s(self) -> float:
        """How long nothing will be due, in seconds."""
        return (self.next_end_ns - self._clock.monotonic_ns()) / NS_PER_S

    def move(self, changes: Events, versions: Versions) -> None:
        """Note under which lease each key will stand; `versions` are those before the changes."""
        for event in changes.events:
            before = versions.get(event.key)
            if before is not None and before.lease_id in self._leases:
                self._leases[before.lease_id].keys.discard(event.key)
            if event.kv is not None and event.kv.lease_id != NO_LEASE:
                self._leases[event.kv.lease_id].keys.add(event.key)

    def _due(self, now_ns: int) -> Iterator[LeaseId]:
        for lease_id, lease in self._leases.items():
            if lease.ends_at_ns <= now_ns:
                yield lease_id
