"""Several items at once, of any tables: of a range one after the other, of several side by side.

A batch is no transaction: each of its writes is done or not done by itself.
"""

from __future__ import annotations

from asyncio import Future, gather, sleep
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import BATCH_READ_BYTES_MAX, BATCH_READS_AT_ONCE, KIB
from dstore.model.errors import NotMine, Unavailable
from dstore.model.values import item_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from dstore.service.items import ItemKey, Items
    from dstore.service.read_answers import ReadAnswer, ReadAsk
    from dstore.service.write_answers import WriteAsk, Written
    from dstore.storage.range_writer import Apply
    from dstore.storage.requests import RequestName

# Of items read from memory before others have their turn on the event loop: a millisecond or two.
_TURN_BYTES: Final = 256 * KIB


class BatchedRead(msgspec.Struct, frozen=True, kw_only=True):
    """One read of a batch, and what is going to be shown, which is counted too (`is_counted`)."""

    key: ItemKey
    ask: ReadAsk
    is_eventual: bool = False


class ReadItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it was asked for, as JSON; None if there is none; and its size as an item."""

    item: msgspec.Raw | None
    size_bytes: int


class BatchedWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One write of a batch, and what is going to be told of it, None for nothing.

    `size_bytes` is roughly what it holds in memory; `request` names it, so that it is done once.
    """

    key: ItemKey
    apply: Apply
    size_bytes: int
    ask: WriteAsk | None = None
    request: RequestName | None = None


async def read_batch(items: Items, reads: Sequence[BatchedRead]) -> list[ReadItem]:
    """Read items in order, until 16 MB are full; of several ranges side by side.

    Returns: what was read, which is fewer than `reads` if the next item did not fit any more.
    Raises: as `Items.read`.
    """
    found: list[ReadItem] = []
    total_bytes = turn_bytes = 0
    at_once = 1 if len(_lines(items, reads)) <= 1 else BATCH_READS_AT_ONCE
    for start in range(0, len(reads), at_once):
        ahead = reads[start : start + at_once]
        for read, answer in zip(ahead, await _read_all(items, ahead), strict=True):
            item, size_bytes = None, 0
            if answer is not None:
                item = answer.body
                size_bytes = answer.item_bytes + item_bytes(read.key.attributes)
            total_bytes += size_bytes
            if total_bytes > BATCH_READ_BYTES_MAX:
                return found
            found.append(ReadItem(item=item, size_bytes=size_bytes))
            turn_bytes += size_bytes
            if turn_bytes > _TURN_BYTES:
                turn_bytes = 0
                await sleep(0)
    return found


async def _read_all(items: Items, reads: Sequence[BatchedRead]) -> Sequence[ReadAnswer | None]:
    """Read a few items: of one range one by one, of several side by side."""
    if len(reads) == 1:
        return [await _read(items, reads[0])]
    answers: dict[int, ReadAnswer | None] = {}

    async def read_those(places: Sequence[int]) -> None:
        for place in places:
            answers[place] = await _read(items, reads[place])

    await gather(*(read_those(places) for places in _lines(items, reads)))
    return [answers[place] for place in range(len(reads))]


def _read(items: Items, read: BatchedRead) -> Awaitable[ReadAnswer | None]:
    return items.read(read.key, read.ask, is_eventual=read.is_eventual)


def _lines(items: Items, reads: Sequence[BatchedRead]) -> Collection[Sequence[int]]:
    """Group the places of reads that are made one after the other.

    What is in this process waits for nothing, so its ranges have a line each; what is elsewhere
    takes time to travel, and has one line an item.
    """
    lines: list[Sequence[int]] = []
    for places in _by_range(reads):
        if _is_near(items, reads[places[0]].key):
            lines.append(places)
        else:
            lines += [(place,) for place in places]
    return lines


def _is_near(items: Items, key: ItemKey) -> bool:
    try:
        return items.is_near(key)
    except NotMine:
        return False


def _by_range(batch: Sequence[BatchedRead | BatchedWrite]) -> Collection[Sequence[int]]:
    """Group the places of a batch by the ranges of their keys."""
    groups: dict[str | None, list[int]] = {}
    for place, each in enumerate(batch):
        groups.setdefault(_range_of(each.key), []).append(place)
    return groups.values()


def _range_of(key: ItemKey) -> str | None:
    """Name the range of a key; None if it is not known, which asking for the key will find out."""
    try:
        return key.table.ranges.at(key.rid_id).range_id
    except NotMine:
        return None


async def write_batch(items: Items, writes: Sequence[BatchedWrite]) -> list[Written | Unavailable]:
    """Write items side by side, so that those of a range share its commits.

    Returns: for each write what it did, or why it is certain that it did nothing.
    Raises: Unavailable: nothing of the batch was written. Unknown, or what else went wrong with
        one of them: others may have been written, and all may be written again.
    """
    queued: dict[int, Future[Written] | Unavailable] = {}

    async def submit_those(places: Sequence[int]) -> None:
        for place in places:
            queued[place] = await _submitted(items, writes[place])

    groups = _by_range(writes)
    if len(groups) <= 1:
        await submit_those(range(len(writes)))
    else:
        await gather(*(submit_those(places) for places in groups))
    in_order = [queued[place] for place in range(len(writes))]
    answers: list[Written | Unavailable] = []
    for write, outcome in zip(writes, await _outcomes(in_order), strict=True):
        answer = await _written(items, write) if isinstance(outcome, NotMine) else outcome
        if isinstance(answer, Exception) and not isinstance(answer, Unavailable):
            raise answer
        answers.append(answer)
    failed = [answer for answer in answers if isinstance(answer, Unavailable)]
    if len(failed) == len(answers):
        raise failed[0]
    return answers


async def _outcomes(
    queued: Sequence[Future[Written] | Unavailable],
) -> list[Written | Exception]:
    """Wait for all of them, one after the other: most end together, by the same commit.

    A caller that is cancelled leaves none behind of which nobody will hear.
    """
    outcomes: list[Written | Exception] = []
    try:
        for each in queued:
            if not isinstance(each, Future):
                outcomes.append(each)
                continue
            try:
                outcomes.append(await each)
            except Exception as error:  # noqa: BLE001 - it is this write's outcome
                outcomes.append(error)
    except BaseException:
        for each in queued:
            if isinstance(each, Future) and not each.cancel() and not each.cancelled():
                each.exception()  # whose it was has gone
        raise
    return outcomes


async def _submitted(items: Items, write: BatchedWrite) -> Future[Written] | Unavailable:
    try:
        return await items.submit(
            write.key,
            write.apply,
            request=write.request,
            body_bytes=write.size_bytes,
            ask=write.ask,
        )
    except Unavailable as error:
        return error


async def _written(items: Items, write: BatchedWrite) -> Written | Unavailable:
    """Write where the range is now."""
    try:
        return await items.write(
            write.key,
            write.apply,
            request=write.request,
            body_bytes=write.size_bytes,
            ask=write.ask,
        )
    except Unavailable as error:
        return error
