"""What goes over the wire to etcd: the only file that imports grpc and aetcd's generated messages.

Import it, and `etcd.py` above it, only where etcd is used: grpc costs a start 0.2 s. What comes
from grpc has no types, so nothing of it leaves this file but calls (`Stream`), messages (`Message`)
and `CallFailed`.
"""

import asyncio
import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from aetcd import rpc

from dstore.base.limits import (
    ETCD_MESSAGE_BYTES_MAX,
    ETCD_PING_S,
    ETCD_PING_TIMEOUT_S,
    ETCD_RECONNECT_S_MAX,
    ETCD_RECONNECT_S_MIN,
)

Message: TypeAlias = Any  # one of aetcd.rpc's
Stream: TypeAlias = Any  # grpc.aio.StreamStreamCall

# A member that has lost its quorum says so, instead of answering nothing.
_METADATA: Final = (("hasleader", "true"),)
_REASON_TIMEOUT_S: Final = 0.5
END_OF_STREAM: Final = grpc.aio.EOF
_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.keepalive_time_ms", int(ETCD_PING_S * 1_000)),
    ("grpc.keepalive_timeout_ms", int(ETCD_PING_TIMEOUT_S * 1_000)),
    ("grpc.keepalive_permit_without_calls", 0),  # etcd hangs up on those who do
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", ETCD_MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", int(ETCD_RECONNECT_S_MIN * 1_000)),
    ("grpc.min_reconnect_backoff_ms", int(ETCD_RECONNECT_S_MAX * 1_000)),  # one try's time
    ("grpc.max_reconnect_backoff_ms", int(ETCD_RECONNECT_S_MAX * 1_000)),
    ("grpc.enable_retries", 0),  # what may be sent twice is decided in etcd_calls
    ("grpc.use_local_subchannel_pool", 1),  # a new coordinator does not inherit another's waiting
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdTls:
    """How to know etcd, and to be known by it; PEM texts."""

    authority: bytes
    certificate: bytes | None = None  # None: the server asks for none
    private_key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None  # what its certificate names, if not the address


class FailureKind(StrEnum):
    """What a failed call says about what happened."""

    NOT_DONE = "not_done"  # the server did not begin
    UNKNOWN = "unknown"
    FULL = "full"
    REFUSED = "refused"
    COMPACTED = "compacted"
    FUTURE_REVISION = "future_revision"
    LEASE_GONE = "lease_gone"
    REPLY_TOO_LARGE = "reply_too_large"


class CallFailed(Exception):
    """A call to one server failed."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        """Keep etcd's own words, which quote neither keys nor values."""
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Endpoint:
    """One etcd server: a connection that is made when needed and made again when lost."""

    __slots__ = ("_calls", "_channel", "_keep_alive", "_status", "_watch", "address")

    def __init__(self, address: str, tls: EtcdTls | None) -> None:
        """Name the server, as host:port; nothing is sent yet. Call it within a running loop."""
        self.address = address
        self._channel: Any = _channel(address, tls)
        kv = rpc.KVStub(self._channel)
        lease = rpc.LeaseStub(self._channel)
        self._calls: dict[type[Any], Any] = {
            rpc.RangeRequest: kv.Range,
            rpc.PutRequest: kv.Put,
            rpc.DeleteRangeRequest: kv.DeleteRange,
            rpc.TxnRequest: kv.Txn,
            rpc.CompactionRequest: kv.Compact,
            rpc.LeaseGrantRequest: lease.LeaseGrant,
            rpc.LeaseRevokeRequest: lease.LeaseRevoke,
        }
        self._keep_alive: Any = lease.LeaseKeepAlive
        self._watch: Any = rpc.WatchStub(self._channel).Watch
        self._status: Any = rpc.MaintenanceStub(self._channel).Status

    async def connected(self, timeout_s: float) -> None:
        """Wait for a connection. Raises: CallFailed: NOT_DONE."""
        try:
            async with asyncio.timeout(timeout_s):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise CallFailed(FailureKind.NOT_DONE, await self._reason())
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise CallFailed(FailureKind.NOT_DONE, "no connection in time") from None

    async def call(self, request: Message, timeout_s: float) -> Message:
        """Send a request and return the reply. Raises: CallFailed: of any kind."""
        try:
            return await self._calls[type(request)](request, timeout=timeout_s, metadata=_METADATA)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error.code(), error.details() or "") from None

    def open_watch(self) -> Stream:
        """Begin a stream of watch messages."""
        return self._watch(metadata=_METADATA)

    def open_keep_alive(self) -> Stream:
        """Begin a stream of lease renewals."""
        return self._keep_alive(metadata=_METADATA)

    async def close(self) -> None:
        """Let go of the connection; calls end as cancelled."""
        await self._channel.close()

    async def _reason(self) -> str:
        """Ask why there is no connection: only a call is told."""
        try:
            await self._status(rpc.StatusRequest(), timeout=_REASON_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return error.details() or "no connection"
        return "no connection until a moment ago"


async def read(stream: Stream) -> Message:
    """Wait for a stream's next message; cancelled, it ends the stream.

    Raises: CallFailed: the stream has ended, with an error or without.
    """
    try:
        message = await stream.read()
        if message is not END_OF_STREAM:
            return message
        raise failure_of(await stream.code(), await stream.details() or "the stream ended")
    except grpc.aio.AioRpcError as error:
        raise failure_of(error.code(), error.details() or "") from None


async def write(stream: Stream, message: Message) -> None:
    """Send a message on a stream. Raises: CallFailed: the stream has ended."""
    try:
        await stream.write(message)
    except grpc.aio.AioRpcError as error:
        raise failure_of(error.code(), error.details() or "") from None
    except asyncio.InvalidStateError:
        raise CallFailed(FailureKind.UNKNOWN, "the stream ended") from None


# Source: etcd 3.4, etcdserver/api/v3rpc/rpctypes/error.go and util.go.
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
# Answered before anything is proposed to the other members.
_NOT_BEGUN: Final = ("etcdserver: no leader", "etcdserver: too many requests")


def failure_of(code: Any, details: str) -> CallFailed:
    """Tell what a call's status means; what is not known for sure is UNKNOWN."""
    return CallFailed(_kind_of(code, details), details[:200])


def _kind_of(code: Any, details: str) -> FailureKind:
    match code:
        case grpc.StatusCode.OUT_OF_RANGE if "compacted" in details:
            return FailureKind.COMPACTED
        case grpc.StatusCode.OUT_OF_RANGE if "future" in details:
            return FailureKind.FUTURE_REVISION
        case grpc.StatusCode.NOT_FOUND if "lease" in details:
            return FailureKind.LEASE_GONE
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "space exceeded" in details:
            return FailureKind.FULL
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details:
            return FailureKind.REPLY_TOO_LARGE
        case _ if details.startswith(_NOT_BEGUN):
            return FailureKind.NOT_DONE
        case _ if code in _REFUSALS:
            return FailureKind.REFUSED
        case _:
            return FailureKind.UNKNOWN


def _channel(address: str, tls: EtcdTls | None) -> Any:
    # grpc's core writes to stderr by itself, in a form of its own; what it says is in the errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.authority,
        private_key=tls.private_key,
        certificate_chain=tls.certificate,
    )
    options = _OPTIONS
    if tls.server_name is not None:
        options = (*options, ("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(address, credentials, options=options)
