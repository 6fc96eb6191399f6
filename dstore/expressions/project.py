"""A projection: what its paths pick out of an item.

Paths that share a beginning come back as one document. Elements of a list come back in the list's
order, close together; a path that leads nowhere leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable

from dstore.expressions.ast import Keys
from dstore.expressions.paths import check_key_paths
from dstore.expressions.source import AnySource
from dstore.model.values import Attribute, Item

_Picks = dict[str | int, "_Picks | None"]  # None: the whole of it


class Projection:
    """Paths that are ready to be picked out of items; `source` as a `Condition`'s."""

    __slots__ = ("_picks", "paths", "source")

    def __init__(self, paths: Iterable[Keys], source: AnySource | None = None) -> None:
        """Take paths that are apart from each other (`paths.check_apart`)."""
        self.paths = tuple(paths)
        self.source = source
        self._picks: _Picks = {}
        for path in self.paths:
            picks = self._picks
            for key in path[:-1]:
                deeper = picks.setdefault(key, {})
                assert deeper is not None, "overlapping paths"
                picks = deeper
            picks[path[-1]] = None

    def apply(self, item: Item) -> Item:
        """Pick the paths out of an item.

        Returns: a new item, which shares what it did not have to take apart; {} if nothing is
            there.
        """
        return _pick_names(item, self._picks)

    def check_key_paths(self, *, keys: Iterable[str], index_keys: Iterable[str] = ()) -> None:
        """Refuse paths into key attributes; raises as `paths.check_key_paths`."""
        check_key_paths(self.paths, keys=keys, index_keys=index_keys)


def _pick_names(item: Item, picks: _Picks) -> Item:
    picked: Item = {}
    for name, deeper in picks.items():
        attribute = item.get(name)  # type: ignore[arg-type] # an index finds no name
        if attribute is not None:
            part = attribute if deeper is None else _pick(attribute, deeper)
            if part is not None:
                picked[name] = part  # type: ignore[index] # found, and so a name
    return picked


def _pick(attribute: Attribute, picks: _Picks) -> Attribute | None:
    if "M" in attribute:
        members = _pick_names(attribute["M"], picks)
        return {"M": members} if members else None
    if "L" in attribute:
        elements = _pick_elements(attribute["L"], picks)
        return {"L": elements} if elements else None
    return None


def _pick_elements(elements: list[Attribute], picks: _Picks) -> list[Attribute]:
    picked = []
    for index in sorted(key for key in picks if isinstance(key, int)):
        if index >= len(elements):
            break
        deeper = picks[index]
        part = elements[index] if deeper is None else _pick(elements[index], deeper)
        if part is not None:
            picked.append(part)
    return picked
