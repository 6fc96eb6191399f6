"""Parsed expressions, kept by kind and text: clients send the same few texts for ever.

Two generations: what is used goes into the young one; when that is full it becomes the old one, and
what nobody used since then is gone. A look-up that hits is one dict access, needs no lock in any
thread, and a race costs at most a second parse.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from dstore.expressions.errors import ExpressionKind

Tree = TypeVar("Tree")

# Of each generation. A tree takes up to 75 bytes a character of its text ("a,a,a" as a
# projection), usually 20: at most 2 * 256 Ki * 75 = 38 MiB a cache, usually below 10.
CACHED_ENTRIES_MAX: Final = 1_024
CACHED_CHARS_MAX: Final = 256 * 1_024


class ParsedCache(Generic[Tree]):
    """A bounded map from kind and text to the tree; a text that is refused is not kept."""

    __slots__ = ("_chars", "_chars_max", "_entries_max", "_old", "_young")

    def __init__(
        self, *, entries_max: int = CACHED_ENTRIES_MAX, chars_max: int = CACHED_CHARS_MAX
    ) -> None:
        """Make an empty cache that keeps at most twice `entries_max` and `chars_max`."""
        self._entries_max = entries_max
        self._chars_max = chars_max
        self._chars = 0
        self._young: dict[Hashable, Tree] = {}
        self._old: dict[Hashable, Tree] = {}

    def __len__(self) -> int:
        """Count the trees kept, one in both generations twice."""
        return len(self._young) + len(self._old)

    def get(
        self, kind: ExpressionKind, text: str, parse: Callable[[ExpressionKind, str], Tree]
    ) -> Tree:
        """Give the tree of a text, parsed at most once while it is in use; raises as `parse`."""
        key = (kind, text)
        tree = self.find(key, chars=len(text))
        if tree is None:
            tree = parse(kind, text)
            self.keep(key, tree, chars=len(text))
        return tree

    def find(self, key: Hashable, *, chars: int) -> Tree | None:
        """Give what was kept under a key, of so many characters; None if nothing is."""
        tree = self._young.get(key)
        if tree is None:
            tree = self._old.get(key)
            if tree is not None:
                self.keep(key, tree, chars=chars)
        return tree

    def keep(self, key: Hashable, tree: Tree, *, chars: int) -> None:
        """Keep a tree under a key whose texts have so many characters."""
        if len(self._young) >= self._entries_max or self._chars + chars > self._chars_max:
            self._old, self._young, self._chars = self._young, {}, 0
        self._young[key] = tree
        self._chars += chars
