"""Resources that the operations on tags refuse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.support.dynamodb_cases import Case, Error, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

# The sentence changed between the service's releases; the error's name did not.
_NO_TABLE: Final = re.compile(r"^(Invalid TableArn|One or more parameter values were invalid): ")
_NOT_FOUND: Final = "ResourceNotFoundException"


def resource_cases(operation: str, rest: Mapping[str, Any], *, gone: str) -> list[Case]:
    """List the ResourceArns that an operation refuses; `rest` is what else it needs.

    Args:
        operation: its name.
        rest: the other members.
        gone: the sentence for a table that is not there; `{arn}` is its ARN.
    """
    source = f"dynalite validations/{operation[0].lower()}{operation[1:]}.js"
    foreign = "arn:aws:dynamodb:us-east-1:000000000000:table/gone-and-gone"
    invalid_start = "One or more parameter values were invalid: ARNs must start with 'arn:': "
    return [
        Case(name="no-arn", request=dict(rest), error=invalid("Invalid TableArn"), source=source),
        *[
            Case(
                name=f"arn-{arn}",
                request={**rest, "ResourceArn": arn},
                error=invalid(f"{invalid_start}{arn}"),
                # Its comment says that the service once answered AccessDeniedException.
                source="Alternator test/alternator/test_tag.py; ack-api-quirks services/dynamodb",
            )
            for arn in ("abcd", "a:b:c:d:e:f/g")
        ],
        *[
            Case(
                name=f"arn-{name}",
                request={**rest, "ResourceArn": arn},
                error=invalid(_NO_TABLE),
                source=f"{source}; Alternator test/alternator/test_tag.py",
            )
            for name, arn in (
                ("of-service", "arn:aws:s3:us-east-1:000000000000:table/abc"),
                ("of-bucket", "arn:aws:dynamodb:us-east-1:000000000000:bucket/abc"),
                ("of-short-name", "arn:aws:dynamodb:us-east-1:000000000000:table/ab"),
            )
        ],
        Case(
            name="arn-of-no-table",
            request={**rest, "ResourceArn": foreign},
            error=Error(name=_NOT_FOUND, text=gone.format(arn=foreign)),
            source=f"dynalite actions/{operation[0].lower()}{operation[1:]}.js",
        ),
    ]
