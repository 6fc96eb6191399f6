"""Every operation of the DynamoDB API that dStore offers, one file each.

An operation joins by one import and one entry of the tuple, both in alphabetical order.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.actions import (
    create_table,
    delete_table,
    describe_table,
    query,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.api.dynamodb.action import Action

_ALL: Final[tuple[Action, ...]] = (
    create_table.ACTION,
    delete_table.ACTION,
    describe_table.ACTION,
    query.ACTION,
    scan.ACTION,
)

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType({action.name: action for action in _ALL})
"""An operation's name, as X-Amz-Target spells it, to the operation."""
