"""Every operation of the DynamoDB API that dStore offers, one file each.

An operation joins by one import and one entry of the tuple, both in alphabetical order.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.actions import (
    batch_get_item,
    batch_write_item,
    create_table,
    delete_item,
    delete_table,
    describe_continuous_backups,
    describe_endpoints,
    describe_limits,
    describe_table,
    describe_time_to_live,
    get_item,
    list_tables,
    list_tags_of_resource,
    put_item,
    query,
    scan,
    tag_resource,
    untag_resource,
    update_item,
    update_table,
    update_time_to_live,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.api.dynamodb.action import Action

_ALL: Final[tuple[Action, ...]] = (
    batch_get_item.ACTION,
    batch_write_item.ACTION,
    create_table.ACTION,
    delete_item.ACTION,
    delete_table.ACTION,
    describe_continuous_backups.ACTION,
    describe_endpoints.ACTION,
    describe_limits.ACTION,
    describe_table.ACTION,
    describe_time_to_live.ACTION,
    get_item.ACTION,
    list_tables.ACTION,
    list_tags_of_resource.ACTION,
    put_item.ACTION,
    query.ACTION,
    scan.ACTION,
    tag_resource.ACTION,
    untag_resource.ACTION,
    update_item.ACTION,
    update_table.ACTION,
    update_time_to_live.ACTION,
)

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType({action.name: action for action in _ALL})
"""An operation's name, as X-Amz-Target spells it, to the operation."""
