"""Attributes as msgspec decodes them by type: plain dicts of known tags with contents to match.

Here alone they are TypedDicts, since a decoder wants to be told; a tag that is not known is left
out by it, which `wire_form` notices. In a module of their own, for msgspec looks names up when the
program runs.
"""

from __future__ import annotations

from typing import TypedDict


class WireAttribute(TypedDict, total=False):
    """`model.values.Attribute`: exactly one of these."""

    S: str
    N: str
    B: str
    BOOL: bool
    NULL: bool
    SS: list[str]
    NS: list[str]
    BS: list[str]
    L: list[WireAttribute]
    M: dict[str, WireAttribute]


class WirePatch(TypedDict, total=False):
    """A value of `merge_patch.Patch`: as an attribute, but a map may hold None."""

    S: str
    N: str
    B: str
    BOOL: bool
    NULL: bool
    SS: list[str]
    NS: list[str]
    BS: list[str]
    L: list[WireAttribute]
    M: dict[str, WirePatch | None]


WireItem = dict[str, WireAttribute]
