"""Group commit: while one batch is on its way to the disk, the next one gathers.

One batch at a time is committed, so a writer connection has one user at a time, and no transaction
ever interleaves with another. A short batch may be begun on the event loop, so that only its sync
is left to a thread: two threads that both run Python hand the interpreter to and fro at every
statement of SQLite's, which made a put beside a busy loop three times as long. All others run in a
worker thread. The queue is bounded in writes and in bytes.
"""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Generic, TypeVar

from dstore.base.limits import (
    LOOP_BATCH_BYTES_MAX,
    LOOP_BATCH_MAX,
    RETRY_AFTER_MS,
    WRITE_BATCH_MAX,
    WRITE_QUEUE_BYTES_MAX,
    WRITE_QUEUE_DEPTH_MAX,
)
from dstore.model.errors import Unavailable, UnavailableKind, Unknown

_NOT_DONE: Final = frozenset(
    {UnavailableKind.MOVED, UnavailableKind.UNREACHABLE, UnavailableKind.NO_SPACE}
)
_NOT_SYNCED: Final = "The server ends; whether the write has reached its disk is unknown."

Job = TypeVar("Job")
Answer = TypeVar("Answer")

Commit = Callable[[Sequence[Job]], Sequence[Answer | Exception]]
"""Makes a batch durable, in a thread. Returns, in order, each job's answer or its refusal; raises
if the batch as a whole did not happen (or nobody can tell: `Unknown`)."""


Begun = tuple[Sequence[Answer | Exception], Future[None] | None]
"""The answers of a batch that is committed (or of its first jobs, if it became too long), and the
sync to wait for before they may be given."""

Queued = tuple[Job, int, "Future[Any]", Callable[[Answer], Any] | None]
"""A job, its bytes, who waits for its answer, and what makes of the answer what they wait for."""

Begin = Callable[[Sequence[Job]], Begun[Answer] | None]
"""Commits a short batch on the event loop; None if it belongs into a thread after all."""

Settle = Callable[[], "Future[None] | None"]
"""Told on the event loop that `Commit` has ended well in its thread: what else to wait for."""


