"""Answers as DynamoDB sends them: the request's content type, and a checksum of what is sent.

Answers are never compressed. DynamoDB offers gzip from 4 KB on; the checksum is then of the
compressed bytes, and SDKs or proxies that decompress before they check it take the answer for
damaged (aws/aws-sdk-java#1018, localstack/localstack#429). Not to compress is right for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from aiohttp import hdrs

from dstore.api.dynamodb.cors import cors_headers
from dstore.api.dynamodb.errors import aws_error_of
from dstore.api.http.answer import Answer
from dstore.api.http.problems import ProblemRaised

if TYPE_CHECKING:
    from aiohttp import web

AMZ_JSON: Final = "application/x-amz-json-1.0"
JSON: Final = "application/json"

_NOT_FOUND: Final = 404
_NO_OPERATION: Final = b"<UnknownOperationException/>\n"


def content_type_of(request: web.Request) -> str:
    """Return a request's content type, lower case, without parameters; "" if it has none."""
    given: str = request.headers.get(hdrs.CONTENT_TYPE, "")
    if given == AMZ_JSON:  # what every SDK sends
        return AMZ_JSON
    return given.partition(";")[0].strip().lower()


def answer(
    request: web.Request, body: bytes, *, checksum: int | None = None, status: int = 200
) -> Answer:
    """Make the answer to an operation, JSON or empty, its failure included.

    Args:
        request: whose content type the answer has.
        body: JSON, or b"".
        checksum: CRC-32 of the body if it is known already.
        status: HTTP's.
    """
    given = request.headers.get(hdrs.CONTENT_TYPE)
    is_amz = given == AMZ_JSON or content_type_of(request) == AMZ_JSON  # mostly without a call
    content_type = AMZ_JSON if is_amz else JSON
    lines = f"x-amz-crc32: {crc32(body) if checksum is None else checksum}\r\n"
    if not body:
        lines += f"Content-Type: {content_type}\r\n"  # which `Answer` leaves out of empty answers
    headers = cors_headers(request) if hdrs.ORIGIN in request.headers else None
    return Answer(body, status=status, content_type=content_type, headers=headers, lines=lines)


def plain_answer(request: web.Request, body: bytes, *, status: int = 200) -> Answer:
    """Make an answer that belongs to no operation; it has no content type."""
    lines = f"x-amz-crc32: {crc32(body)}\r\n"
    headers = cors_headers(request)
    return Answer(body, status=status, content_type="", headers=headers, lines=lines)


def error_answer(error: Exception, request: web.Request) -> Answer:
    """Render an error; total, as a dialect's `render_error` must be."""
    told = aws_error_of(error)
    if told.status == _NOT_FOUND:
        made = plain_answer(request, _NO_OPERATION, status=_NOT_FOUND)
    else:
        made = answer(request, told.body(), status=told.status)
    if isinstance(error, ProblemRaised) and error.problem.closes:
        made.force_close()
    return made
