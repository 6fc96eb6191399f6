"""/openapi.json: the v1 API described, for people's tools. A test holds it against the routes.

Served without credentials: it says nothing of any tenant.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from dstore import __version__
from dstore.api.http.answer import Answer
from dstore.api.http.route import Route
from dstore.base.limits import (
    IDEMPOTENCY_KEY_CHARS_MAX,
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
    PARTITION_KEY_BYTES_MAX,
    TABLE_NAME_CHARS_MAX,
    TABLE_NAME_CHARS_MIN,
    TENANT_NAME_CHARS_MAX,
)

Described = dict[str, Any]
OPENAPI_PATH: Final = "/openapi.json"

_PROBLEMS: Final = {
    400: "The request is not valid; `detail` says what to change.",
    401: "No valid credential.",
    403: "The credential does not reach this tenant, whether it exists or not.",
    404: "There is no such tenant, table, entry or request.",
    408: "The body came too slowly.",
    409: "What is there conflicts with the request.",
    412: "If-Match or If-None-Match does not hold.",
    413: "The body or the entry is too large.",
    415: "The body's content type or encoding is not supported.",
    431: "The headers are too large.",
    500: "The server failed; for a write its outcome may be unknown (`type` says which).",
    503: "Not now: overloaded, locked or stopping. Nothing was written.",
    507: "The disk is full. Nothing was written; reads go on.",
}
_ALWAYS: Final = (400, 401, 403, 404, 431, 500, 503)
_WITH_BODY: Final = (408, 413, 415)
_WRITES: Final = (507,)


def openapi_route() -> Route:
    """Serve the description."""
    answer_body = msgspec.json.encode(openapi())

    async def serve(_request: web.Request) -> Answer:
        return Answer(answer_body)

    return Route(method="GET", path=OPENAPI_PATH, handler=serve, operation="read_openapi")


def openapi() -> Described:
    """Build the description, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dStore v1",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Tenants, tables and entries. Errors are problem+json (RFC 9457).",
        },
        "security": [{"bearer": []}, {"signature": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service dstore or dynamodb.",
                },
            },
            "schemas": _schemas(),
        },
    }


def _paths() -> Described:
    tenant, table = _path("tenant", _TENANT_NAME), _path("table", _TABLE_NAME)
    entry_id, request = _path("id", _ID), _path("request", {"type": "string", "minLength": 1})
    paged = [
        _query(
            "limit",
            {
                "type": "integer",
                "minimum": 1,
                "maximum": LIST_LIMIT_MAX,
                "default": LIST_LIMIT_DEFAULT,
            },
        ),
        _query("after", {"type": "string"}),
    ]
    consistency = _query("consistency", {"enum": ["strong", "eventual"], "default": "strong"})
    force = _query("force", {"type": "boolean", "default": False})
    matching = [_header("If-Match", _ETAGS), _header("If-None-Match", _ETAGS)]
    writing = [
        *matching,
        _header("Prefer", {"type": "string"}),
        _header(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARS_MAX},
        ),
    ]
    return {
        "/v1/tenant": {
            "get": _operation("list_tenants", "List tenants", paged, answers={200: "TenantPage"}),
        },
        "/v1/tenant/{tenant}": {
            "parameters": [tenant],
            "get": _operation("read_tenant", "Read a tenant", [], answers={200: "Tenant"}),
            "put": _operation(
                "create_tenant",
                "Create a tenant",
                [],
                answers={201: "Tenant", 200: "Tenant"},
                body=("Empty", ["application/json"]),
                body_required=False,
            ),
            "delete": _operation(
                "delete_tenant",
                "Delete a tenant and shred its keys",
                [force],
                answers={204: None},
                problems=(409, *_WRITES, *_WITH_BODY),
            ),
        },
        "/v1/tenant/{tenant}/table": {
            "parameters": [tenant],
            "get": _operation("list_tables", "List tables", paged, answers={200: "TablePage"}),
        },
        "/v1/tenant/{tenant}/table/{table}": {
            "parameters": [tenant, table],
            "get": _operation("read_table", "Read a table", [], answers={200: "Table"}),
            "put": _operation(
                "create_table",
                "Create a table",
                [],
                answers={201: "Table", 200: "Table"},
                body=("TableDefinition", ["application/json"]),
                problems=(409,),
            ),
            "delete": _operation(
                "delete_table",
                "Delete a table",
                [],
                answers={204: None},
                problems=(*_WRITES, *_WITH_BODY),
            ),
        },
        "/v1/tenant/{tenant}/table/{table}/id": {
            "parameters": [tenant, table],
            "get": _operation(
                "list_entries", "List entries", [*paged, consistency], answers={200: "EntryPage"}
            ),
        },
        "/v1/tenant/{tenant}/table/{table}/id/{id}": {
            "parameters": [tenant, table, entry_id],
            "get": _operation(
                "read_entry",
                "Read an entry",
                [consistency, *matching],
                answers={200: "Entry", 304: None},
                problems=(412,),
            ),
            "put": _operation(
                "create_entry",
                "Create an entry",
                writing,
                answers={201: "Written", 202: "Queued"},
                body=("Entry", ["application/json"]),
                problems=(409, 412),
            ),
            "post": _operation(
                "update_entry",
                "Replace an entry, or merge into it",
                writing,
                answers={200: "Written", 202: "Queued"},
                body=("Entry", ["application/json", "application/merge-patch+json"]),
                problems=(412,),
            ),
            "delete": _operation(
                "delete_entry",
                "Delete an entry",
                writing,
                answers={204: None, 202: "Queued"},
                problems=(412, *_WRITES, *_WITH_BODY),
            ),
        },
        "/v1/tenant/{tenant}/request/{request}": {
            "parameters": [tenant, request],
            "get": _operation(
                "read_request",
                "Ask how a write went that was accepted with 202",
                [],
                answers={200: "Request"},
            ),
        },
    }