class GroupCommit(Generic[Job, Answer]):
    """Queue jobs from the event loop and commit them in batches of up to WRITE_BATCH_MAX.

    Used from one event loop. A caller that is cancelled leaves its job in the queue: the write
    happens, as it may have anyway.
    """

    def __init__(
        self,
        commit: Commit[Job, Answer],
        *,
        executor: Executor,
        begin: Begin[Job, Answer] | None = None,
        on_thread: Callable[[Sequence[Job]], None] = lambda _jobs: None,
        off_thread: Callable[[], None] = lambda: None,
        settle: Settle = lambda: None,
        on_batch: Callable[[int], None] = lambda _jobs: None,
    ) -> None:
        """Prepare to commit.

        Args:
            commit: makes a batch durable.
            executor: runs `commit`; it has a free thread sooner or later.
            begin: commits short batches on the event loop.
            on_thread: told on the event loop, before a batch is given to `commit`.
            off_thread: told on the event loop, when `commit` has ended, before anybody is answered.
            settle: gives what is to be waited for behind `commit`, before anybody is answered.
            on_batch: told on the event loop of how many jobs each batch was, whatever became of it.
        """
        self._commit = commit
        self._begin = begin
        self._executor = executor
        self._on_thread = on_thread
        self._off_thread = off_thread
        self._settle = settle
        self._on_batch = on_batch
        self._queue: deque[Queued[Job, Answer]] = deque()
        self._queued_bytes = 0
        self._batch_bytes = 0
        self._is_busy = False
        self._is_held = False
        self._holders = 0  # who hold, or wait to
        self._idle_waiters: list[Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """Nothing waits, nothing is being committed, and nobody holds."""
        return not self._is_busy and not self._queue and not self._holders

    def submit(
        self, job: Job, *, job_bytes: int, tell: Callable[[Answer], Any] | None = None
    ) -> Future[Any]:
        """Queue a job.

        Args:
            job: what to do.
            job_bytes: roughly what it holds in memory.
            tell: makes of the answer what the future holds; quick, and never raises.
        Returns: a future of its answer; it fails with the job's refusal or the batch's error.
        Raises: Unavailable: the queue is full; nothing was queued.
        """
        if (
            len(self._queue) >= WRITE_QUEUE_DEPTH_MAX
            or self._queued_bytes + job_bytes > WRITE_QUEUE_BYTES_MAX
        ):
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "The write queue of this range is full; retry after a short wait.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        loop = get_running_loop()
        future: Future[Any] = loop.create_future()
        self._queue.append((job, job_bytes, future, tell))
        self._queued_bytes += job_bytes
        if not self._is_busy and not self._holders:
            self._is_busy = True
            # At the end of this tick, so that all requests of the tick share the first batch.
            loop.call_soon(self._start, loop)
        return future

    async def wait_idle(self) -> None:
        """Return when everything queued so far, and since, has been answered."""
        while not self.is_idle:
            await self._next_pause()

    async def hold(self) -> None:
        """Let no batch begin until `release`, and return when none is under way.

        Jobs go on being queued. Those who want to hold take turns.
        """
        self._holders += 1
        try:
            while self._is_busy or self._is_held:
                await self._next_pause()
        except BaseException:
            self._holders -= 1
            self._go_on()
            raise
        self._is_held = True

    def release(self) -> None:
        """Go on with what was queued, or let the next one hold."""
        self._is_held = False
        self._holders -= 1
        self._go_on()

    def _go_on(self) -> None:
        if self._is_busy or self._is_held:
            return
        if self._queue and not self._holders:
            self._is_busy = True
            loop = get_running_loop()
            loop.call_soon(self._start, loop)
            return
        self._pause()

    async def _next_pause(self) -> None:
        waiter: Future[None] = get_running_loop().create_future()
        self._idle_waiters.append(waiter)
        await waiter

    def _pause(self) -> None:
        """Let those look again who wait for the end of a batch."""
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _start(self, loop: AbstractEventLoop) -> None:
        """Commit the next batch; a short one right here, if that is offered."""
        batch = self._next_batch()
        jobs = [job for job, _, _, _ in batch]
        is_short = len(batch) <= LOOP_BATCH_MAX and self._batch_bytes <= LOOP_BATCH_BYTES_MAX
        try:
            begun = self._begin(jobs) if self._begin is not None and is_short else None
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait for the batch
            self._finish(loop, [error] * len(batch), batch)
            return
        if begun is None:
            self._on_thread(jobs)
            running = loop.run_in_executor(self._executor, self._commit, jobs)
            running.add_done_callback(lambda done: self._committed(loop, done, batch))
            return
        answers, syncing = begun
        self._put_back(batch[len(answers) :])
        del batch[len(answers) :]
        if syncing is None:
            self._finish(loop, answers, batch)
            return
        syncing.add_done_callback(
            lambda done: self._finish(loop, _failure(done, batch) or answers, batch)
        )

    def _committed(
        self,
        loop: AbstractEventLoop,
        done: Future[Any],
        batch: list[Queued[Job, Answer]],
    ) -> None:
        self._off_thread()
        answers = _outcome(done, batch)
        settling = None if done.exception() is not None else self._settle()
        if settling is None:
            self._finish(loop, answers, batch)
            return
        settling.add_done_callback(
            lambda settled: self._finish(loop, _failure(settled, batch) or answers, batch)
        )

    def _put_back(self, jobs: Sequence[Queued[Job, Answer]]) -> None:
        """Let jobs of a batch that became too long be the first of the next one."""
        self._queue.extendleft(reversed(jobs))
        self._queued_bytes += sum(job_bytes for _, job_bytes, _, _ in jobs)

    def _next_batch(self) -> list[Queued[Job, Answer]]:
        """Take jobs off the queue: what may be begun on the loop, or a whole batch for a thread."""
        queue = self._queue
        is_short = self._begin is not None and queue[0][1] <= LOOP_BATCH_BYTES_MAX
        jobs_max = LOOP_BATCH_MAX if is_short else WRITE_BATCH_MAX
        bytes_max = LOOP_BATCH_BYTES_MAX if is_short else WRITE_QUEUE_BYTES_MAX
        batch: list[Queued[Job, Answer]] = []
        batch_bytes = 0
        while queue and len(batch) < jobs_max and batch_bytes + queue[0][1] <= bytes_max:
            batch_bytes += queue[0][1]
            batch.append(queue.popleft())
        self._queued_bytes -= batch_bytes
        self._batch_bytes = batch_bytes
        return batch

    def _finish(
        self,
        loop: AbstractEventLoop,
        answers: Sequence[Answer | BaseException],
        batch: list[Queued[Job, Answer]],
    ) -> None:
        """Answer a batch; the next one starts when those who waited have been told."""
        self._on_batch(len(batch))
        for (_, _, future, tell), answer in zip(batch, answers, strict=True):
            if future.done():  # cancelled by its caller
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer if tell is None else tell(answer))
        if self._queue and not self._holders:
            loop.call_soon(self._start, loop)
            return
        self._is_busy = False
        self._pause()


def _outcome(done: Future[Any], batch: Sequence[Any]) -> Sequence[Any]:
    """Give the answers of a batch that a thread has committed, or its error for every one."""
    error = done.exception()
    return done.result() if error is None else [error] * len(batch)


def _failure(done: Future[None], batch: Sequence[Any]) -> Sequence[BaseException] | None:
    """Say of every write of a batch what its sync says; nobody knows if it was not begun."""
    error = Unknown(_NOT_SYNCED) if done.cancelled() else done.exception()
    if error is None:
        return None
    is_told = isinstance(error, Unknown) or _is_not_done(error)
    return [error if is_told else Unknown(_NOT_SYNCED)] * len(batch)


def _is_not_done(error: BaseException) -> bool:
    """Tell whether nothing of a batch is anywhere, nor will be."""
    return isinstance(error, Unavailable) and error.kind in _NOT_DONE
