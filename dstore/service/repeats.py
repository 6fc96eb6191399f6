"""Writes of a moment ago by the names of their requests: asked for again, they are not done again.

An SDK that hears nothing, or that nobody knows how its write went, sends the same once more, within
seconds. Whoever holds the range then answers what it answered before, or is about to answer (I9).

All of it is in memory: a name that is written down costs as much as the write itself. So what ends
with the process is that its last answers, if they were lost with it, are not known any more. A name
that has to outlast the process is written beside the entry (`storage.requests`).
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Coroutine
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Union

from dstore.base.begun import begun
from dstore.base.clock import NS_PER_S
from dstore.base.limits import REPEATS_BYTES_MAX, REPEATS_KEPT_S, REPEATS_MAX, RETRY_AFTER_MS
from dstore.model.errors import ConditionFailed, Refused, Unavailable, UnavailableKind, Unknown
from dstore.service.ranges import LocalRanges
from dstore.service.write_answers import Written
from dstore.storage.range_writer import Write

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.model.ranges import RangeRef
    from dstore.service.disk_space import DiskSpace
    from dstore.service.ranges import RangeStore
    from dstore.service.write_answers import WriteAsk
    from dstore.storage.requests import RequestName

_NAME_BYTES: Final = 16
_KEPT_NS: Final = int(REPEATS_KEPT_S * NS_PER_S)
# Certainly nothing was written: to be asked again is to be judged again.
_NOTHING_WRITTEN: Final = (Refused, ConditionFailed, Unavailable)


_Known = Union["UnderWay", Written, BaseException]


def repeat_name(range_id: str, request: RequestName) -> bytes:
    """Name a request's write of a range in 16 bytes; about 1.5 us."""
    text = f"{range_id}\n{request.principal}\n{request.request_id}\n{request.ordinal}\n"
    return blake2b(text.encode() + request.digest, digest_size=_NAME_BYTES).digest()


class UnderWay:
    """A write that is queued, and those who wait to hear how it goes; each may give up."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        """Begin with nobody."""
        self._told: list[Future[Written]] = []

    def follow(self) -> Future[Written]:
        """Make a future of its answer."""
        told: Future[Written] = get_running_loop().create_future()
        self._told.append(told)
        return told

    def end(self, answer: Written | BaseException) -> None:
        """Tell all of them."""
        for told in self._told:
            _tell(told, answer)


class Repeats:
    """Answers of the last seconds. Used from one event loop.

    They are in two halves: the younger takes what comes; when it is full or REPEATS_KEPT_S old, the
    older goes and it takes its place.
    """

    def __init__(self, clock: Clock) -> None:
        """Start empty."""
        self._clock = clock
        self._young: dict[bytes, _Known] = {}
        self._old: dict[bytes, _Known] = {}
        self._young_bytes = 0  # of the attributes in its answers
        self._young_since_ns = clock.monotonic_ns()

    def __len__(self) -> int:
        """Count the writes that are known."""
        return len(self._young) + len(self._old)

    def find(self, name: bytes) -> Future[Written] | None:
        """Find what a write was answered, or will be; the future is the caller's own."""
        self._make_room()
        known = self._young.get(name) or self._old.get(name)
        if known is None:
            return None
        if isinstance(known, UnderWay):
            return known.follow()
        told: Future[Written] = get_running_loop().create_future()
        _tell(told, known)
        return told

    def keep(self, name: bytes) -> UnderWay:
        """Remember a write that was not known, and is about to be queued."""
        known = self._young[name] = UnderWay()
        return known

    def end(self, name: bytes, known: UnderWay, answer: Written | BaseException) -> None:
        """Tell how a write went; of one that certainly did nothing, nothing is remembered."""
        half = self._young if self._young.get(name) is known else self._old
        if half.get(name) is known:  # else it took so long that it is past its time
            if isinstance(answer, _NOTHING_WRITTEN):
                del half[name]
            else:
                half[name] = answer
                if half is self._young and isinstance(answer, Written) and answer.attributes:
                    self._young_bytes += len(answer.attributes)
        known.end(answer)

    def ended(self, name: bytes, known: UnderWay, write: Future[Written]) -> None:
        """Tell how a write went, whose future nobody else has; a callback of that."""
        if write.cancelled():
            self.end(name, known, Unknown("The write was given up half-way: it may be done."))
            return
        error = write.exception()
        self.end(name, known, write.result() if error is None else error)

    def _make_room(self) -> None:
        now_ns = self._clock.monotonic_ns()
        age_ns = now_ns - self._young_since_ns
        if (
            len(self._young) < REPEATS_MAX // 2
            and self._young_bytes < REPEATS_BYTES_MAX // 2
            and age_ns < _KEPT_NS
        ):
            return
        self._old, self._young = {} if age_ns >= 2 * _KEPT_NS else self._young, {}
        self._young_bytes, self._young_since_ns = 0, now_ns


class OnceRanges(LocalRanges):
    """The ranges of this process, in which a write of a brief name is done once."""

    def __init__(self, store: RangeStore, disk: DiskSpace, *, clock: Clock) -> None:
        """Ask the files of `store`; `disk` refuses writes that would not fit."""
        super().__init__(store, disk)
        self._repeats = Repeats(clock)

    async def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Written:
        """Do a write, and wait until it is durable."""
        if write.request is None or not write.request.is_brief:
            return await super().write(ref, write, ask=ask, body_bytes=body_bytes)
        return await (await self.submit(ref, write, ask=ask, body_bytes=body_bytes))

    async def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Future[Written]:
        """Queue a write, unless it was asked for just now."""
        request = write.request
        if request is None or not request.is_brief:
            return await super().submit(ref, write, ask=ask, body_bytes=body_bytes)
        name = repeat_name(ref.range_id, request)
        known = self._repeats.find(name)
        if known is not None:
            return known
        once = Write(rid_id=write.rid_id, entry_hash=write.entry_hash, apply=write.apply)
        queued = begun(super().submit(ref, once, ask=ask, body_bytes=body_bytes))
        asked = self._repeats.keep(name)
        if not isinstance(queued, Future):
            queued = await self._opened(name, asked, queued)
        queued.add_done_callback(partial(self._repeats.ended, name, asked))
        return asked.follow()

    async def _opened(
        self, name: bytes, asked: UnderWay, queuing: Coroutine[Any, Any, Future[Written]]
    ) -> Future[Written]:
        """Wait until the range's file is open; others may ask for the same meanwhile."""
        try:
            return await queuing
        except Exception as error:
            self._repeats.end(name, asked, error)
            raise
        except BaseException:  # the caller has gone; others who ask for the same have not
            self._repeats.end(name, asked, _not_queued())
            raise


def _not_queued() -> Unavailable:
    return Unavailable(
        UnavailableKind.OVERLOADED,
        "The first of two requests that are the same was given up; nothing was written. Retry.",
        retry_after_ms=RETRY_AFTER_MS,
    )


def _tell(told: Future[Written], answer: Written | BaseException) -> None:
    if told.done():
        return
    if isinstance(answer, Written):
        told.set_result(answer)
    else:
        told.set_exception(answer)
