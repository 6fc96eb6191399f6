"""What cases of Query by KeyConditions and QueryFilter have in common."""

from __future__ import annotations

from typing import Any, Final

from tests.support.dynamodb_conditions import ITEM
from tests.support.dynamodb_former import condition

ID: Final[dict[str, Any]] = {"S": "<ID>"}
OF_P: Final[dict[str, Any]] = {"p": condition("EQ", ID)}
FULL: Final[dict[str, Any]] = {"p": ID, "c": {"S": "c"}, **ITEM}
MOTO: Final = "moto tests/test_dynamodb/test_dynamodb_select.py, aws_verified"


def query(conditions: Any, table: str = "PC", **more: Any) -> dict[str, Any]:
    """Spell a query; None has no KeyConditions."""
    given = {} if conditions is None else {"KeyConditions": conditions}
    return {"TableName": f"<{table}>", **given, **more}
