"""The splits of a node's ranges: seeds that are filled here, and ranges that are cut here."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.logging import get_logger
from dstore.base.sowing_limits import SPLIT_SOWN_S
from dstore.model.errors import DStoreError, NotMine, RefusalKind, Refused, invalid
from dstore.replication.peers.calls import Answered
from dstore.replication.replica_calls import SealReplica
from dstore.replication.seeds import SeedBed, Sower
from dstore.replication.split_calls import CUT_RANGE, RIPEN, SOW, RangeCut, Ripened, Sown
from dstore.replication.splitting import not_cut, ripen_all, sow_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.replication.peers.port import Received
    from dstore.replication.placements import Placed
    from dstore.replication.replica import Replica
    from dstore.replication.split_calls import CutRange, Ripen, Sow, Split
    from dstore.replication.surroundings import Surroundings

_log: Final = get_logger(__name__)


class Cuts:
    """Answers `split_calls`. Used from one event loop."""

    def __init__(
        self, around: Surroundings, bed: SeedBed, *, find: Callable[[str], Replica]
    ) -> None:
        """Prepare.

        Args:
            around: what replicas of a node share.
            bed: where seeds are.
            find: finds a replica by its range's id. Raises: NotMine.
        """
        self._around = around
        self._bed = bed
        self._find = find
        self._sowers: dict[str, tuple[Sower, asyncio.Task[None]]] = {}
        self._cuts: dict[str, asyncio.Task[None]] = {}

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=SOW, handler=self._sow),
            Answered(call=RIPEN, handler=self._ripen),
            Answered(call=CUT_RANGE, handler=self._cut),
        )

    def end(self, range_id: str) -> None:
        """Stop filling seeds of a range: it is none any more, or goes. Safe to call twice."""
        known = self._sowers.pop(range_id, None)
        if known is not None:
            known[1].cancel()

    async def _sow(self, request: Sow, received: Received) -> Sown:
        replica, promised_epoch = await self._bowed(request, received)
        if promised_epoch > request.epoch:
            return Sown(promised_epoch=promised_epoch)
        sower = self._sower(replica, request.split, epoch=request.epoch)
        level_seq = None if sower is None else sower.level_seq
        return Sown(promised_epoch=promised_epoch, level_seq=level_seq)

    async def _ripen(self, request: Ripen, received: Received) -> Ripened:
        _, promised_epoch = await self._bowed(request, received)
        sower, _ = self._sowers.get(request.range_id, (None, None))
        is_known = (
            sower is not None and sower.split == request.split and sower.epoch == request.epoch
        )
        if promised_epoch > request.epoch or not is_known:
            return Ripened(promised_epoch=promised_epoch)
        assert sower is not None
        return Ripened(promised_epoch=promised_epoch, is_ripe=await sower.ripen(request.point))

    async def _bowed(self, request: Sow | Ripen, received: Received) -> tuple[Replica, int]:
        """Promise the epoch of who asks, as to a primary.

        Raises: NotMine: another disk is meant. Refused: another node speaks for the primary.
        """
        if received.caller.uuid != request.primary:
            raise Refused(RefusalKind.FORBIDDEN, "A node asks other replicas in its own name only.")
        replica = self._find(request.range_id)
        sealed = await replica.seal(
            SealReplica(
                range_id=request.range_id,
                epoch=request.epoch,
                primary=request.primary,
                incarnation=request.incarnation,
            )
        )
        return replica, sealed.standing.promised_epoch

    def _sower(self, replica: Replica, split: Split, *, epoch: int) -> Sower | None:
        """Find who fills the seeds of an attempt; None: the range's value is not known here yet.

        There is one for an attempt, also behind a time in which nobody asked for its seeds: an old
        request may still be making them ripe, and nobody else may change them meanwhile.
        """
        known, placed = self._sowers.get(replica.range_id, (None, None)), replica.placed
        sower, filling = known
        is_same = sower is not None and (sower.split, sower.epoch) == (split, epoch)
        if sower is not None and is_same:
            sower.touch()
            if filling is not None and not filling.done():
                return sower
        if placed is None or placed.value.epoch != epoch:
            return None
        if sower is None or not is_same:
            self.end(replica.range_id)
            sower = Sower(
                placed,
                split,
                self._bed,
                around=self._around,
                is_wanted=lambda: _epoch_of(replica) == epoch,
            )
        filling = self._around.tasks.spawn(sower.run(), name="fill_seeds")
        self._sowers[replica.range_id] = (sower, filling)
        return sower

    async def _cut(self, request: CutRange, _received: Received) -> RangeCut:
        """Begin to split a range, or go on; it takes as long as filling the seeds does."""
        replica = self._find(request.range_id)
        is_meant = request.incarnation == self._around.incarnation
        if not is_meant or request.epoch != replica.serving_epoch:
            raise NotMine(request.range_id)
        placed = replica.placed
        assert placed is not None, "it serves"
        if not placed.path.low_hash < request.split.at_hash <= placed.value.high_hash:
            raise invalid("Both parts of a range that is split have hashes.")
        cutting = self._cuts.get(request.range_id)
        if cutting is None:
            cutting = self._around.tasks.spawn(self._do_cut(replica, request), name="cut_range")
            self._cuts[request.range_id] = cutting
            cutting.add_done_callback(lambda _: self._cuts.pop(request.range_id))
        raise not_cut()

    async def _do_cut(self, replica: Replica, request: CutRange) -> None:
        primary = replica.serving
        sower = self._sower(replica, request.split, epoch=request.epoch)
        if primary is None or sower is None:
            return
        primary.keep_images(is_on=True)
        try:
            async with asyncio.timeout(SPLIT_SOWN_S):
                await sow_all(primary, sower, self._around)
            low, high = await primary.cut(
                request.split,
                ripen=partial(ripen_all, own=sower, range_id=request.range_id, around=self._around),
                be_served=partial(replica.be_served, primary),
            )
        except (DStoreError, TimeoutError) as error:
            _log.info("range_not_cut", range=replica.range_id, reason=str(error))
            return
        finally:
            primary.keep_images(is_on=False)
        await self._told(low, high)

    async def _told(self, low: Placed, high: Placed) -> None:
        """Begin with the children at once; whoever is not told sees them in the topology."""
        try:
            await self._bed.see(low, high)
        except DStoreError as error:
            _log.info("children_not_begun", reason=error.message)


def _epoch_of(replica: Replica) -> int | None:
    return None if replica.placed is None else replica.placed.value.epoch
