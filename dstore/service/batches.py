"""Several items at once, of any tables: reads one after the other, writes side by side.

A batch is no transaction: each of its writes is done or not done by itself.
"""

from __future__ import annotations

from asyncio import Future, gather, sleep
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import BATCH_READ_BYTES_MAX, KIB
from dstore.base.threads import in_thread_if
from dstore.model.errors import Unavailable
from dstore.model.values import item_bytes
from dstore.service.items import is_large
from dstore.storage.range_writer import Applied, Apply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.service.items import ItemKey, Items
    from dstore.storage.entries import Entry

# Of items read from memory before others have their turn on the event loop: a millisecond or two.
_TURN_BYTES: Final = 256 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedRead:
    """One read of a batch; `render` makes of an entry what its reader wants, perhaps in a thread.

    It should not hold large items decoded: 16 MB of lists and maps are a gigabyte of objects.
    """

    key: ItemKey
    render: Callable[[Entry], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadItem:
    """What was made of an item; None if there is none; and its size as an item."""

    item: Any
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedWrite:
    """One write of a batch; `size_bytes` is roughly what it holds in memory."""

    key: ItemKey
    apply: Apply
    size_bytes: int


async def read_batch(items: Items, reads: Sequence[BatchedRead]) -> list[ReadItem]:
    """Read items in order, until 16 MB are full.

    Returns: what was read, which is fewer than `reads` if the next item did not fit any more.
    Raises: as `Items.read`.
    """
    found: list[ReadItem] = []
    total_bytes = turn_bytes = 0
    for read in reads:
        entry = await items.read(read.key)
        item, size_bytes = None, 0
        if entry is not None:
            render = partial(_rendered, read, entry)
            item, size_bytes = await in_thread_if(is_large((entry,)), render)
        total_bytes += size_bytes
        if total_bytes > BATCH_READ_BYTES_MAX:
            break
        found.append(ReadItem(item=item, size_bytes=size_bytes))
        turn_bytes += size_bytes
        if turn_bytes > _TURN_BYTES:
            turn_bytes = 0
            await sleep(0)
    return found


def _rendered(read: BatchedRead, entry: Entry) -> tuple[Any, int]:
    return read.render(entry), entry.item_bytes + item_bytes(read.key.attributes)


async def write_batch(items: Items, writes: Sequence[BatchedWrite]) -> list[Applied | Unavailable]:
    """Write items side by side, so that those of a range share its commits.

    Returns: for each write what it did, or why it is certain that it did nothing.
    Raises: Unavailable: nothing of the batch was written. Unknown, or what else went wrong with
        one of them: others may have been written, and all may be written again.
    """
    queued: list[Future[Applied] | Unavailable] = []
    for write in writes:
        try:
            queued.append(await items.submit(write.key, write.apply, body_bytes=write.size_bytes))
        except Unavailable as error:
            queued.append(error)
    futures = [each for each in queued if isinstance(each, Future)]
    done = iter(await gather(*futures, return_exceptions=True))
    answers: list[Applied | Unavailable] = []
    for each in queued:
        answer = next(done) if isinstance(each, Future) else each
        if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
            raise answer
        answers.append(answer)
    failed = [answer for answer in answers if isinstance(answer, Unavailable)]
    if len(failed) == len(answers):
        raise failed[0]
    return answers
