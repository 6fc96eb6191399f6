"""/openapi.json: the v1 API described, for people's tools. A test holds it against the routes.

Served without credentials: it says nothing of any tenant.
"""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from dstore import __version__
from dstore.api.http.answer import Answer
from dstore.api.http.route import Route
from dstore.api.v1.openapi_schemas import (
    ETAGS,
    ID,
    TABLE_NAME,
    TENANT_NAME,
    Described,
    headers,
    ref,
    schemas,
)
from dstore.base.limits import IDEMPOTENCY_KEY_CHARS_MAX, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX

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
# A body is read, and so bounded, wherever one is sent, wanted or not: 408, 413, 415.
_ALWAYS: Final = (400, 401, 403, 404, 408, 413, 415, 431, 500, 503)
_WRITES: Final = (507,)

_NAMED: Final = ("DStore-RID",)
_VERSIONED: Final = ("DStore-RID", "ETag")
_CREATED: Final = (*_VERSIONED, "Location")
_ACCEPTED: Final = ("DStore-RID", "Location", "Preference-Applied")
# Operation → status → the headers that its answer always has.
_HEADERS_OF: Final[dict[str, dict[int, tuple[str, ...]]]] = {
    "read_tenant": {200: _NAMED},
    "create_tenant": {200: _NAMED, 201: _NAMED},
    "delete_tenant": {204: _NAMED},
    "list_tables": {200: _NAMED},
    "read_table": {200: _NAMED},
    "create_table": {200: _NAMED, 201: _NAMED},
    "delete_table": {204: _NAMED},
    "list_entries": {200: _NAMED},
    "read_entry": {200: _VERSIONED, 304: _VERSIONED},
    "create_entry": {201: _CREATED, 202: _ACCEPTED},
    "update_entry": {200: _VERSIONED, 202: _ACCEPTED},
    "delete_entry": {204: _NAMED, 202: _ACCEPTED},
}


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
            "headers": headers(),
            "schemas": schemas(),
        },
    }


def _paths() -> Described:
    return {**_tenant_paths(), **_table_paths(), **_entry_paths()}


def _tenant_paths() -> Described:
    return {
        "/v1/tenant": {
            "get": _operation("list_tenants", "List tenants", _PAGED, answers={200: "TenantPage"}),
        },
        "/v1/tenant/{tenant}": {
            "parameters": [_TENANT],
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
                [_FORCE],
                answers={204: None},
                problems=(409, *_WRITES),
            ),
        },
    }


def _table_paths() -> Described:
    return {
        "/v1/tenant/{tenant}/table": {
            "parameters": [_TENANT],
            "get": _operation("list_tables", "List tables", _PAGED, answers={200: "TablePage"}),
        },
        "/v1/tenant/{tenant}/table/{table}": {
            "parameters": [_TENANT, _TABLE],
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
                problems=_WRITES,
            ),
        },
    }


def _entry_paths() -> Described:
    return {
        "/v1/tenant/{tenant}/table/{table}/id": {
            "parameters": [_TENANT, _TABLE],
            "get": _operation(
                "list_entries", "List entries", [*_PAGED, _CONSISTENCY], answers={200: "EntryPage"}
            ),
        },
        "/v1/tenant/{tenant}/table/{table}/id/{id}": {
            "parameters": [_TENANT, _TABLE, _ENTRY],
            "get": _operation(
                "read_entry",
                "Read an entry",
                [_CONSISTENCY, *_MATCHING],
                answers={200: "Entry", 304: None},
                problems=(412,),
            ),
            "put": _operation(
                "create_entry",
                "Create an entry",
                _WRITING,
                answers={201: "Written", 202: "Queued"},
                body=("Entry", ["application/json"]),
                problems=(409, 412),
            ),
            "post": _operation(
                "update_entry",
                "Replace an entry, or merge into it",
                _WRITING,
                answers={200: "Written", 202: "Queued"},
                body=("Entry", ["application/json", "application/merge-patch+json"]),
                problems=(412,),
            ),
            "delete": _operation(
                "delete_entry",
                "Delete an entry",
                _WRITING,
                answers={204: None, 202: "Queued"},
                problems=(412, *_WRITES),
            ),
        },
        "/v1/tenant/{tenant}/request/{request}": {
            "parameters": [_TENANT, _REQUEST],
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
        content = {media_type: {"schema": ref(schema)} for media_type in media_types}
        described["requestBody"] = {"required": body_required, "content": content}
        statuses |= {*_WRITES}
    described["responses"] = {
        **{
            str(status): _answer(schema, _HEADERS_OF.get(name, {}).get(status, ()))
            for status, schema in answers.items()
        },
        **{str(status): _problem(status) for status in sorted(statuses)},
    }
    return described


def _answer(schema: str | None, names: tuple[str, ...]) -> Described:
    described: Described = {"description": "Done; no body." if schema is None else schema}
    if names:
        described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if schema is not None:
        described["content"] = {"application/json": {"schema": ref(schema)}}
    return described


def _problem(status: int) -> Described:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {"description": _PROBLEMS[status], "content": content}


def _path(name: str, schema: Described) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Described) -> Described:
    return {"name": name, "in": "query", "schema": schema}


def _header(name: str, schema: Described) -> Described:
    return {"name": name, "in": "header", "schema": schema}


_TENANT: Final = _path("tenant", TENANT_NAME)
_TABLE: Final = _path("table", TABLE_NAME)
_ENTRY: Final = _path("id", ID)
_REQUEST: Final = _path("request", {"type": "string", "minLength": 1})
_LIMITS: Final = {"minimum": 1, "maximum": LIST_LIMIT_MAX, "default": LIST_LIMIT_DEFAULT}
_PAGED: Final = [
    _query("limit", {"type": "integer", **_LIMITS}),
    _query("after", {"type": "string"}),
]
_CONSISTENCY: Final = _query("consistency", {"enum": ["strong", "eventual"], "default": "strong"})
_FORCE: Final = _query("force", {"type": "boolean", "default": False})
_MATCHING: Final = [_header("If-Match", ETAGS), _header("If-None-Match", ETAGS)]
_KEY_LENGTHS: Final = {"minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARS_MAX}
_WRITING: Final = [
    *_MATCHING,
    _header("Prefer", {"type": "string"}),
    _header("Idempotency-Key", {"type": "string", **_KEY_LENGTHS}),
]
