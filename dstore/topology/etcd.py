"""The coordinator over a real etcd, 3.4 or later; ADR 0010 says why with our own loops.

Import this file only where etcd is used: it brings grpc along.

    etcd_wire         connections, calls, what an etcd error means; all of grpc
    etcd_calls        failover, deadlines, what is certain after an error
    etcd_messages     the port's values as etcd's messages
    etcd_keep_alives  one stream for all leases
    etcd_watch        watches that survive
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aetcd import rpc

from dstore.base.clock import Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import COORDINATOR_PAGE_KEYS, COORDINATOR_TIMEOUT_S
from dstore.base.tasks import Tasks
from dstore.topology.coordinator import (
    NO_LEASE,
    Compacted,
    CoordinatorUnavailable,
    Found,
    KeyValue,
    Lease,
    LeaseGone,
    LeaseId,
    Listing,
    OutcomeUnknown,
    Removed,
    Revision,
    Transaction,
    TransactionResult,
)
from dstore.topology.coordinator_bounds import (
    check_key,
    check_put,
    check_transaction,
    check_ttl,
)
from dstore.topology.etcd_calls import EtcdCalls, ReplyTooLarge
from dstore.topology.etcd_keep_alives import EtcdKeepAlives
from dstore.topology.etcd_messages import KeyCodec
from dstore.topology.etcd_watch import EtcdWatch
from dstore.topology.etcd_wire import Endpoint, EtcdTls, Message

_PAGE_SHRINK: Final = 10  # a page that is too large is asked for in tenths


class EtcdCoordinator:
    """A `Coordinator` over an etcd cluster; make it within a running loop. See the port."""

    __slots__ = ("_calls", "_codec", "_keep_alives", "_tasks", "_watches")

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        tls: EtcdTls | None,
        clock: Clock,
        entropy: Entropy,
        namespace: str = "",
    ) -> None:
        """Name the servers; nothing is sent yet.

        Args:
            addresses: host:port of each, 1 or more; one is asked until it fails.
            tls: None for plain text.
            clock: measures timeouts.
            entropy: spreads reconnections.
            namespace: put before every key, so that several deployments may share one etcd.
        """
        self._calls = EtcdCalls(
            [Endpoint(address, tls) for address in addresses], clock=clock, entropy=entropy
        )
        self._codec = KeyCodec(namespace)
        # Nothing here ends the process: a task's failure reaches who waits for it.
        self._tasks = Tasks(_ignored)
        self._keep_alives = EtcdKeepAlives(self._calls, self._tasks)
        self._watches: set[EtcdWatch] = set()

    async def get(
        self,
        key: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Found:
        """See `Coordinator.get`."""
        check_key(key)
        request = rpc.RangeRequest(key=self._codec.encode(key), revision=revision or 0)
        return self._found(await self._calls.read(request, timeout_s))

    async def list(
        self,
        prefix: str,
        *,
        revision: Revision | None = None,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Listing:
        """See `Coordinator.list`."""
        low, high = self._codec.bounds(prefix)
        kvs: list[KeyValue] = []
        at, page_keys, has_more = revision or Revision(0), COORDINATOR_PAGE_KEYS, True
        while has_more:
            request = rpc.RangeRequest(key=low, range_end=high, revision=at, limit=page_keys)
            try:
                reply = await self._calls.read(request, timeout_s)
            except ReplyTooLarge:
                if page_keys == 1:
                    raise
                page_keys = max(page_keys // _PAGE_SHRINK, 1)
                continue
            kvs += filter(None, map(self._codec.kv, reply.kvs))
            at = at or Revision(reply.header.revision)
            has_more = reply.more
            if has_more:
                low = reply.kvs[-1].key + b"\0"
        return Listing(kvs=tuple(kvs), revision=at)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        lease_id: LeaseId = NO_LEASE,
        timeout_s: float = COORDINATOR_TIMEOUT_S,
    ) -> Revision:
        """See `Coordinator.put`."""
        check_put(key, value)
        request = rpc.PutRequest(key=self._codec.encode(key), value=value, lease=lease_id)
        reply = await self._calls.write(request, timeout_s)
        return Revision(reply.header.revision)

    async def delete(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Removed:
        """See `Coordinator.delete`."""
        check_key(key)
        request = rpc.DeleteRangeRequest(key=self._codec.encode(key))
        reply = await self._calls.write(request, timeout_s)
        return Removed(existed=reply.deleted > 0, revision=Revision(reply.header.revision))

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        """See `Coordinator.commit`."""
        check_transaction(transaction)
        reply = await self._calls.write(self._codec.transaction(transaction), timeout_s)
        return self._codec.result(transaction, reply)

    async def grant(self, ttl_s: int, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Lease:
        """See `Coordinator.grant`."""
        check_ttl(ttl_s)
        try:
            reply = await self._calls.write(rpc.LeaseGrantRequest(TTL=ttl_s), timeout_s)
        except OutcomeUnknown as error:
            raise CoordinatorUnavailable(error.message) from error
        return Lease(lease_id=LeaseId(reply.ID), ttl_s=reply.TTL)

    async def keep_alive(
        self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> int:
        """See `Coordinator.keep_alive`."""
        self._calls.check_open()
        return await self._keep_alives.keep_alive(lease_id, timeout_s)

    async def revoke(self, lease_id: LeaseId, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> None:
        """See `Coordinator.revoke`."""
        with suppress(LeaseGone):
            await self._calls.write(rpc.LeaseRevokeRequest(ID=lease_id), timeout_s)

    def watch(self, prefix: str, *, after_revision: Revision | None = None) -> EtcdWatch:
        """See `Coordinator.watch`."""
        self._calls.check_open()
        watch = EtcdWatch(
            prefix,
            after_revision=after_revision,
            calls=self._calls,
            codec=self._codec,
            reads=self,
            tasks=self._tasks,
        )
        self._watches.add(watch)
        watch.start(self._watches.discard)
        return watch

    async def compact(
        self, revision: Revision, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> None:
        """See `Coordinator.compact`."""
        with suppress(Compacted):
            await self._calls.read(rpc.CompactionRequest(revision=revision), timeout_s)

    async def cluster_id(self, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> str:
        """See `Coordinator.cluster_id`."""
        if self._calls.cluster_id is None:
            await self.get("control/leader", timeout_s=timeout_s)
        assert self._calls.cluster_id is not None
        return self._calls.cluster_id

    async def peek(self, key: str, *, timeout_s: float = COORDINATOR_TIMEOUT_S) -> Found:
        """See `Coordinator.peek`."""
        check_key(key)
        request = rpc.RangeRequest(key=self._codec.encode(key))
        return self._found(await self._calls.peek(request, timeout_s))

    def accept(self) -> None:
        """See `Coordinator.accept`."""
        self._calls.accept()

    async def close(self) -> None:
        """See `Coordinator.close`."""
        for watch in tuple(self._watches):
            await watch.aclose()
        self._keep_alives.close()
        await self._tasks.close()
        await self._calls.close()

    def _found(self, reply: Message) -> Found:
        return Found(
            kv=self._codec.kv(reply.kvs[0]) if reply.kvs else None,
            revision=Revision(reply.header.revision),
        )


def _ignored(_error: BaseException) -> None:
    """Do nothing: `Tasks` has logged it."""
