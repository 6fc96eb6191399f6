"""Resource IDs: the name of everything outside, `rid:service:tenant:location:type:id`.

    rid:dStore:1234:NA:table:entries            a table
    rid:dStore:1234:NA:tenant:1234              a tenant
    rid:dStore:1234:NA:table:entries/id/a%2Fb   an entry; its ID is percent-encoded UTF-8

No part but the last may hold a colon, so that splitting five times is parsing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

from dstore.base.limits import (
    LOCATION_CHARS_MAX,
    TABLE_NAME_CHARS_MAX,
    TABLE_NAME_CHARS_MIN,
    TENANT_NAME_CHARS_MAX,
)
from dstore.model.errors import excerpt, invalid

SERVICE: Final = "dStore"
DEFAULT_LOCATION: Final = "NA"

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TABLE = re.compile(r"[a-zA-Z0-9_.-]+")
_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RESOURCE_TYPE = re.compile(r"[a-z][a-z-]{0,31}")
_PREFIX = f"rid:{SERVICE}"
_PARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rid:
    """The name of one resource; `str` of it is the wire form."""

    tenant: str
    location: str
    resource_type: str
    resource_id: str

    def __str__(self) -> str:
        return f"{_PREFIX}:{self.tenant}:{self.location}:{self.resource_type}:{self.resource_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a RID.

        Raises: Refused: it is none of dStore's, or a part of it is not well-formed.
        """
        parts = text.split(":", _PARTS - 1)
        if len(parts) != _PARTS or parts[:2] != ["rid", SERVICE]:
            raise invalid(
                f"{excerpt(text)} is no resource ID; write {_PREFIX}:<tenant>:<location>:<type>:"
                "<id>."
            )
        _, _, tenant, location, resource_type, resource_id = parts
        validate_tenant_name(tenant)
        validate_location(location)
        if _RESOURCE_TYPE.fullmatch(resource_type) is None or not resource_id:
            raise invalid(
                f"{excerpt(text)} is no resource ID; its type is a lower-case word such as table, "
                "and its last part is not empty."
            )
        return cls(
            tenant=tenant, location=location, resource_type=resource_type, resource_id=resource_id
        )


def tenant_rid(tenant: str, *, location: str = DEFAULT_LOCATION) -> Rid:
    """Name a tenant."""
    return Rid(tenant=tenant, location=location, resource_type="tenant", resource_id=tenant)


def table_rid(tenant: str, table: str, *, location: str = DEFAULT_LOCATION) -> Rid:
    """Name a table of a tenant."""
    return Rid(tenant=tenant, location=location, resource_type="table", resource_id=table)


def entry_rid(tenant: str, table: str, entry_id: str, *, location: str = DEFAULT_LOCATION) -> Rid:
    """Name an entry by its ID as it stands in a URL (`model.tables.format_id`)."""
    resource_id = f"{table}/id/{quote(entry_id, safe='')}"
    return Rid(tenant=tenant, location=location, resource_type="table", resource_id=resource_id)


def validate_tenant_name(name: str) -> str:
    """Give a tenant's name back if it may be one.

    Raises: Refused: not 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit.
    """
    if len(name) > TENANT_NAME_CHARS_MAX or _TENANT.fullmatch(name) is None:
        raise invalid(
            f"{excerpt(name)} is no tenant name; use 1 to {TENANT_NAME_CHARS_MAX} lower-case "
            "letters, digits, _ and -, beginning with a letter or a digit."
        )
    return name


def validate_table_name(name: str) -> str:
    """Give a table's name back if it may be one; the rule is DynamoDB's.

    Raises: Refused: not 3 to 255 of a-z, A-Z, 0-9, _, - and the full stop.
    """
    fits = TABLE_NAME_CHARS_MIN <= len(name) <= TABLE_NAME_CHARS_MAX
    if not fits or _TABLE.fullmatch(name) is None:
        raise invalid(
            f"{excerpt(name)} is no table name; use {TABLE_NAME_CHARS_MIN} to "
            f"{TABLE_NAME_CHARS_MAX} letters, digits, _, - and full stops."
        )
    return name


def validate_location(name: str) -> str:
    """Give a location's name back if it may be one.

    Raises: Refused: not 1 to 16 letters, digits, _ and -, beginning with a letter or digit.
    """
    if len(name) > LOCATION_CHARS_MAX or _LOCATION.fullmatch(name) is None:
        raise invalid(
            f"{excerpt(name)} is no location; use 1 to {LOCATION_CHARS_MAX} letters, digits, _ "
            "and -, such as NA or EU."
        )
    return name