def _operation(
    name: str,
    summary: str,
    parameters: list[Described],
    *,
    answers: dict[int, str | None],
    body: tuple[str, list[str]] | None = None,
    body_required: bool = True,
    problems: tuple[int, ...] = (),
) -> Described:
    described: Described = {"operationId": name, "summary": summary, "parameters": parameters}
    statuses = {*_ALWAYS, *problems}
    if body is not None:
        schema, media_types = body
        content = {media_type: {"schema": _ref(schema)} for media_type in media_types}
        described["requestBody"] = {"required": body_required, "content": content}
        statuses |= {*_WITH_BODY, *_WRITES}
    described["responses"] = {
        **{str(status): _answer(schema) for status, schema in answers.items()},
        **{str(status): _problem(status) for status in sorted(statuses)},
    }
    return described


def _answer(schema: str | None) -> Described:
    if schema is None:
        return {"description": "Done; no body."}
    return {"description": schema, "content": {"application/json": {"schema": _ref(schema)}}}


def _problem(status: int) -> Described:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {"description": _PROBLEMS[status], "content": content}


def _ref(schema: str) -> Described:
    return {"$ref": f"#/components/schemas/{schema}"}


def _path(name: str, schema: Described) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Described) -> Described:
    return {"name": name, "in": "query", "schema": schema}


def _header(name: str, schema: Described) -> Described:
    return {"name": name, "in": "header", "schema": schema}


_TENANT_NAME: Final = {
    "type": "string",
    "pattern": "^[a-z0-9][a-z0-9_-]*$",
    "maxLength": TENANT_NAME_CHARS_MAX,
}
_TABLE_NAME: Final = {
    "type": "string",
    "pattern": "^[a-zA-Z0-9_.-]+$",
    "minLength": TABLE_NAME_CHARS_MIN,
    "maxLength": TABLE_NAME_CHARS_MAX,
}
_ID: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": PARTITION_KEY_BYTES_MAX,
    "description": "String: any text. Integer: 0 or -?[1-9][0-9]{0,37}. Bytes: base64url.",
}
_ETAGS: Final = {"type": "string", "description": '* or entity tags, as `"abc", "def"`.'}
_STRING: Final = {"type": "string"}
_INSTANT: Final = {"type": "string", "format": "date-time"}
_AFTER: Final = {"type": ["string", "null"], "description": "The next page's `after`."}


def _schemas() -> Described:
    id_type = {"enum": ["String", "Integer", "Bytes"]}
    count = {"type": "integer", "minimum": 0}
    tenant = {"tenant": _STRING, "rid": _STRING, "createdAt": _INSTANT}
    table = {"table": _STRING, "rid": _STRING, "idType": id_type, "entries": count}
    entry = {"type": "object", "description": "Any JSON object; numbers of up to 38 digits."}
    return {
        "Empty": {"type": "object", "maxProperties": 0},
        "Entry": entry,
        "TenantSummary": _object(tenant),
        "Tenant": _object(tenant | {"uuid": _STRING, "tables": count}),
        "TenantPage": _object({"tenants": _list("TenantSummary"), "after": _AFTER}),
        "TableDefinition": {**_object({"idType": id_type}), "additionalProperties": False},
        "TableSummary": _object(table),
        "Table": _object(table | {"tableId": _STRING, "createdAt": _INSTANT}),
        "TablePage": _object({"tables": _list("TableSummary"), "after": _AFTER}),
        "IdentifiedEntry": _object({"id": _STRING, "data": _ref("Entry")}),
        "EntryPage": _object({"entries": _list("IdentifiedEntry"), "after": _AFTER}),
        "Written": _object({"rid": _STRING, "id": _STRING}),
        "Queued": _object({"requestId": _STRING, "state": {"const": "queued"}, "rid": _STRING}),
        "Request": {
            "type": "object",
            "properties": {
                "requestId": _STRING,
                "state": {"enum": ["queued", "done"]},
                "status": {"type": "integer"},
                "detail": _STRING,
                "etag": _STRING,
            },
            "required": ["requestId", "state"],
        },
        "Problem": _object(
            {
                "type": _STRING,
                "title": _STRING,
                "status": {"type": "integer"},
                "detail": _STRING,
                "instance": _STRING,
            }
        ),
    }


def _object(properties: Described) -> Described:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list(schema: str) -> Described:
    return {"type": "array", "items": _ref(schema)}
