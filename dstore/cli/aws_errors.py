"""From an error of the DynamoDB API to the sentence and the exit status of the command."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from dstore.cli.failures import ExitCode, Failure

_EXCERPT_CHARS_MAX: Final = 1_000  # of a message, which may quote an item
# The write was refused before anything happened: it can be sent again.
_THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
    }
)
_OF_THE_KEY: Final = frozenset(
    {
        "AccessDeniedException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
# By a part of the message: what to type. AWS speaks of members of a request.
_HINTS: Final[tuple[tuple[str, str], ...]] = (
    ("reserved keyword", """give the attribute another name: --names '{"#n": "name"}' and #n"""),
    ("does not match the schema", "--key takes all key attributes and nothing else"),
    (
        "Type mismatch for",
        """numbers stand without quotes, {"n": 1}, and DynamoDB JSON needs --format dynamodb""",
    ),
    ("Missing the key", "every item carries its keys"),
)


class AwsFailure(Failure):
    """An error that the DynamoDB API answered; `name` is AWS's, `status` of HTTP."""

    def __init__(self, name: str, message: str, *, status: int, exit_code: ExitCode) -> None:
        """Keep the name for who reacts to it."""
        super().__init__(message, exit_code=exit_code)
        self.name = name
        self.status = status

    @property
    def is_throttled(self) -> bool:
        """Tell whether nothing was done, and it can be tried again a little later."""
        return self.name in _THROTTLED

    @property
    def is_of_server(self) -> bool:
        """Tell whether the server failed; a write may have happened."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def aws_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, key_source: str, is_write: bool
) -> AwsFailure | None:
    """Translate an answer of 400 or above.

    Args:
        status: of the answer.
        headers: of the answer, names in lower case.
        body: of the answer.
        key_source: words for where the access key stood.
        is_write: whether carrying the request out changes anything.
    Returns: None if it is no answer of this API.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("__type"), str):
        return None
    name = document["__type"].rpartition("#")[2]
    message = document.get("message") or document.get("Message")
    sentence = f"{name}: {message[:_EXCERPT_CHARS_MAX]}" if isinstance(message, str) else name
    if hint := _hint(name, sentence):
        sentence += f" (Here: {hint}.)"
    if name in _OF_THE_KEY:
        sentence += f" (The access key is from {key_source}.)"
    is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_failure and (request_id := headers.get("x-amzn-requestid")):
        sentence += f" (Request id {request_id}.)"
    if is_failure and is_write:
        sentence += " The outcome is unknown: the server may have done it or not."
    return AwsFailure(name, sentence, status=status, exit_code=_exit_code(name, status, is_write))


def _hint(name: str, sentence: str) -> str | None:
    if name == "ResourceNotFoundException":
        return "dstore table list"
    return next((hint for part, hint in _HINTS if part in sentence), None)


def _exit_code(name: str, status: int, is_write: bool) -> ExitCode:
    if name == "ResourceNotFoundException":
        return ExitCode.NOT_FOUND
    if is_write and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ExitCode.TIMEOUT
    return ExitCode.FAILED
