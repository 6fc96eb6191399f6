"""Cases of members that many operations share: table names, enumerations, keys, capacity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_cases import NOT_FOUND, Case, copies, invalid, violated

if TYPE_CHECKING:
    from collections.abc import Mapping

PARITY: Final = "paritysuite/dynamodb-conformance tests/tier3"
CAPTURES: Final = "paritysuite/dynamodb-conformance captures/cross-region-latest.json"
SPLITS: Final = "paritysuite/dynamodb-conformance registry/splits.json"
ENUMS: Final[Mapping[str, tuple[str, str]]] = {
    "ReturnConsumedCapacity": ("returnConsumedCapacity", "INDEXES, TOTAL, NONE"),
    "ReturnItemCollectionMetrics": ("returnItemCollectionMetrics", "SIZE, NONE"),
    "ConditionalOperator": ("conditionalOperator", "OR, AND"),
    "Select": ("select", "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES"),
}
RETURN_VALUES: Final = (  # UPDATE_NEW is the service's
    "Failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
)
NO_NAME: Final = (
    "1 validation error detected: Value at 'TableName' failed to satisfy constraint: Member must "
    "have length greater than or equal to 1"
)
NAME_PATTERN: Final = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
NOT_NULL: Final = "Member must not be null"
_SCHEMA: Final = "The provided key element does not match the schema"
_NOT_VALID: Final = (
    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
    "contain an empty {} value. Key: {}"
)
_TOO_LONG: Final = (
    "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size "
    "limit of2048 bytes"
)
_TOO_LONG_SORT: Final = (
    "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the "
    "size limit of 1024 bytes"
)


def enumeration(listed: str) -> str:
    """Spell the constraint of an enumeration."""
    return f"Member must satisfy enum value set: [{listed}]"


def enum_cases(operation: str, request: Mapping[str, Any], *members: str) -> list[Case]:
    """A value that an enumeration has not, for each of these members; its case matters."""
    return [
        Case(
            name=f"{member}-is-{value or 'empty'}",
            request=copies(request, **{member: value}),
            error=violated((value, ENUMS[member][0], enumeration(ENUMS[member][1]))),
            source=f"dynalite validations/{operation[0].lower()}{operation[1:]}.js",
        )
        for member in members
        for value in ("hi", "none", "")
    ]


def return_values_cases(request: Mapping[str, Any]) -> list[Case]:
    """A value that ReturnValues has not, and how it stands to a table's name that is empty."""
    return [
        *[
            Case(
                name=f"ReturnValues-is-{value or 'empty'}",
                request=copies(request, ReturnValues=value),
                error=invalid(f"1 validation error detected: {RETURN_VALUES}"),
                source=f"{SPLITS} update-item-validation-error-aggregation; {CAPTURES}",
            )
            for value in ("hi", "none", "")
        ],
        Case(
            name="empty-name-hides-enums",
            request=copies(request, TableName="", ReturnValues="hi", ReturnConsumedCapacity="hi"),
            error=invalid(NO_NAME),
            source=f"{SPLITS} put-item-validation-error-aggregation",
        ),
    ]


def table_name_cases(operation: str, request: Mapping[str, Any]) -> list[Case]:
    """Table names that an operation on items refuses, each with everything else in order."""
    source = f"{PARITY}/error-messages/putItem.test.ts"
    dynalite = f"dynalite test/{operation[0].lower()}{operation[1:]}.js"
    return [
        Case(
            name="no-table-name",
            request=copies(request, TableName=None),
            error=violated((None, "tableName", NOT_NULL)),
            source=source,
        ),
        Case(
            name="null-table-name",
            request={**request, "TableName": None},
            error=violated((None, "tableName", NOT_NULL)),
            source=source,
        ),
        Case(
            name="empty-table-name",
            request=copies(request, TableName=""),
            # The regions disagree on the value and on the member's capital.
            error=invalid(
                re.compile(
                    r"^1 validation error detected: Value ('' )?at '[tT]ableName' failed to "
                    r"satisfy constraint: Member must have length greater than or equal to 1$"
                )
            ),
            source=source,
        ),
        Case(
            name="table-name-of-256",
            request=copies(request, TableName="a" * 256),
            error=violated(
                ("a" * 256, "tableName", "Member must have length less than or equal to 255")
            ),
            source=source,
        ),
        Case(
            name="table-name-pattern",
            request=copies(request, TableName="bad table!@#"),
            error=violated(("bad table!@#", "tableName", NAME_PATTERN)),
            source=source,
        ),
        Case(
            name="table-name-slash",
            request=copies(request, TableName="abc/"),
            error=violated(("abc/", "tableName", NAME_PATTERN)),
            source=dynalite,
        ),
        Case(
            name="table-gone",
            request=copies(request, TableName="<GONE>"),
            error=NOT_FOUND,
            source=f"{PARITY}/error-messages/getItem.test.ts",
        ),
    ]


