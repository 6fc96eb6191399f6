"""How an item is written: the path, the headers of a write, and what is said when it is done."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from dstore.base.entropy import SystemEntropy
from dstore.cli.answers import document, fields_or_none
from dstore.cli.client import Answer, Request, UrlPath, client, path_of
from dstore.cli.connection import Surface
from dstore.cli.curl import BodyFile
from dstore.cli.failures import usage
from dstore.cli.options import asked
from dstore.cli.output import emit, is_json, note, print_object, print_result


def item_path(tenant: str, table: str, item_id: str) -> UrlPath:
    """Return the path of an item."""
    return path_of("v1", "tenant", tenant, "table", table, "id", item_id)


def prefer(*, is_async: bool) -> Mapping[str, str]:
    """Ask for a queued write, if it is wanted."""
    return {"Prefer": "respond-async"} if is_async else {}


def match(if_match: str | None) -> Mapping[str, str]:
    """Say the condition; quotes, which shells eat, are put around an ETag that has none."""
    if if_match is None:
        return {}
    bare = if_match.removeprefix("W/").strip('"')
    if not bare.isascii() or not bare.isprintable() or " " in bare or not bare:
        raise usage("--if-match takes an ETag as dstore item get --meta prints it.")
    return {"If-Match": if_match if if_match.endswith('"') or if_match == "*" else f'"{bare}"'}


def write(
    method: str,
    path: UrlPath,
    headers: Mapping[str, str],
    *,
    body: BodyFile | None,
    key: str | None,
) -> Answer:
    """Send a write under a key, so that repeating it after a timeout can't do it twice.

    A queued write has its request id instead, and gets no key that wasn't asked for.
    """
    is_queued = "Prefer" in headers
    if key is None and not is_queued and not asked().print_curl:
        key = SystemEntropy().uuid()
    if key is not None:
        if not key.isascii() or not key.isprintable() or not key.strip():
            raise usage("--idempotency-key takes printable ASCII, such as a UUID.")
        headers = {**headers, "Idempotency-Key": key}
    request = Request(
        method=method,
        path=path,
        headers=headers,
        body=body,
        repeat_with=None if is_queued else f"--idempotency-key {key}",
    )
    return client(Surface.V1).call(request)


def report(answer: Answer, sentence: str, **known: Any) -> None:
    """Say what was done, or that it is queued and under which request id."""
    fields = {**known, **fields_or_none(answer)}
    if answer.status == HTTPStatus.ACCEPTED:
        request_id = str(fields.get("requestId"))
        note(f"It is queued; dstore request show {request_id} tells what became of it.")
        if is_json():
            print_object("Request", document(answer))
        else:
            emit(request_id + "\n")
        return
    if etag := answer.headers.get("etag"):
        fields["etag"] = etag
    print_result("Item", fields, sentence=sentence)
