"""Requests about tables, short to write in tests."""

from __future__ import annotations

from typing import Any

UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
ALL = {"ProjectionType": "ALL"}
INVALID = "One or more parameter values were invalid: "


def schema(*names: str) -> list[dict[str, str]]:
    """Spell a key schema: HASH, and RANGE if there are two."""
    roles = ("HASH", "RANGE")
    return [
        {"AttributeName": name, "KeyType": role} for name, role in zip(names, roles, strict=False)
    ]


def definitions(*names: str, kind: str = "S") -> list[dict[str, str]]:
    """Spell attribute definitions, all of one type."""
    return [{"AttributeName": name, "AttributeType": kind} for name in names]


def index(name: str, *keys: str, **others: Any) -> dict[str, Any]:
    """Spell an index that projects everything unless `others` say otherwise."""
    return {"IndexName": name, "KeySchema": schema(*keys), "Projection": ALL} | others


def table(*keys: str, attributes: tuple[str, ...] = (), **others: Any) -> dict[str, Any]:
    """Spell an on-demand table `abc`; `attributes` are defined beside its keys."""
    return {
        "TableName": "abc",
        "AttributeDefinitions": definitions(*keys, *attributes),
        "KeySchema": schema(*keys),
        "BillingMode": "PAY_PER_REQUEST",
    } | others


def provisioned(*keys: str, attributes: tuple[str, ...] = (), **others: Any) -> dict[str, Any]:
    """Spell a table with provisioned throughput."""
    units = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}
    return table(*keys, attributes=attributes, **(units | others))
