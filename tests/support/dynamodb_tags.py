"""Resources that the operations on tags refuse, as the service has done since 2024."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_cases import Case, Error, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

IDENTIFIERS: Final = "ack-api-quirks services/dynamodb DDB-TABLE-071"
NOT_FOUND: Final = "ack-api-quirks services/dynamodb DDB-TABLE-446"
SENTENCES: Final = "ack-api-quirks services/dynamodb DDB-TABLE-442"
MALFORMED: Final = "ack-api-quirks services/dynamodb DDB-TABLE-107"
INVALID: Final = "One or more parameter values were invalid: "
_START: Final = "arn:aws:dynamodb:us-east-1:000000000000"
_NO_ARN: Final = INVALID + "ARNs must start with 'arn:': {}"
_OTHER_SERVICE: Final = INVALID + "Provided Arn is not a DynamoDB resource arn: {}"
_NO_TABLE: Final = (
    INVALID + "Invalid resource arn provided, only table or stream is accepted. "
    "Provided resource arn: {}"
)


def gone(arn: str) -> Error:
    """Expect what an ARN gets whose table is not there."""
    return Error(
        name="ResourceNotFoundException",
        text=f"Requested resource not found: ResourceArn: {arn} not found",
    )


def resource_cases(operation: str, rest: Mapping[str, Any]) -> list[Case]:
    """List the ResourceArns that an operation refuses; `rest` is what else it needs."""
    dynalite = f"dynalite test/{operation[0].lower()}{operation[1:]}.js"
    refused = {
        "word": ("I_do_not_exist", _NO_ARN),
        "name-of-a-table": ("<P>", _NO_ARN),
        "space": (" ", _NO_ARN),
        "unicode": ("\u043d\u0435\u0437\u0430\u043a\u043e\u043d\u043d\u044b\u0435", _NO_ARN),
        "125-characters": ("x" * 125, _NO_ARN),
        "of-s3": ("arn:aws:s3:us-east-1:000000000000:table/<P>", _OTHER_SERVICE),
        "of-iam": ("arn:aws:iam::000000000000:user/dynamodb", _OTHER_SERVICE),
        "of-an-index": (f"{_START}:table/<P>/index/abc", _NO_TABLE),
    }
    missing = f"{_START}:table/gone-and-gone"
    return [
        Case(name="no-arn", request=dict(rest), error=invalid("Invalid TableArn"), source=dynalite),
        Case(
            name="null-arn",
            request={**rest, "ResourceArn": None},
            error=invalid("Invalid TableArn"),
            source=dynalite,
        ),
        *[
            Case(
                name=f"arn-is-{name}",
                request={**rest, "ResourceArn": arn},
                error=invalid(text.format(arn)),
                source=SENTENCES,
            )
            for name, (arn, text) in refused.items()
        ],
        *[
            Case(
                name=f"arn-cut-to-{len(parts)}",
                request={**rest, "ResourceArn": ":".join(parts)},
                # The sentences of the service's parser of ARNs are many.
                error=invalid(re.compile(r"(?i)arn")),
                source="Alternator test/alternator/test_tag.py::test_tag_resource_incorrect",
            )
            for parts in (f"{_START}:table".split(":")[:end] for end in range(2, 7))
        ],
        Case(
            name="arn-of-another-account",
            request={**rest, "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/abc"},
            error=Error(name="AccessDeniedException", text="Access is denied"),
            source=IDENTIFIERS,
        ),
        Case(
            name="arn-of-a-stream",
            request={**rest, "ResourceArn": f"{missing}/stream/2026-01-01T00:00:00.000"},
            error=gone(f"{missing}/stream/2026-01-01T00:00:00.000"),
            source=IDENTIFIERS,
        ),
        Case(
            name="arn-of-no-table",
            request={**rest, "ResourceArn": missing},
            error=gone(missing),
            source=NOT_FOUND,
        ),
        Case(
            name="arn-with-a-letter-too-many",
            request={**rest, "ResourceArn": f"{_START}:table/<P>x"},
            error=gone(f"{_START}:table/<P>x"),
            source="Alternator test/alternator/test_tag.py::test_tag_resource_subtly_incorrect_arn",
        ),
    ]
