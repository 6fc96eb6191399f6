"""JSON merge patch (RFC 7396) on an item in wire form. Pure.

The patch is plain JSON; the item is not: attributes that the patch does not name keep their types,
binaries and sets included. A value that it does name becomes what plain JSON can say.
"""

from __future__ import annotations

from typing import Any

from dstore.model.values import Attribute, Item, check_names, from_plain

Patch = dict[str, Attribute | None]
"""A patch in wire form: None removes, a map (M) merges its own patch, the rest replaces."""


def patch_of(plain: dict[str, Any]) -> Patch:
    """Put a patch into wire form.

    Args:
        plain: as the strict decoder made it, which bounds its depth.
    Raises: Refused: a value is nested too deeply, or a name is out of bounds.
    """
    check_names(plain)
    return {name: _patch_of_value(value) for name, value in plain.items()}


def merged(item: Item, patch: Patch) -> Item:
    """Return the item with the patch applied; neither argument is changed."""
    result = dict(item)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif "M" in value:
            before = result.get(name) or {}
            result[name] = {"M": merged(before.get("M", {}), value["M"])}
        else:
            result[name] = value
    return result


def _patch_of_value(value: object) -> Attribute | None:
    if value is None:
        return None
    return {"M": patch_of(value)} if isinstance(value, dict) else from_plain(value)
