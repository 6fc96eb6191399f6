"""Group commit: while one batch is on its way to the disk, the next one gathers.

One batch at a time runs in a worker thread; so a writer connection has one user at a time, and no
transaction ever interleaves with another. The queue is bounded in writes and in bytes.
"""

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from dstore.base.limits import (
    RETRY_AFTER_MS,
    WRITE_BATCH_MAX,
    WRITE_QUEUE_BYTES_MAX,
    WRITE_QUEUE_DEPTH_MAX,
)
from dstore.model.errors import Unavailable, UnavailableKind

Job = TypeVar("Job")
Answer = TypeVar("Answer")

Commit = Callable[[Sequence[Job]], Sequence[Answer | Exception]]
"""Makes a batch durable, in a thread. Returns, in order, each job's answer or its refusal; raises
if the batch as a whole did not happen (or nobody can tell: `Unknown`)."""


class GroupCommit(Generic[Job, Answer]):
    """Queue jobs from the event loop and commit them in batches of up to WRITE_BATCH_MAX.

    Used from one event loop. A caller that is cancelled leaves its job in the queue: the write
    happens, as it may have anyway.
    """

    def __init__(self, commit: Commit[Job, Answer], *, executor: Executor) -> None:
        """`executor` runs `commit`; it has a free thread sooner or later."""
        self._commit = commit
        self._executor = executor
        self._queue: deque[tuple[Job, int, Future[Answer]]] = deque()
        self._queued_bytes = 0
        self._is_busy = False
        self._idle_waiters: list[Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is being committed."""
        return not self._is_busy and not self._queue

    def submit(self, job: Job, *, job_bytes: int) -> Future[Answer]:
        """Queue a job. `job_bytes` is roughly what it holds in memory.

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
        future: Future[Answer] = loop.create_future()
        self._queue.append((job, job_bytes, future))
        self._queued_bytes += job_bytes
        if not self._is_busy:
            self._is_busy = True
            # At the end of this tick, so that all requests of the tick share the first batch.
            loop.call_soon(self._start, loop)
        return future

    async def wait_idle(self) -> None:
        """Return when everything queued so far, and since, has been answered."""
        while not self.is_idle:
            waiter: Future[None] = get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def _start(self, loop: AbstractEventLoop) -> None:
        batch = [self._queue.popleft() for _ in range(min(WRITE_BATCH_MAX, len(self._queue)))]
        self._queued_bytes -= sum(job_bytes for _, job_bytes, _ in batch)
        running = loop.run_in_executor(self._executor, self._commit, [job for job, _, _ in batch])
        running.add_done_callback(lambda done: self._finish(loop, done, batch))

    def _finish(
        self,
        loop: AbstractEventLoop,
        done: Future[Sequence[Answer | Exception]],
        batch: list[tuple[Job, int, Future[Answer]]],
    ) -> None:
        """Answer a batch and start the next one first, so that the disk does not wait for us."""
        if self._queue:
            self._start(loop)
        else:
            self._is_busy = False
        error = done.exception()
        answers = [error] * len(batch) if error is not None else done.result()
        for (_, _, future), answer in zip(batch, answers, strict=True):
            if future.done():  # cancelled by its caller
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if not self._is_busy:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
