"""JSON merge patch (RFC 7396) on an item in wire form. Pure.

The patch is plain JSON; the item is not: attributes that the patch does not name keep their types,
binaries and sets included. A value that it does name becomes what plain JSON can say.
"""

from typing import Any

from dstore.model.values import Attribute, Item, check_names, from_plain


def merged(item: Item, patch: dict[str, Any]) -> Item:
    """Return the item with the patch applied; neither argument is changed.

    Args:
        item: the stored item.
        patch: as the strict decoder made it; null removes, an object merges, the rest replaces.
    Raises: Refused: a new value is nested too deeply, or a name is out of bounds.
    """
    check_names(patch)
    result = dict(item)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = _merged_map(before if before and "M" in before else {"M": {}}, value)
        else:
            result[name] = from_plain(value)
    return result


def _merged_map(before: Attribute, patch: dict[str, Any]) -> Attribute:
    return {"M": merged(before["M"], patch)}
