"""What a log consists of, as replicas exchange it: records, and points between them.

A position (epoch, sequence) names one record for ever. Each record's digest is chained to the one
before, so two logs that have one digest at one sequence are equal up to there.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from struct import Struct as Packing
from typing import Annotated, Final

import msgspec

from dstore.base.limits import REPLICA_EPOCHS_TOLD, RID_ID_BYTES_MAX

_POSITION: Final = Packing(">QQ")
_OLD_LENGTH: Final = Packing(">Q")
_DIGEST_BYTES: Final = 32
NAME_BYTES: Final = 12

Digest = Annotated[bytes, msgspec.Meta(min_length=_DIGEST_BYTES, max_length=_DIGEST_BYTES)]
Sequence64 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Epoch = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class RecordKind(StrEnum):
    """What a record did."""

    PUT = "put"
    DELETE = "delete"
    EXPIRE = "expire"  # a delete by the service: the item's time was over
    OPENING = "opening"  # the first of an epoch: decides what became of all before it
    MEMO = "memo"  # a small value beside the entries (`memos`), `rid_id` being its name
    NOTHING = "nothing"  # a named request that had nothing to do, so that its answer is kept


REMOVALS: Final = frozenset({RecordKind.DELETE, RecordKind.EXPIRE})
"""What takes an entry away."""


class RequestMark(msgspec.Struct, frozen=True, array_like=True):
    """The request that a record belongs to, as `requests.RequestName` names it."""

    principal: str
    request_id: str
    ordinal: int
    digest: bytes


class NameMark(msgspec.Struct, frozen=True, array_like=True):
    """The brief name of a record's request, and what is needed to answer it again (`brief_names`).

    The version that was made, if there was one, is the record's own.
    """

    name: Annotated[bytes, msgspec.Meta(min_length=NAME_BYTES, max_length=NAME_BYTES)]
    existed: bool
    answer: bytes | None = None


class LogRecord(msgspec.Struct, frozen=True, array_like=True):
    """One record; `image` is a put's item with its format byte, or a memo's value, else None.

    `old` is what readers of the log want of the item before it, with its format byte: `{}` if there
    was none, and None if nobody wanted anything when it was written.
    """

    epoch: Epoch
    seq: Sequence64
    time_us: int
    kind: RecordKind
    rid_id: Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX)]
    image: bytes | None
    request: RequestMark | None
    digest: Digest
    name: NameMark | None = None
    old: bytes | None = None

    @property
    def point(self) -> LogPoint:
        """Where a log stands that ends with this record."""
        return LogPoint(seq=self.seq, digest=self.digest)

    @property
    def size_bytes(self) -> int:
        """Roughly what it takes on the wire."""
        answer = b"" if self.name is None else self.name.answer or b""
        images_bytes = len(self.image or b"") + len(self.old or b"")
        return len(self.rid_id) + images_bytes + len(answer) + _DIGEST_BYTES * 2

    def follows(self, before: LogPoint) -> bool:
        """Tell whether this is an unharmed record that comes next behind a point."""
        if self.seq != before.seq + 1:
            return False
        told = digest_of(
            before.digest,
            epoch=self.epoch,
            seq=self.seq,
            kind=self.kind,
            rid_id=self.rid_id,
            image=self.image,
            old=self.old,
        )
        return told == self.digest


class LogPoint(msgspec.Struct, frozen=True, array_like=True):
    """The place behind a record: its sequence and digest; sequence 0 is the beginning."""

    seq: Sequence64
    digest: Digest


class EpochStart(msgspec.Struct, frozen=True, array_like=True):
    """Where in a log an epoch begins; it ends where the next one begins."""

    epoch: Epoch
    first_seq: Sequence64


History = Annotated[tuple[EpochStart, ...], msgspec.Meta(max_length=REPLICA_EPOCHS_TOLD)]
"""The last epochs of a log, oldest first."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """Where a replica stands: its promise, its log's last epoch, end and newest epochs."""

    promised_epoch: Sequence64
    epoch: Sequence64
    end: LogPoint
    applied_seq: Sequence64
    history: History
    is_whole: bool = True


def digest_of(
    before: bytes,
    *,
    epoch: int,
    seq: int,
    kind: str,
    rid_id: bytes,
    image: bytes | None,
    old: bytes | None = None,
) -> bytes:
    """Chain a record to the digest of the one before it.

    One without `old` has the digest that it had when no record had any.
    """
    content = before + _POSITION.pack(epoch, seq) + kind.encode() + rid_id + (image or b"")
    if old is not None:
        content += old + _OLD_LENGTH.pack(len(old))
    return hashlib.sha256(content).digest()
