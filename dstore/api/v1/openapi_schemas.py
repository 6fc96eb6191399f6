"""The schemas of /openapi.json: what requests and answers look like."""

from __future__ import annotations

from typing import Any, Final

from dstore.base.limits import (
    PARTITION_KEY_BYTES_MAX,
    REPLICATION_FACTOR_MAX,
    TABLE_NAME_CHARS_MAX,
    TABLE_NAME_CHARS_MIN,
    TENANT_NAME_CHARS_MAX,
)
from dstore.model.hashing import HASH_MAX
from dstore.model.replication import Outage
from dstore.service.directory import RangeTrouble

Described = dict[str, Any]

TENANT_NAME: Final = {
    "type": "string",
    "pattern": "^[a-z0-9][a-z0-9_-]*$",
    "maxLength": TENANT_NAME_CHARS_MAX,
}
TABLE_NAME: Final = {
    "type": "string",
    "pattern": "^[a-zA-Z0-9_.-]+$",
    "minLength": TABLE_NAME_CHARS_MIN,
    "maxLength": TABLE_NAME_CHARS_MAX,
}
ID: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": PARTITION_KEY_BYTES_MAX,
    "description": "String: any text. Integer: 0 or -?[1-9][0-9]{0,37}; if the table was made "
    "through the DynamoDB API, any number without exponent and outer zeros. Bytes: base64url.",
}
ETAGS: Final = {"type": "string", "description": '* or entity tags, as `"abc", "def"`.'}
_STRING: Final = {"type": "string"}
_INSTANT: Final = {"type": "string", "format": "date-time"}
_AFTER: Final = {"type": ["string", "null"], "description": "The next page's `after`."}


def headers() -> Described:
    """Describe the headers that answers carry beside the body."""
    texts = {
        "DStore-RID": "The resource that the answer is about, as a RID.",
        "ETag": "The entry's version, for If-Match and If-None-Match.",
        "Location": "Where the entry, or the outcome of the accepted write, is to be read.",
        "Preference-Applied": "respond-async",
    }
    return {name: {"description": text, "schema": _STRING} for name, text in texts.items()}


def schemas() -> Described:
    """List them by name."""
    id_type = {"enum": ["String", "Integer", "Bytes"]}
    count = {"type": "integer", "minimum": 0}
    factor = {"type": "integer", "minimum": 1, "maximum": REPLICATION_FACTOR_MAX}
    settings = {
        "type": "object",
        "properties": {"replicationFactor": factor},
        "additionalProperties": False,
    }
    tenant = {"tenant": _STRING, "rid": _STRING, "createdAt": _INSTANT}
    table = {
        "table": _STRING,
        "rid": _STRING,
        "idType": id_type,
        "entries": count,
        "copies": factor,
    }
    entry = {"type": "object", "description": "Any JSON object; numbers of up to 38 digits."}
    return {
        "Empty": {"type": "object", "maxProperties": 0},
        "Entry": entry,
        "TenantSummary": _object(tenant),
        "Tenant": _object(tenant | {"uuid": _STRING, "tables": count}),
        "TenantPage": _object({"tenants": _list("TenantSummary"), "after": _AFTER}),
        "TableDefinition": {
            "type": "object",
            "properties": {"idType": id_type, "settings": settings},
            "required": ["idType"],
            "additionalProperties": False,
        },
        "TableSummary": _object(table),
        "Table": _object(
            table
            | {
                "oneNodeDown": {"enum": [each.value for each in Outage]},
                "ranges": {"type": "integer", "minimum": 1},
                "troubles": _troubles(count),
                "troubledRanges": _list("TroubledRange"),
                "tableId": _STRING,
                "createdAt": _INSTANT,
                "settings": settings,
                "globalIndexes": _list("GlobalIndex"),
                "timeToLive": _time_to_live(),
            }
        ),
        "GlobalIndex": _object(_global_index(count)),
        "TroubledRange": _object(_troubled_range()),
        "TablePage": _object({"tables": _list("TableSummary"), "after": _AFTER}),
        "IdentifiedEntry": _object({"id": _STRING, "data": ref("Entry")}),
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
        "Problem": _problem(),
    }


def _global_index(count: Described) -> Described:
    return {
        "index": _STRING,
        "status": {"enum": ["creating", "filling", "active", "deleting"]},
        "entries": count,
        "ranges": {"type": "integer", "minimum": 0},
        "troubles": _troubles(count),
        "mayBeWrong": {"type": "boolean", "description": "Since a loss; see rebuild-index."},
    }


def _troubles(count: Described) -> Described:
    described = _object({each.value: count for each in RangeTrouble})
    return described | {"description": "How many ranges have which trouble, each its worst."}


def _troubled_range() -> Described:
    hash_ = {"type": "integer", "minimum": 0, "maximum": HASH_MAX}
    return {
        "rangeId": _STRING,
        "lowHash": hash_,
        "highHash": hash_,
        "trouble": {"enum": [each.value for each in RangeTrouble]},
    }


def _object(properties: Described) -> Described:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _problem() -> Described:
    texts = ("type", "title", "detail", "instance")
    return _object({"status": {"type": "integer"}, **dict.fromkeys(texts, _STRING)})


def _time_to_live() -> Described:
    states = {"enum": ["enabling", "enabled", "disabling"]}
    return {"oneOf": [{"type": "null"}, _object({"attribute": _STRING, "status": states})]}


def _list(schema: str) -> Described:
    return {"type": "array", "items": ref(schema)}


def ref(schema: str) -> Described:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{schema}"}
