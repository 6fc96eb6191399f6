"""Errors between components, and how an error travels.

    Unavailable
    └── Unreachable      no answer can be had from the component; try another, or later
        └── TurnedAway   it has refused this component at the door; it will again

Every error of the house arrives as the type that left, or as the nearest one above it that both
sides know. Anything else that a handler raises is a failure of that component: a caller that only
reads hears `Unreachable`, one that writes `Unknown`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    DStoreError,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)

_FAILED: Final = "failed"
_MESSAGE_CHARS_MAX: Final = 2_048
_UNAVAILABLE: Final = frozenset(UnavailableKind)
_REFUSED: Final = frozenset(RefusalKind)


class Unreachable(Unavailable):
    """The component can't be reached, or no answer came; definitely nothing was written."""

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        """Say why, and when the next attempt is made."""
        super().__init__(UnavailableKind.UNREACHABLE, message, retry_after_ms=retry_after_ms)


class TurnedAway(Unreachable):
    """The component does not let this one in; `told` is the sentence that it gave."""

    def __init__(self, message: str, *, told: str, retry_after_ms: int | None = None) -> None:
        """Say why; a retry helps only after an operator has changed something."""
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.told = told


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error on its way; a map, so that later versions may say more."""

    code: str
    message: str
    kind: str = ""
    retry_after_ms: int | None = None
    previous: dict[str, Any] | None = None
    file: str = ""
    where: str = ""
    range_id: str | None = None
    epoch: int = 0


_decode: Final = msgspec.msgpack.Decoder(WireError).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def encode_error(error: BaseException) -> bytes:
    """Encode what a handler raised; of an error that is not ours only that it happened."""
    return _encode(_wire(error))


def decode_error(encoded: bytes | msgspec.Raw, *, is_safe: bool) -> DStoreError:
    """Return the error to raise at the caller; what can't be read counts as a failure there."""
    try:
        wire = _decode(encoded)
    except (msgspec.MsgspecError, RecursionError):
        wire = WireError(code=_FAILED, message="")
    return _known(wire) or failure("failed while it answered; its log says why", is_safe=is_safe)


def failure(what: str, *, is_safe: bool) -> DStoreError:
    """Make the error of a call that has left and whose answer can't be had.

    Args:
        what: the rest of a sentence about the component.
        is_safe: of a call that only reads.
    """
    if is_safe:
        return Unreachable(f"The component that must answer {what}; retry.")
    return Unknown(
        f"The component that must answer {what}; the write may have happened or not: read to find "
        "out, or repeat it with the same request id."
    )


def unreachable(
    what: str, *, retry_after_ms: int | None = None, told: str | None = None
) -> Unreachable:
    """Make the error of a call that never left.

    Args:
        what: the rest of a sentence about the component.
        retry_after_ms: until the next attempt.
        told: what it said if it has turned this component away.
    """
    message = f"The component that must answer {what}; nothing was done. Retry."
    if told is not None:
        return TurnedAway(message, told=told, retry_after_ms=retry_after_ms)
    return Unreachable(message, retry_after_ms=retry_after_ms)


def _wire(error: BaseException) -> WireError:
    message = error.message[:_MESSAGE_CHARS_MAX] if isinstance(error, DStoreError) else ""
    match error:
        case NotMine():
            return WireError(
                code="not_mine", message=message, range_id=error.range_id, epoch=error.epoch
            )
        case Unreachable():
            return WireError(
                code="unreachable", message=message, retry_after_ms=error.retry_after_ms
            )
        case Unavailable():
            return WireError(
                code="unavailable",
                message=message,
                kind=error.kind,
                retry_after_ms=error.retry_after_ms,
            )
        case Refused():
            return WireError(code="refused", message=message, kind=error.kind)
        case ConditionFailed():
            previous = None if error.previous is None else dict(error.previous)
            return WireError(code="condition_failed", message=message, previous=previous)
        case Unknown():
            return WireError(code="unknown", message=message)
        case Corrupt():
            return WireError(code="corrupt", message=message, file=error.file, where=error.where)
        case _:
            return WireError(code=_FAILED, message="")


def _known(wire: WireError) -> DStoreError | None:
    """Return the error of ours that has arrived, None for one that is not known here."""
    after_ms = wire.retry_after_ms if (wire.retry_after_ms or 0) > 0 else None
    match wire.code:
        case "not_mine":
            return NotMine(wire.range_id, wire.epoch)
        case "unreachable":
            return Unreachable(wire.message, retry_after_ms=after_ms)
        case "unavailable":
            known = wire.kind in _UNAVAILABLE
            kind = UnavailableKind(wire.kind) if known else UnavailableKind.OVERLOADED
            return Unavailable(kind, wire.message, retry_after_ms=after_ms)
        case "refused":
            known = wire.kind in _REFUSED
            return Refused(RefusalKind(wire.kind) if known else RefusalKind.INVALID, wire.message)
        case "condition_failed":
            return ConditionFailed(wire.message, previous=wire.previous)
        case "unknown":
            return Unknown(wire.message)
        case "corrupt":
            return Corrupt(wire.message, file=wire.file, where=wire.where)
        case _:
            return None
