"""Cases of the member TableName of the operations on tables: what is no name, and ARNs.

The operations on items have their own words for a missing name: `dynamodb_members`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_cases import Case, Error, copies, invalid, violated
from tests.support.dynamodb_members import CAPTURES, NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH_3: Final = "Member must have length greater than or equal to 3"
LENGTH_255: Final = "Member must have length less than or equal to 255"
REQUIRED: Final = "The parameter 'TableName' is required but was not present in the request"
QUIRKS: Final = "ack-api-quirks services/dynamodb"
_EMPTY: Final = re.compile(
    r"^1 validation error detected: Value ('' )?at '[tT]ableName' failed to satisfy constraint: "
    r"Member must have length greater than or equal to 1$"
)


def no_table(name: str = "<GONE>") -> Error:
    """Expect what an operation on tables says of a table that is not there."""
    return Error(
        name="ResourceNotFoundException",
        text=f"Requested resource not found: Table: {name} not found",
    )


def named_table_cases(
    operation: str, beside: Mapping[str, Any] | None = None, *, gone: Error | None = None
) -> list[Case]:
    """List what is no table's name or ARN, with the rest of the request in `beside`."""
    request = {"TableName": "<P>", **(beside or {})}
    return [
        *name_cases(operation, request),
        *gone_cases(request, gone=gone or no_table()),
        *arn_cases(request, gone=gone or no_table()),
    ]


def name_cases(operation: str, request: Mapping[str, Any]) -> list[Case]:
    """Names that no table can have; the rest of the request is right."""
    source = f"dynalite test/{operation[0].lower()}{operation[1:]}.js"
    missing = Case(
        name="no-table-name",
        request=copies(request, TableName=None),
        error=invalid(REQUIRED),
        source=source,
    )
    broken = {
        "a": [("a", "tableName", LENGTH_3)],
        "ab": [("ab", "tableName", LENGTH_3)],
        "a;": [("a;", "tableName", NAME_PATTERN), ("a;", "tableName", LENGTH_3)],
        "abc;": [("abc;", "tableName", NAME_PATTERN)],
        "abc/def": [("abc/def", "tableName", NAME_PATTERN)],
        "abc def": [("abc def", "tableName", NAME_PATTERN)],
        "abc\u00e9": [("abc\u00e9", "tableName", NAME_PATTERN)],
        "abc\n": [("abc\n", "tableName", NAME_PATTERN)],
        "a" * 256: [("a" * 256, "tableName", LENGTH_255)],
        ";" * 256: [
            (";" * 256, "tableName", NAME_PATTERN),
            (";" * 256, "tableName", LENGTH_255),
        ],
    }
    return [
        missing,
        Case(
            name="null-table-name",
            request={**request, "TableName": None},
            error=invalid(REQUIRED),
            source=source,
        ),
        Case(
            name="empty-table-name",
            request=copies(request, TableName=""),
            # The regions disagree on the value and on the member's capital.
            error=invalid(_EMPTY),
            source=CAPTURES,
        ),
        *[
            Case(
                name=f"table-name-{ascii(name[:10])[1:-1]}-of-{len(name)}",
                request=copies(request, TableName=name),
                error=violated(*violations),
                source=CAPTURES,
            )
            for name, violations in broken.items()
        ],
    ]


def gone_cases(request: Mapping[str, Any], *, gone: Error) -> list[Case]:
    """Names that no table has, the shortest and the longest among them."""
    return [
        Case(
            name=f"table-gone-{name[:6]}-of-{len(name)}",
            request=copies(request, TableName=name),
            error=gone_as(gone, name),
            source=f"{QUIRKS} DDB-TABLE-070",
        )
        for name in ("<GONE>", "a" * 255, "._-", "...")
    ]


def gone_as(error: Error, name: str) -> Error:
    """Name another table in an error about `<GONE>`."""
    assert isinstance(error.text, str)
    return Error(name=error.name, text=error.text.replace("<GONE>", name))


def arn_cases(request: Mapping[str, Any], *, gone: Error) -> list[Case]:
    """ARNs that no table has; those of tables are accepted, see each operation's successes."""
    start = "arn:aws:dynamodb:us-east-1:000000000000"
    refused = {
        "of-an-index": f"{start}:table/<P>/index/abc",
        "of-a-stream": f"{start}:table/<P>/stream/2026-01-01T00:00:00.000",
        "of-a-backup": f"{start}:table/<P>/backup/01489602797149-73d8d5bc",
        "without-resource": start,
        "of-no-table": f"{start}:table/",
        "of-another-service": "arn:aws:s3:us-east-1:000000000000:table/<P>",
        "of-another-resource": f"{start}:stream/<P>",
        "with-a-short-name": f"{start}:table/ab",
        "with-a-long-name": f"{start}:table/{'a' * 256}",
        "with-a-bad-name": f"{start}:table/abc;",
        "too-long": f"{start}:table/{'a' * 1024}",
    }
    return [
        *[
            Case(
                name=f"arn-{name}",
                request=copies(request, TableName=arn),
                error=invalid(re.compile(r"^[1-9] validation errors? detected: ")),
                source=f"{QUIRKS} DDB-TABLE-011, DDB-TABLE-442",
            )
            for name, arn in refused.items()
        ],
        Case(
            name="arn-of-another-account",
            request=copies(
                request, TableName="arn:aws:dynamodb:us-east-1:123456789012:table/<GONE>"
            ),
            error=Error(name="AccessDeniedException", text="Access is denied"),
            source=f"{QUIRKS} DDB-TABLE-011",
        ),
        Case(
            name="arn-of-a-table-gone",
            request=copies(request, TableName=f"{start}:table/<GONE>"),
            error=gone,
            source=f"{QUIRKS} DDB-TABLE-011, DDB-TABLE-070",
        ),
    ]
