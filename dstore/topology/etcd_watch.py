"""A watch of etcd that is taken up again without gap or repeat, wherever it broke off.

One task reads the stream and puts batches into a short queue, so that the reader may give up
waiting and come back, and a slow reader stops the stream instead of filling memory.

What etcd 3.4 needs to be told or spared:

- The watch starts *at* the last revision seen and skips what it knows. Started after it, on the
  very revision that is compacted, etcd leaves out that revision's deletions (etcd #18089).
- A paused server keeps its connection open. So the watch asks for a sign of life every
  ETCD_WATCH_PROBE_S, and goes elsewhere after ETCD_WATCH_SILENCE_S_MAX without any.
- The answer to that question may name a revision whose events are still to come (fixed in 3.4.26),
  so it is a sign of life and no `Progress`.
- A server that was emptied or restored, and written to since, has revisions as high as those that
  were seen. So after each break the watch looks whether the last put that it saw stands at that
  very revision (`_check_history`).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Final, Protocol, Self

from aetcd import rpc

from dstore.base.limits import (
    COORDINATOR_TIMEOUT_S,
    ETCD_WATCH_PROBE_S,
    ETCD_WATCH_SILENCE_S_MAX,
    WATCH_BATCHES_WAITING_MAX,
)
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.base.threads import in_thread
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import (
    Compacted,
    CoordinatorError,
    CoordinatorRefused,
    CoordinatorUnavailable,
    Event,
    Events,
    Found,
    KeyValue,
    Listing,
    Progress,
    Resync,
    Revision,
    RolledBack,
    WatchBatch,
)
from dstore.topology.etcd_calls import EtcdCalls, NotTrusted
from dstore.topology.etcd_messages import KeyCodec
from dstore.topology.etcd_wire import CallFailed, Message, Stream, read, write

_log: Final = get_logger(__name__)

_WATCH_ID: Final = 1
_BROADCAST: Final = -1  # what etcd's answer to a progress request bears
_put_at: Final = attrgetter("mod_revision")


class Reads(Protocol):
    """What a watch asks besides its stream."""

    async def get(self, key: str, *, revision: Revision | None = None) -> Found:
        """Read a key, linearizably, or as of a revision. Raises: Compacted."""

    async def list(self, prefix: str) -> Listing:
        """Read a prefix, linearizably."""


class EtcdWatch:
    """One watch with its own stream and task; `start` it once."""

    __slots__ = (
        "_calls",
        "_codec",
        "_failure",
        "_heard_at_ns",
        "_is_closed",
        "_is_interrupted",
        "_landmark",
        "_pending",
        "_pending_revision",
        "_position",
        "_prefix",
        "_queue",
        "_reads",
        "_task",
        "_tasks",
    )

    def __init__(
        self,
        prefix: str,
        *,
        after_revision: Revision | None,
        calls: EtcdCalls,
        codec: KeyCodec,
        reads: Reads,
        tasks: Tasks,
    ) -> None:
        """Stand after a revision, or before everything (None); nothing is asked yet."""
        self._prefix = prefix
        self._position = after_revision
        self._calls = calls
        self._codec = codec
        self._reads = reads
        self._tasks = tasks
        self._heard_at_ns = calls.clock.monotonic_ns()
        self._is_closed = False
        self._is_interrupted = False
        self._landmark: KeyValue | None = None  # the last put that was seen
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._queue: asyncio.Queue[WatchBatch | CoordinatorError | None] = asyncio.Queue(
            WATCH_BATCHES_WAITING_MAX
        )
        self._pending: list[Event] = []  # of one revision, whose rest may be in the next message
        self._pending_revision = Revision(0)

    @property
    def heard_at_ns(self) -> int:
        """When etcd last gave a sign of life on this watch."""
        return self._heard_at_ns

    def __aiter__(self) -> Self:
        """Return the watch itself."""
        return self

    async def __anext__(self) -> WatchBatch:
        """Wait for the next batch; see `Watch`."""
        batch = None if self._is_closed else await self._queue.get()
        match batch:
            case None:
                if self._failure is not None:
                    raise RuntimeError("The watch of etcd failed.") from self._failure
                raise StopAsyncIteration
            case CoordinatorError():
                self._is_closed = True
                raise batch
            case _:
                return batch

    async def aclose(self) -> None:
        """End the watch; see `Watch`."""
        self._end()
        if self._task is not None:
            self._task.cancel()

    def start(self, forget: Callable[["EtcdWatch"], None]) -> None:
        """Begin to follow etcd; `forget` is told when that ends."""
        self._task = self._tasks.spawn(self._run(), name="etcd_watch")
        self._task.add_done_callback(self._ended)
        self._task.add_done_callback(lambda _: forget(self))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._end()

    def _end(self) -> None:
        """Wake the reader for the last time."""
        self._is_closed = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def _run(self) -> None:
        """Follow etcd until the watch is closed; what ends it reaches the reader."""
        backoff = Backoff(self._calls.entropy)
        while True:
            try:
                await self._follow(backoff)
            except Compacted:
                _log.info("etcd_watch_compacted", prefix=self._prefix, position=self._position)
                self._position = None
            except (CallFailed, CoordinatorUnavailable, NotTrusted, TimeoutError) as error:
                if not self._is_interrupted:
                    why = str(error) or "silence"
                    _log.warning("etcd_watch_interrupted", prefix=self._prefix, why=why)
                self._is_interrupted = True
                await asyncio.sleep(backoff.next_s())
            except (CoordinatorRefused, RolledBack) as error:
                await self._queue.put(error)
                return

    async def _follow(self, backoff: Backoff) -> None:
        """Read one stream until it ends, in an error."""
        if self._position is None:
            listing = await self._reads.list(self._prefix)
            self._landmark = await in_thread(partial(_newest, listing))
            await self._queue.put(Resync(listing=listing))
            self._position = listing.revision
        endpoint = await self._calls.endpoint(COORDINATOR_TIMEOUT_S)
        stream = endpoint.open_watch()
        self._pending = []
        try:
            await self._create(stream)
            probe = self._tasks.spawn(self._probe(stream), name="etcd_watch_probe")
            try:
                while True:
                    message = await self._message(stream)
                    backoff.reset()
                    await self._take(message)
            finally:
                probe.cancel()
        except (CallFailed, TimeoutError):
            self._calls.leave(endpoint)
            raise
        finally:
            stream.cancel()

    async def _create(self, stream: Stream) -> None:
        low, high = self._codec.bounds(self._prefix)
        assert self._position is not None
        request = rpc.WatchCreateRequest(
            key=low,
            range_end=high,
            start_revision=max(self._position, 1),
            progress_notify=True,
            watch_id=_WATCH_ID,
            fragment=True,
        )
        await write(stream, rpc.WatchRequest(create_request=request))

    async def _message(self, stream: Stream) -> Message:
        async with asyncio.timeout(ETCD_WATCH_SILENCE_S_MAX):
            message = await read(stream)
        self._calls.check_cluster(message.header)
        self._heard_at_ns = self._calls.clock.monotonic_ns()
        return message

    async def _probe(self, stream: Stream) -> None:
        try:
            while True:
                await asyncio.sleep(ETCD_WATCH_PROBE_S)
                await write(stream, rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
        except CallFailed:
            pass  # the reader of the stream hears of it

    async def _take(self, message: Message) -> None:
        assert self._position is not None
        if message.canceled:
            raise await self._cancelled(message)
        if message.created:
            if message.header.revision < self._position:
                # A member that lags behind, or another past: a linearizable read tells.
                await self._check_past()
            if self._is_interrupted:
                await self._check_history()
                _log.info("etcd_watch_resumed", prefix=self._prefix, position=self._position)
            self._is_interrupted = False
            return
        for event in message.events:
            await self._add(event)
        if message.events and not message.fragment:
            await self._flush()
        elif not message.events and not self._pending and message.watch_id != _BROADCAST:
            revision = Revision(message.header.revision)
            if revision > self._position:
                self._position = revision
                await self._queue.put(Progress(revision=revision))

    async def _add(self, message: Message) -> None:
        revision = Revision(message.kv.mod_revision)
        assert self._position is not None
        if revision <= self._position:
            return
        if revision != self._pending_revision:
            await self._flush()
            self._pending_revision = revision
        event = self._codec.event(message)
        if event is not None:
            self._pending.append(event)
            self._landmark = event.kv or self._landmark

    async def _flush(self) -> None:
        if self._pending:
            events, self._pending = tuple(self._pending), []
            self._position = self._pending_revision
            await self._queue.put(Events(revision=self._pending_revision, events=events))

    async def _cancelled(self, message: Message) -> CoordinatorError:
        if message.compact_revision:
            return Compacted("The watch's past is gone.", oldest=message.compact_revision)
        if "future" in message.cancel_reason:
            await self._check_past()
        if "no leader" in message.cancel_reason:
            return CoordinatorUnavailable("etcd has no leader.")
        return CoordinatorRefused(f"etcd ended the watch: {message.cancel_reason[:200]}.")

    async def _check_history(self) -> None:
        """Look whether etcd's past is the one that was seen. Raises: RolledBack, Compacted."""
        landmark = self._landmark
        if landmark is None:
            return
        found = await self._reads.get(landmark.key, revision=landmark.mod_revision)
        if found.kv != landmark:
            raise RolledBack(
                f"etcd's past is another one than was seen: what was written at its revision "
                f"{landmark.mod_revision} is not there. It was made anew, or restored from an "
                "older copy."
            )

    async def _check_past(self) -> None:
        """Ask for the newest revision. Raises: RolledBack: it is older than the watch's."""
        assert self._position is not None
        found = await self._reads.get(self._prefix or "/")
        if found.revision < self._position:
            raise RolledBack(
                f"etcd is at revision {found.revision}, though revision {self._position} was seen: "
                "it was restored from an older copy."
            )


def _newest(listing: Listing) -> KeyValue | None:
    """Find the key that was put last; 0.1 µs a key."""
    return max(listing.kvs, key=_put_at, default=None)
