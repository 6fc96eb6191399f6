"""Find the route of a path: a tree of segments, built once, walked once per request.

aiohttp's own dispatcher tries regular expressions from the longest prefix down. This one splits the
raw path, decodes each segment, and walks: 1 us for an entry's path of seven segments. It works on
the raw path, so that an id may hold an encoded slash (`%2F`), dots, or any character.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from dstore.model.errors import invalid

Endpoint = TypeVar("Endpoint")
Places = tuple[tuple[str, int], ...]  # name of a segment, its index

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[Endpoint]):
    """A path that exists: what answers each method there, and where the named segments stand.

    The places are kept per method, since two routes of one shape may use different names.
    """

    methods: dict[str, tuple[Endpoint, Places]] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """List the methods, as the Allow header wants them."""
        return ", ".join(sorted(self.methods))


@dataclass(slots=True, kw_only=True)
class _Node(Generic[Endpoint]):
    literals: "dict[str, _Node[Endpoint]]" = field(default_factory=dict)
    variable: "_Node[Endpoint] | None" = None
    found: Found[Endpoint] | None = None


class PathTree(Generic[Endpoint]):
    """Every path of an application; literal segments win over `{name}`, wherever they stand."""

    __slots__ = ("_root",)

    def __init__(self, routes: Mapping[tuple[str, str], Endpoint]) -> None:
        """Build the tree from (method, path with `{name}` segments) → endpoint."""
        self._root: _Node[Endpoint] = _Node()
        for (method, path), endpoint in routes.items():
            self._add(path[1:].split("/"), method=method, endpoint=endpoint)
        _spread(self._root)

    def find(self, segments: list[str]) -> Found[Endpoint] | None:
        """Walk a path's decoded segments; None if no route has such a path."""
        node = self._root
        for segment in segments:
            next_node = node.literals.get(segment)
            if next_node is None:
                next_node = node.variable
                if next_node is None or not segment:
                    return None
            node = next_node
        return node.found

    def _add(self, segments: list[str], *, method: str, endpoint: Endpoint) -> None:
        node = self._root
        places: list[tuple[str, int]] = []
        for index, segment in enumerate(segments):
            if segment.startswith("{"):
                places.append((segment[1:-1], index))
                if node.variable is None:
                    node.variable = _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        if node.found is None:
            node.found = Found()
        assert method not in node.found.methods, (method, segments)
        node.found.methods[method] = (endpoint, tuple(places))


def split_path(raw_path: str) -> list[str]:
    """Cut a raw path, from its first slash to before the `?`, into decoded segments.

    Raises: Refused (invalid): an escape is broken, or a segment is no UTF-8.
    """
    segments = raw_path[1:].split("/")
    if "%" in raw_path:
        if _BAD_ESCAPE.search(raw_path) is not None:
            raise invalid(
                "The path has a % that is not followed by two hexadecimal digits; write % as %25."
            )
        return [_decoded(segment) if "%" in segment else segment for segment in segments]
    return segments


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise invalid(
            "The path is not UTF-8 when its %-escapes are decoded; encode it in UTF-8 first."
        ) from None


def _spread(node: _Node[Endpoint]) -> None:
    """Let each literal also lead where `{name}` would, so that a walk never has to turn back."""
    for child in node.literals.values():
        _spread(child)
    if node.variable is not None:
        _spread(node.variable)
        for literal in node.literals.values():
            _merge(node.variable, into=literal)


def _merge(source: _Node[Endpoint], *, into: _Node[Endpoint]) -> None:
    """Copy the routes below `source` to `into`, where they are not overruled; both are spread."""
    if source.found is not None:
        if into.found is None:
            into.found = Found()
        for method, endpoint in source.found.methods.items():
            into.found.methods.setdefault(method, endpoint)
    for segment in (*into.literals, *(source.literals.keys() - into.literals.keys())):
        if segment not in into.literals:
            into.literals[segment] = _Node()
            if into.variable is not None:  # what `into` has itself comes first
                _merge(into.variable, into=into.literals[segment])
        below = source.literals.get(segment, source.variable)
        if below is not None:
            _merge(below, into=into.literals[segment])
    if source.variable is not None:
        if into.variable is None:
            into.variable = _Node()
        _merge(source.variable, into=into.variable)
