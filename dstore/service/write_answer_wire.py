"""What came of a write, between components: what was asked, or the refusal with all it says.

A surface tells refusals apart by more than their kind: DynamoDB's has its own sentence for what an
update met in an item, and shows the item that failed a condition. So these travel as answers;
errors that are no answer (not now, unknown, damaged) are the peer call's own.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from dstore.base.limits import WRITE_ANSWER_BYTES_MAX
from dstore.expressions import Complaint, ExpressionError
from dstore.model.errors import ConditionFailed, RefusalKind, Refused, Unknown
from dstore.model.keys import KeyKind
from dstore.model.tables import IndexKey
from dstore.service.item_writes import ItemMisfit, Misfit
from dstore.service.wire_form import Unreadable, WireForm
from dstore.service.wire_types import WireItem
from dstore.service.write_answers import Written

WriteResult = Written | Refused | ConditionFailed
"""What came of a write; what `apply` raises is given back, not raised."""


class _Written(msgspec.Struct, frozen=True, array_like=True, tag="written"):
    existed: bool
    version: str | None
    attributes: bytes | None = None
    before_bytes: int = 0
    after_bytes: int = 0
    index_units: dict[str, int] = {}
    collection_bytes: int = 0


class _Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    kind: RefusalKind
    message: str


class _Misfit(msgspec.Struct, frozen=True, array_like=True, tag="misfit"):
    misfit: Misfit
    attribute: str | None = None  # of an index's key, with what follows
    kind: KeyKind = KeyKind.STRING
    index: str = ""
    is_partition: bool = False


class _Complaint(msgspec.Struct, frozen=True, array_like=True, tag="complaint"):
    complaint: Complaint  # about what an update meets; their sentences need nothing else


class _ConditionFailed(msgspec.Struct, frozen=True, array_like=True, tag="condition_failed"):
    message: str
    previous: WireItem | None = None  # to be shown, not looked into


_Wire = _Written | _Refused | _Misfit | _Complaint | _ConditionFailed
_form: Final = WireForm[_Wire](_Wire, what="answer to a write", bytes_max=WRITE_ANSWER_BYTES_MAX)


def encode_result(result: WriteResult) -> bytes:
    """Encode what came of a write. O(size)."""
    return _form.encode(_wire_of(result))


def decode_result(encoded: bytes) -> WriteResult:
    """Decode what came of a write, an error as the type that it was.

    Raises: Unknown: it is none, and the write may have been done.
    """
    try:
        wire = _form.decode(encoded)
    except Unreadable as error:
        raise Unknown(
            "The answer to the write cannot be read, so it may have happened or not: read to find "
            "out, or repeat it with the same request id."
        ) from error
    match wire:
        case _Written():
            attributes = wire.attributes
            return Written(
                existed=wire.existed,
                version=wire.version,
                attributes=None if attributes is None else msgspec.Raw(attributes),
                before_bytes=wire.before_bytes,
                after_bytes=wire.after_bytes,
                index_units=wire.index_units,
                collection_bytes=wire.collection_bytes,
            )
        case _Refused():
            return Refused(wire.kind, wire.message)
        case _Misfit():
            return ItemMisfit(wire.misfit, key=_index_key(wire))
        case _Complaint():
            return ExpressionError(wire.complaint)
        case _ConditionFailed():
            return ConditionFailed(wire.message, previous=wire.previous)


def _wire_of(result: WriteResult) -> _Wire:
    match result:
        case Written():
            return _Written(
                result.existed,
                result.version,
                None if result.attributes is None else bytes(result.attributes),
                result.before_bytes,
                result.after_bytes,
                dict(result.index_units),
                result.collection_bytes,
            )
        case ConditionFailed():
            previous = None if result.previous is None else dict(result.previous)
            return _ConditionFailed(result.message, cast("WireItem | None", previous))
        case ItemMisfit():
            key = result.key
            if key is None:
                return _Misfit(result.misfit)
            return _Misfit(result.misfit, key.attribute, key.kind, key.index, key.is_partition)
        case ExpressionError():
            assert not result.what, "what an update meets needs no more words"
            return _Complaint(result.complaint)
        case Refused():
            return _Refused(result.kind, result.message)


def _index_key(wire: _Misfit) -> IndexKey | None:
    if wire.attribute is None:
        return None
    return IndexKey(
        attribute=wire.attribute,
        kind=wire.kind,
        index=wire.index,
        is_partition=wire.is_partition,
    )
