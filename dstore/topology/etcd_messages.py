"""The port's values as etcd's messages, and back."""

from typing import assert_never

from aetcd import rpc

from dstore.topology.coordinator import (
    Compare,
    CreateRevisionIs,
    Delete,
    Event,
    Found,
    Get,
    KeyValue,
    LeaseId,
    ModRevisionIs,
    Operation,
    Put,
    Removed,
    Response,
    Revision,
    Stored,
    Transaction,
    TransactionResult,
    ValueIs,
)
from dstore.topology.etcd_wire import Message


class KeyCodec:
    """Put a deployment's own prefix before each key, so that several may share one etcd."""

    __slots__ = ("_prefix",)

    def __init__(self, namespace: str) -> None:
        """Take the prefix; empty for none."""
        self._prefix = namespace.encode()

    def encode(self, key: str) -> bytes:
        """Return a key's bytes in etcd."""
        return self._prefix + key.encode()

    def decode(self, key: bytes) -> str | None:
        """Return the key; None for one that is no text, which is not ours."""
        try:
            return key[len(self._prefix) :].decode()
        except UnicodeDecodeError:
            return None

    def bounds(self, prefix: str) -> tuple[bytes, bytes]:
        """Return the first key and the end, exclusive, of a prefix; a zero byte means none."""
        low = self.encode(prefix)
        trimmed = low.rstrip(b"\xff")
        high = trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else b"\0"
        return low or b"\0", high

    def kv(self, message: Message) -> KeyValue | None:
        """Read a key and its value; None for a key that is no text."""
        key = self.decode(message.key)
        if key is None:
            return None
        return KeyValue(
            key=key,
            value=message.value,
            create_revision=Revision(message.create_revision),
            mod_revision=Revision(message.mod_revision),
            lease_id=LeaseId(message.lease),
        )

    def event(self, message: Message) -> Event | None:
        """Read what happened to a key; None for a key that is no text."""
        if message.type == rpc.Event.PUT:
            kv = self.kv(message.kv)
            return None if kv is None else Event(key=kv.key, kv=kv)
        key = self.decode(message.kv.key)
        return None if key is None else Event(key=key, kv=None)

    def transaction(self, transaction: Transaction) -> Message:
        """Write a transaction."""
        return rpc.TxnRequest(
            compare=[self._compare(compare) for compare in transaction.compares],
            success=[self._operation(operation) for operation in transaction.then],
            failure=[self._operation(operation) for operation in transaction.otherwise],
        )

    def result(self, transaction: Transaction, message: Message) -> TransactionResult:
        """Read what a transaction did."""
        branch = transaction.then if message.succeeded else transaction.otherwise
        revision = Revision(message.header.revision)
        return TransactionResult(
            succeeded=message.succeeded,
            revision=revision,
            responses=tuple(
                self._response(operation, reply, revision)
                for operation, reply in zip(branch, message.responses, strict=True)
            ),
        )

    def _compare(self, compare: Compare) -> Message:
        key = self.encode(compare.key)
        match compare:
            case ModRevisionIs():
                return rpc.Compare(
                    result=rpc.Compare.EQUAL,
                    target=rpc.Compare.MOD,
                    key=key,
                    mod_revision=compare.revision,
                )
            case CreateRevisionIs():
                return rpc.Compare(
                    result=rpc.Compare.EQUAL,
                    target=rpc.Compare.CREATE,
                    key=key,
                    create_revision=compare.revision,
                )
            case ValueIs():
                return rpc.Compare(
                    result=rpc.Compare.EQUAL,
                    target=rpc.Compare.VALUE,
                    key=key,
                    value=compare.value,
                )
            case _:
                assert_never(compare)

    def _operation(self, operation: Operation) -> Message:
        key = self.encode(operation.key)
        match operation:
            case Get():
                return rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
            case Put():
                put = rpc.PutRequest(key=key, value=operation.value, lease=operation.lease_id)
                return rpc.RequestOp(request_put=put)
            case Delete():
                return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
            case _:
                assert_never(operation)

    def _response(self, operation: Operation, reply: Message, revision: Revision) -> Response:
        match operation:
            case Get():
                kvs = reply.response_range.kvs
                return Found(kv=self.kv(kvs[0]) if kvs else None, revision=revision)
            case Put():
                return Stored(revision=revision)
            case Delete():
                return Removed(existed=reply.response_delete_range.deleted > 0, revision=revision)
            case _:
                assert_never(operation)
