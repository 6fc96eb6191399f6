"""Errors as DynamoDB names them, and the total map from dStore's own to those.

Names, namespaces and statuses: botocore's model of DynamoDB, and its developer guide,
"Error handling". All that the caller must mend is a 400, authentication included.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.api.http.problems import ProblemRaised
from dstore.expressions import ExpressionError, sentence
from dstore.model.errors import (
    ConditionFailed,
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
)
from dstore.security.sigv4 import SignatureProblem, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Namespace(StrEnum):
    """What stands before the `#` of a `__type`."""

    DYNAMODB = "com.amazonaws.dynamodb.v20120810"
    VALIDATE = "com.amazon.coral.validate"
    SERVICE = "com.amazon.coral.service"


class AwsError(DStoreError):
    """An error that has a name of AWS's; `members` are those beside the message."""

    def __init__(
        self,
        name: str,
        message: str | None,
        *,
        namespace: Namespace = Namespace.DYNAMODB,
        status: int = 400,
        members: Mapping[str, Any] | None = None,
        newer: str | None = None,
        is_bare: bool = False,
    ) -> None:
        """Take all of it; `message` None leaves it out of the body.

        What AWS's newer checks say, where that is something else, is `newer`; what they say without
        their envelope `is_bare`. See `wordings.py`.
        """
        super().__init__(message or name)
        self.name = name
        self.text = message
        self.newer = message if newer is None else newer
        self.is_bare = is_bare
        self.namespace = namespace
        self.status = status
        self.members = members or {}

    def body(self) -> bytes:
        """Render the body."""
        fields: dict[str, Any] = {"__type": f"{self.namespace}#{self.name}", **self.members}
        if self.text is not None:
            fields["message"] = self.text
        return msgspec.json.encode(fields)


def validation(message: str, *, newer: str | None = None, is_bare: bool = False) -> AwsError:
    """Make the commonest error, ValidationException; of the rest see `AwsError`."""
    return AwsError(
        "ValidationException", message, namespace=Namespace.VALIDATE, newer=newer, is_bare=is_bare
    )


def serialization(message: str | None = None) -> AwsError:
    """Make what a body gets whose JSON, or whose members' types, cannot be read."""
    return AwsError("SerializationException", message, namespace=Namespace.SERVICE)


def unknown_operation(*, status: int = 400) -> AwsError:
    """Make what an operation gets that is not offered; with 404, what is no request of one."""
    return AwsError("UnknownOperationException", None, namespace=Namespace.SERVICE, status=status)


def resource_not_found(message: str = "Requested resource not found") -> AwsError:
    """Make what a table gets that is not there; most operations say no more than this."""
    return AwsError("ResourceNotFoundException", message)


def resource_in_use(message: str) -> AwsError:
    """Make what a table gets whose state or name is in the way."""
    return AwsError("ResourceInUseException", message)


def _of_service(name: str, message: str, *, status: int = 400) -> AwsError:
    return AwsError(name, message, namespace=Namespace.SERVICE, status=status)


_TOO_LARGE: Final = 413
_HEADERS_TOO_LARGE: Final = 431  # DynamoDB's status for it is 400
_NOT_HERE: Final = frozenset({404, 405})
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)
_UNKNOWN_KEY: Final = "The security token included in the request is invalid."


def aws_error_of(error: BaseException) -> AwsError:
    """Tell what a client is told about an error; what nobody expected is an InternalServerError."""
    match error:
        case AwsError():
            return error
        case ExpressionError():
            return validation(sentence(error))
        case SignatureRefused():
            return _of_signature(error)
        case Refused():
            return _of_refusal(error)
        case ConditionFailed():
            return _of_condition(error)
        case Unavailable():
            # Retryable, as every SDK knows by the status; definitely nothing was written.
            return _of_service("ServiceUnavailable", error.message, status=503)
        case ProblemRaised():
            return _of_http(error)
        case _:
            # Unknown is among them: this status says that a write may have happened.
            return AwsError(
                "InternalServerError",
                "The request processing has failed because of an unknown error, exception or "
                "failure.",
                status=500,
            )


def _of_signature(error: SignatureRefused) -> AwsError:
    match error.problem:
        case SignatureProblem.MISSING:
            return _of_service("MissingAuthenticationTokenException", error.message)
        case SignatureProblem.UNKNOWN_KEY:
            return _of_service("UnrecognizedClientException", _UNKNOWN_KEY)
        case SignatureProblem.MISMATCH:
            return _of_service("InvalidSignatureException", _MISMATCH)
        case _:
            # What AWS finds incomplete, `authentication.complaint` has told by now.
            return _of_service("InvalidSignatureException", error.message)


def _of_refusal(error: Refused) -> AwsError:
    match error.kind:
        case RefusalKind.NOT_FOUND:
            return resource_not_found()
        case RefusalKind.CONFLICT:
            return resource_in_use(error.message)
        case RefusalKind.COLLECTION_FULL:
            return AwsError("ItemCollectionSizeLimitExceededException", error.message)
        case RefusalKind.UNAUTHENTICATED:
            return _of_service("MissingAuthenticationTokenException", error.message)
        case RefusalKind.FORBIDDEN:
            return _of_service("AccessDeniedException", error.message)
        case RefusalKind.UNSUPPORTED_MEDIA_TYPE:
            return serialization(error.message)
        case _:
            return validation(error.message)


def _of_condition(error: ConditionFailed) -> AwsError:
    return AwsError(
        "ConditionalCheckFailedException",
        "The conditional request failed",
        members={} if error.previous is None else {"Item": error.previous},
    )


def _of_http(error: ProblemRaised) -> AwsError:
    problem = error.problem
    if problem.status in _NOT_HERE:
        return unknown_operation(status=404)
    if problem.status == _TOO_LARGE:
        name = "RequestEntityTooLargeException"
        return _of_service(name, problem.detail, status=_TOO_LARGE)
    status = 400 if problem.status == _HEADERS_TOO_LARGE else problem.status
    return _of_service("BadRequest", problem.detail, status=status)