def key_cases(request: Mapping[str, Any], *, empty: bool = True) -> list[Case]:
    """Keys that fit no table, under the member `Key`; `request` lacks it and the table."""

    def case(name: str, table: str, key: Mapping[str, Any], text: str, source: str) -> Case:
        return Case(
            name=f"key-{name}",
            request={**request, "TableName": f"<{table}>", "Key": key},
            error=invalid(text),
            source=source,
        )

    parity = f"{PARITY}/error-messages/getItem.test.ts"
    dynalite = "dynalite db/index.js validateKey, test/getItem.js"
    cases = [
        case("empty-map", "P", {}, _SCHEMA, dynalite),
        case("other-name", "P", {"b": {"S": "a"}}, _SCHEMA, dynalite),
        case("other-type", "P", {"p": {"N": "1"}}, _SCHEMA, dynalite),
        case("too-many", "P", {"p": {"S": "a"}, "q": {"S": "a"}}, _SCHEMA, dynalite),
        case("no-sort-key", "PC", {"p": {"S": "a"}}, _SCHEMA, parity),
        case("no-partition-key", "PC", {"c": {"S": "a"}}, _SCHEMA, dynalite),
        case("sort-key-type", "PC", {"p": {"S": "a"}, "c": {"N": "1"}}, _SCHEMA, dynalite),
        case("list", "P", {"p": {"L": []}}, _SCHEMA, dynalite),
        case("string-for-number", "N", {"p": {"S": "1"}}, _SCHEMA, dynalite),
        case("string-for-binary", "B", {"p": {"S": "AQ=="}}, _SCHEMA, dynalite),
        case("set", "P", {"p": {"SS": ["a"]}}, _SCHEMA, dynalite),
        case("too-long", "P", {"p": {"S": "a" * 2049}}, _TOO_LONG, dynalite),
        case("too-long-in-bytes", "P", {"p": {"S": "\u00e9" * 1025}}, _TOO_LONG, LIMITS),
        case("binary-too-long", "B", {"p": {"B": "AAAA" * 683}}, _TOO_LONG, dynalite),
        case(
            "sort-key-too-long",
            "PC",
            {"p": {"S": "a"}, "c": {"S": "a" * 1025}},
            _TOO_LONG_SORT,
            dynalite,
        ),
        case(
            "sort-binary-too-long",
            "PB",
            {"p": {"S": "a"}, "c": {"B": "AAAA" * 342}},
            _TOO_LONG_SORT,
            dynalite,
        ),
    ]
    if empty:
        cases += [
            case("empty-string", "P", {"p": {"S": ""}}, _NOT_VALID.format("string", "p"), parity),
            case("empty-binary", "B", {"p": {"B": ""}}, _NOT_VALID.format("binary", "p"), parity),
            case(
                "empty-sort-key",
                "PC",
                {"p": {"S": "a"}, "c": {"S": ""}},
                _NOT_VALID.format("string", "c"),
                parity,
            ),
            case(
                "empty-sort-binary",
                "PB",
                {"p": {"S": "a"}, "c": {"B": ""}},
                _NOT_VALID.format("binary", "c"),
                parity,
            ),
        ]
    return cases


LIMITS: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"
    "#limits-partition-sort-keys"
)


def capacity(units: float, table: str = "<P>") -> dict[str, Any]:
    """Spell ConsumedCapacity as TOTAL asks for it."""
    return {"TableName": table, "CapacityUnits": units}


def capacity_of_table(units: float, table: str = "<P>") -> dict[str, Any]:
    """Spell ConsumedCapacity as INDEXES asks for it, of a table without indexes."""
    return {**capacity(units, table), "Table": {"CapacityUnits": units}}
