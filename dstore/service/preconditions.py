"""`If-Match` and `If-None-Match`, as RFC 9110 section 13 has them. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from dstore.model.errors import ConditionFailed, invalid

ANY: Final = "*"
# One element of a list, which may be empty (RFC 9110 5.6.1.2), up to its comma or the end.
_ELEMENT: Final = re.compile(r'[ \t]*(?:(W/)?"([!#-~]*)"[ \t]*)?(?:,|\Z)')
_HEADER_CHARS_MAX: Final = 4_096


class Preconditions(msgspec.Struct, frozen=True, array_like=True):
    """The versions that a request insists on or excludes; None where it does not say."""

    match: tuple[str, ...] | None = None
    none_match: tuple[str, ...] | None = None

    @property
    def excludes_any(self) -> bool:
        """`If-None-Match: *`: only if there is nothing yet."""
        return self.none_match is not None and ANY in self.none_match


NO_PRECONDITIONS: Final = Preconditions()


def read_preconditions(if_match: str | None, if_none_match: str | None) -> Preconditions:
    """Read the two headers, each with its lines joined.

    A weak tag never matches under If-Match, whose comparison is strong (RFC 9110 13.1.1).
    Raises: Refused: one is no list of entity tags.
    """
    if if_match is None and if_none_match is None:
        return NO_PRECONDITIONS
    return Preconditions(
        _tags("If-Match", if_match, strong=True),
        _tags("If-None-Match", if_none_match, strong=False),
    )


def is_matched(tags: tuple[str, ...], version: str | None) -> bool:
    """Tell whether an entry exists (its version is not None) and its version is among the tags."""
    return version is not None and (ANY in tags or version in tags)


def check(preconditions: Preconditions, version: str | None) -> None:
    """Hold preconditions against the version of an entry, None if there is none.

    Raises: ConditionFailed.
    """
    if preconditions.match is not None and not is_matched(preconditions.match, version):
        raise ConditionFailed("If-Match names another version; read the entry again and retry.")
    if preconditions.none_match is not None and is_matched(preconditions.none_match, version):
        raise ConditionFailed("If-None-Match excludes the version that is stored.")


def _tags(header: str, value: str | None, *, strong: bool) -> tuple[str, ...] | None:
    if value is None:
        return None
    if value.strip() == ANY:
        return (ANY,)
    tags: list[tuple[str | None, str]] = []
    end = 0
    while end < len(value) and len(value) <= _HEADER_CHARS_MAX:
        found = _ELEMENT.match(value, end)
        if found is None:
            break
        weak, tag = found.groups()
        if tag is not None:
            tags.append((weak, tag))
        end = found.end()
    if end < len(value) or not tags:
        raise invalid(f"{header} must be * or a list of entity tags in quotes, as an ETag shows.")
    return tuple(tag for weak, tag in tags if not (weak and strong))
