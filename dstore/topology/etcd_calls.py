"""Calls to whichever etcd server answers: failover, deadlines, and what is certain after an error.

A request that only reads is sent again, to another server too, until its time is over. One that
writes is sent once: it waits for a connection first, and whatever happens after it was sent and is
not etcd's own clear word is `OutcomeUnknown`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.entropy import Entropy
from dstore.base.logging import get_logger
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import (
    Compacted,
    CoordinatorError,
    CoordinatorFull,
    CoordinatorRefused,
    CoordinatorUnavailable,
    LeaseGone,
    OutcomeUnknown,
    Revision,
    RolledBack,
)
from dstore.topology.etcd_wire import CallFailed, Endpoint, FailureKind, Message

_log: Final = get_logger(__name__)

_RETRIED: Final = frozenset({FailureKind.NOT_DONE, FailureKind.UNKNOWN})
_CALL_S_MIN: Final = 0.05  # less is no time for an answer


class ReplyTooLarge(CoordinatorRefused):
    """A reply over ETCD_MESSAGE_BYTES_MAX; ask for less."""


class NotTrusted(CoordinatorRefused):
    """A certificate is missing, expired or of another authority, on either end."""


class _Patience:
    """What is left of a call's time."""

    __slots__ = ("_backoff", "_calls", "_ends_at_ns")

    def __init__(self, calls: "EtcdCalls", timeout_s: float) -> None:
        self._calls = calls
        self._ends_at_ns = calls.clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        self._backoff = Backoff(calls.entropy)

    def left_s(self) -> float:
        return max((self._ends_at_ns - self._calls.clock.monotonic_ns()) / NS_PER_S, 0.0)

    def share_s(self) -> float:
        """Leave time for the other servers, should this one hang."""
        return self.left_s() / self._calls.endpoints_count

    async def after(self, failure: CallFailed, endpoint: Endpoint) -> None:
        """Go on to the next server, or wait a little after all of them failed."""
        is_last = self._calls.leave(endpoint)
        pause_s = self._backoff.next_s() if is_last else 0.0
        if self.left_s() <= pause_s + _CALL_S_MIN:
            raise _gave_up(failure)
        await asyncio.sleep(pause_s)


