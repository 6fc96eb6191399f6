"""Which of several controls decides: the one whose name stands in a leased key.

The epoch is the revision of the key's creation, so it grows with every new leader. What a leader
writes compares it: `Leadership.fence` goes into the transaction, and the write of a deposed leader
fails, however late it arrives (B5).
"""

from collections.abc import Callable

from dstore.base.clock import Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import LEASE_TTL_S
from dstore.topology.coordinator import Coordinator, CreateRevisionIs, Revision
from dstore.topology.leases import LeasedKey


class Leadership:
    """One candidate; `run` it in an owned task, cancel that to resign."""

    __slots__ = ("_held", "_key")

    def __init__(
        self,
        coordinator: Coordinator,
        key: str,
        name: bytes,
        *,
        clock: Clock,
        entropy: Entropy,
        on_change: Callable[[Revision | None], None],
        ttl_s: int = LEASE_TTL_S,
    ) -> None:
        """Stand for leader.

        Args:
            coordinator: who counts.
            key: `control/leader`.
            name: the value of the key while this candidate leads.
            clock: judges how long the lease is certain.
            entropy: spreads retries.
            on_change: is told the epoch when this candidate leads, None as soon as it does not.
            ttl_s: seconds until another takes over from a dead leader.
        """
        self._key = key
        self._held = LeasedKey(
            coordinator,
            key,
            name,
            ttl_s=ttl_s,
            is_exclusive=True,
            clock=clock,
            entropy=entropy,
            on_change=on_change,
        )

    @property
    def epoch(self) -> Revision | None:
        """The epoch, while it is certain that this candidate leads; else None.

        It is certain for this step of the event loop: ask again after every await, or let `fence`
        ask.
        """
        return self._held.held_since

    def fence(self, epoch: Revision) -> CreateRevisionIs:
        """Return the compare that holds only while `epoch` is the leader's."""
        return CreateRevisionIs(key=self._key, revision=epoch)

    async def run(self) -> None:
        """Stand until cancelled; then resign, so that another leads at once."""
        await self._held.run()
