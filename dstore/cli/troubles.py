"""What is the matter with a table's ranges, as `dstore table show` says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dstore.cli.component_list import short_id
from dstore.service.directory import RangeTrouble

_NAMED: Final = 5  # ranges of one trouble in a line
_WORDS: Final = {
    RangeTrouble.UNAVAILABLE: "unusable",
    RangeTrouble.READ_ONLY: "read-only",
    RangeTrouble.POSSIBLE_LOSS: "may have lost writes",
    RangeTrouble.UNDER_REPLICATED: "short of copies",
}


def troubled_ranges(found: Mapping[str, Any], *, tenant: str) -> dict[str, str]:
    """Make a line for each trouble that ranges of a described table have: how many, and which."""
    lines = {}
    for trouble, count in _counts(found):
        named = [
            f"{each.get('lowHash', 0):08x}-{each.get('highHash', 0):08x} "
            f"({short_id(each.get('rangeId'))})"
            for each in found.get("troubledRanges") or ()
            if each.get("trouble") == trouble
        ]
        more = ["..."] if count > len(named[:_NAMED]) else []
        which = ", ".join([*named[:_NAMED], *more])
        lines[_WORDS[trouble]] = f"{count} of {found.get('ranges')} ranges: {which}"
    if lines:
        command = f"dstore placement show {found.get('table')} --tenant {tenant}"
        lines["why"] = f"{command} says, of each range"
    return lines


def counted_troubles(found: Mapping[str, Any]) -> Iterator[str]:
    """Say how many ranges of an index have each trouble."""
    for trouble, count in _counts(found):
        yield f"{count} {_WORDS[trouble]}"


def _counts(found: Mapping[str, Any]) -> Iterator[tuple[RangeTrouble, int]]:
    """Read how many ranges have which trouble; none, if the server is of before they were told."""
    counts = found.get("troubles") or {}
    for trouble in RangeTrouble:
        if count := counts.get(trouble):
            yield trouble, count