class EtcdCalls:
    """The servers of one etcd cluster, one of which is asked at a time until it fails."""

    __slots__ = (
        "_cluster_id",
        "_current",
        "_endpoints",
        "_is_closed",
        "_revision",
        "clock",
        "entropy",
    )

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Clock, entropy: Entropy) -> None:
        """Take the servers, 1 or more, in the order in which to ask them."""
        assert endpoints
        self._endpoints = tuple(endpoints)
        self._current = 0
        self._cluster_id: int | None = None
        self._revision = 0  # the newest that any linearizable reply told
        self._is_closed = False
        self.clock = clock
        self.entropy = entropy

    @property
    def endpoints_count(self) -> int:
        """How many servers there are to ask."""
        return len(self._endpoints)

    @property
    def revision(self) -> Revision:
        """The newest revision seen."""
        return Revision(self._revision)

    @property
    def cluster_id(self) -> str | None:
        """The cluster's name, 16 hexadecimal digits, once it has answered."""
        return None if self._cluster_id is None else f"{self._cluster_id:016x}"

    async def read(self, request: Message, timeout_s: float) -> Message:
        """Ask until somebody answers or the time is over; for what may be done twice.

        Raises: CoordinatorUnavailable, and what the server clearly says.
        """
        return await self._asked(request, timeout_s, is_safe=True)

    async def peek(self, request: Message, timeout_s: float) -> Message:
        """Ask as `read` does, and take the answer of any cluster and of any age."""
        return await self._asked(request, timeout_s, is_safe=True, is_compared=False)

    async def write(self, request: Message, timeout_s: float) -> Message:
        """Ask once. Raises: OutcomeUnknown, and as `read`."""
        return await self._asked(request, timeout_s, is_safe=False)

    async def endpoint(self, timeout_s: float) -> Endpoint:
        """Return a server that is connected, for a stream. Raises: CoordinatorUnavailable."""
        patience = _Patience(self, timeout_s)
        while True:
            self.check_open()
            endpoint = self._endpoints[self._current]
            try:
                await endpoint.connected(patience.share_s())
            except CallFailed as failure:
                await patience.after(failure, endpoint)
            else:
                return endpoint

    def leave(self, endpoint: Endpoint) -> bool:
        """Ask another server from now on, unless that has happened already.

        Returns: whether it was the last in their order.
        """
        if self._endpoints[self._current] is endpoint and len(self._endpoints) > 1:
            self._current = (self._current + 1) % len(self._endpoints)
            _log.info("etcd_endpoint_left", endpoint=endpoint.address)
        return endpoint is self._endpoints[-1]

    def check_cluster(self, header: Message) -> None:
        """Compare the cluster that a reply came from with the first one. Raises: RolledBack."""
        if self._cluster_id is None:
            self._cluster_id = header.cluster_id
        elif self._cluster_id != header.cluster_id:
            raise RolledBack(
                f"etcd's cluster is {header.cluster_id:016x}, though it was {self.cluster_id}."
            )

    def accept(self) -> None:
        """Compare with the next answer from now on; see `Coordinator.accept`."""
        self._cluster_id = None
        self._revision = 0

    def check_open(self) -> None:
        """Complain after `close`. Raises: CoordinatorUnavailable."""
        if self._is_closed:
            raise CoordinatorUnavailable("The coordinator is closed.")

    async def close(self) -> None:
        """Let go of all connections."""
        self._is_closed = True
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _asked(
        self, request: Message, timeout_s: float, *, is_safe: bool, is_compared: bool = True
    ) -> Message:
        patience = _Patience(self, timeout_s)
        while True:
            self.check_open()
            seen = self._revision
            endpoint = self._endpoints[self._current]
            try:
                await endpoint.connected(patience.share_s())
                wait_s = patience.share_s() if is_safe else patience.left_s()
                reply = await endpoint.call(request, max(wait_s, _CALL_S_MIN))
            except CallFailed as failure:
                if failure.kind is FailureKind.UNKNOWN and not is_safe:
                    self.leave(endpoint)
                    raise error_of(failure) from None
                if failure.kind not in _RETRIED:
                    raise error_of(failure) from None
                await patience.after(failure, endpoint)
            else:
                if is_compared:
                    self._check_header(reply, seen)
                return reply

    def _check_header(self, reply: Message, seen: int) -> None:
        self.check_cluster(reply.header)
        if reply.header.revision < seen and type(reply).__name__ in _LINEARIZABLE:
            raise RolledBack(
                f"etcd is at revision {reply.header.revision}, though revision {seen} was seen: it "
                "was restored from an older copy."
            )
        self._revision = max(self._revision, reply.header.revision)


# A lease's reply may come from a member that lags behind.
_LINEARIZABLE: Final = frozenset(
    {"RangeResponse", "PutResponse", "DeleteRangeResponse", "TxnResponse"}
)


def error_of(failure: CallFailed) -> CoordinatorError:
    """Say a call's failure in the port's words."""
    reason = failure.reason
    match failure.kind:
        case FailureKind.COMPACTED:
            return Compacted(f"The revision's history is gone: {reason}.")
        case FailureKind.FUTURE_REVISION:
            return RolledBack(f"etcd is younger than what was seen of it: {reason}.")
        case FailureKind.LEASE_GONE:
            return LeaseGone(f"The lease is gone: {reason}.")
        case FailureKind.FULL:
            return CoordinatorFull(f"etcd is full: {reason}.")
        case FailureKind.REPLY_TOO_LARGE:
            return ReplyTooLarge(f"etcd's reply is too large: {reason}.")
        case FailureKind.REFUSED:
            return CoordinatorRefused(f"etcd refuses: {reason}.")
        case FailureKind.UNKNOWN:
            return OutcomeUnknown(f"etcd may have done it: {reason}.")
        case FailureKind.NOT_DONE:
            return CoordinatorUnavailable(f"etcd can't be reached: {reason}.")


def _gave_up(failure: CallFailed) -> CoordinatorError:
    # grpc tells of a refused certificate as of any lost connection, in its TLS layer's words: by a
    # handshake that failed, or, with TLS 1.3, by a first message that is an alert.
    if "TSI_" in failure.reason:
        return NotTrusted(f"etcd and this process do not trust each other: {failure.reason}.")
    return CoordinatorUnavailable(f"etcd can't be reached: {failure.reason}.")
