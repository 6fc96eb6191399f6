"""A range that nobody can open, as the admin API sees it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from dstore.model.errors import RefusalKind, Refused
from dstore.service.control.loss_reports import LeftRow, LossReport
from dstore.storage.control.records import TaskId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.storage.control.records import RangeId

LEFT: Final = "00000000-0000-4000-8000-000000000021"
GONE: Final = "00000000-0000-4000-8000-000000000022"

LOSS = LossReport(
    tenant="acme",
    table="orders",
    range_id="",
    low_hash=0,
    high_hash=4_294_967_295,
    epoch=4,
    has_possible_loss=False,
    replicas=(
        LeftRow(
            node=LEFT,
            state="learner",
            is_alive=True,
            is_heard=True,
            is_same_disk=True,
            is_whole=True,
            epoch=3,
            sequence=70,
            newest_at_us=1_000_000,
            entries=12,
        ),
        LeftRow(node=GONE, state="in_sync", is_alive=False),
    ),
    best=LEFT,
    missing=(GONE,),
    is_lossless=False,
    why_not="",
)


@dataclass(slots=True)
class FakeLosing:
    """One range that nobody can open; `asked` is what was asked of it."""

    range_id: str
    asked: list[Any] = field(default_factory=list)

    async def report(self, range_id: RangeId) -> LossReport:
        self._check(range_id)
        return replace(LOSS, range_id=range_id)

    async def accept(
        self, range_id: RangeId, *, gone: Sequence[str], reason: str, actor: str
    ) -> TaskId:
        self._check(range_id)
        self.asked.append(("accept", tuple(gone), reason, actor))
        return TaskId("accept_loss-1")

    async def clear(self, range_id: RangeId, *, reason: str, actor: str) -> TaskId:
        self._check(range_id)
        self.asked.append(("clear", reason, actor))
        return TaskId("clear_loss-1")

    def _check(self, range_id: RangeId) -> None:
        if range_id != self.range_id:
            raise Refused(RefusalKind.NOT_FOUND, "There is no such range.")
