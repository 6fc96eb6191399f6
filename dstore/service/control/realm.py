"""What every change of control's needs at hand, and the steps that all of them share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from dstore.base.clock import NS_PER_S
from dstore.base.limits import OUTBOX_BATCH_MAX, PUBLISHED_BYTES_MAX, REPLICATION_FACTOR_DEFAULT
from dstore.model.errors import Unavailable, UnavailableKind, invalid
from dstore.security.identity import UUID_FORM
from dstore.storage.control import audit, outbox
from dstore.storage.control.records import AuditEntry, Publication
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.service.control.leader import Leader
    from dstore.service.control.plane import ControlPlane
    from dstore.service.control.publisher import Publisher
    from dstore.storage.control.store import Transaction
    from dstore.topology.coordinator import Revision
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import TopologyWatcher

Found = TypeVar("Found")

_UUID: Final = re.compile(UUID_FORM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """One control process at work.

    Attributes:
        ranges_per_table: the operator's setting, see `placement.range_count`.
        replication_factor: the operator's setting, of tables that have none of their own.
        has_indexes: whether global indexes are made, or only kept as they are declared.
        tasks_due: set to have the leader look for tasks at once.
    """

    plane: ControlPlane
    leader: Leader
    publisher: Publisher
    watcher: TopologyWatcher
    clock: Clock
    entropy: Entropy
    ranges_per_table: int | None = None
    replication_factor: int = REPLICATION_FACTOR_DEFAULT
    has_indexes: bool = True
    tasks_due: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Transaction]:
        """Change something as the leader, in one transaction.

        Raises: NotLeading, Unavailable: nothing was changed. Unknown: it may have been.
        """
        status = self.watcher.status()
        if status.state is TopologyState.FROZEN:
            raise Unavailable(UnavailableKind.LOCKED, status.sentence)
        async with self.leader.term().transaction() as tx:
            yield tx

    async def shown(self, sequence: int) -> Revision:
        """Wait until what was appended up to `sequence` is visible; 0 is always.

        Raises: Unknown: it is recorded, and not visible yet.
        """
        return await self.publisher.published(sequence)

    async def until(
        self, look: Callable[[TopologyView], Found | None], *, timeout_s: float
    ) -> Found | None:
        """Wait until something is to be seen in the view. Returns: it; None: it is not in time.

        Args:
            look: looks at each view; cheap. None: not yet.
            timeout_s: seconds to wait at the most.
        """
        ends_ns = self.clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        while True:
            view = self.watcher.view
            found = look(view)
            left_s = (ends_ns - self.clock.monotonic_ns()) / NS_PER_S
            if found is not None or left_s <= 0:
                return found
            try:
                async with asyncio.timeout(left_s):
                    await self.watcher.reached(type(view.revision)(view.revision + 1))
            except TimeoutError:
                return look(self.watcher.view)

    async def audit(
        self, tx: Transaction, *, actor: str, action: str, subject: str, result: str = "done"
    ) -> None:
        """Write down who does what, in the transaction that does it."""
        entry = AuditEntry(
            at_us=self.clock.wall_us(),
            actor=actor or "control",
            action=action,
            subject=subject,
            result=result,
        )
        await audit.append(tx, entry)


async def append(tx: Transaction, publications: Sequence[Publication]) -> int:
    """Append writes in batches that the coordinator takes at once. Returns: the last sequence.

    Writes of one batch become visible together; which ones those are follows their order.
    """
    batch: list[Publication] = []
    size_bytes = sequence = 0
    for each in publications:
        each_bytes = len(each.key) + len(each.value or b"")
        if batch and (
            len(batch) == OUTBOX_BATCH_MAX or size_bytes + each_bytes > PUBLISHED_BYTES_MAX
        ):
            sequence = await outbox.append(tx, batch)
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += each_bytes
    return await outbox.append(tx, batch) if batch else sequence


def check_uuid(text: str, what: str) -> str:
    """Give a caller's UUID back. Raises: Refused(INVALID): it is spelled otherwise than ours."""
    if _UUID.fullmatch(text) is None:
        raise invalid(f"The {what} is no UUID in lower case with hyphens.")
    return text
