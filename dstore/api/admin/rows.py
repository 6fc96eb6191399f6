"""What control knows, as the members of JSON answers; times as RFC 3339."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dstore.base.timestamps import instant
from dstore.security.identity import ComponentRole

if TYPE_CHECKING:
    from dstore.service.control.status import (
        ComponentRow,
        RangeRow,
        RecoveryReport,
        TableRow,
        TopologyReport,
    )
    from dstore.storage.control.records import JoinTokenRecord, NoticeRecord, TaskRecord


def component(row: ComponentRow) -> dict[str, Any]:
    """Describe a node, a proxy or a control process."""
    members: dict[str, Any] = {
        "id": row.uuid,
        "role": row.role,
        "zone": row.zone,
        "url": row.uri,
        "apiUrl": row.api_uri or None,
        "version": row.version,
        "state": row.state,
        "health": row.health,
        "why": row.why,
        "joinedAt": instant(row.joined_at_us),
    }
    if row.role == ComponentRole.CONTROL:
        members["isLeader"] = row.is_leader
    if row.role == ComponentRole.NODE:
        members |= {
            "ranges": row.ranges,
            "primaries": row.primaries,
            "freeBytes": row.free_bytes,
            "capacityBytes": row.capacity_bytes,
            "loadPercent": row.load_percent,
        }
    return members


def hash_range(row: RangeRow) -> dict[str, Any]:
    """Describe a range and where it is."""
    return {
        "tenant": row.tenant,
        "table": row.table,
        "rangeId": row.range_id,
        "lowHash": row.low_hash,
        "highHash": row.high_hash,
        "epoch": row.epoch,
        "node": row.node,
        "url": row.uri,
        "held": row.held or None,
        "factor": row.factor,
        "minInSync": row.min_in_sync,
        "replicas": [
            {
                "node": each.node,
                "state": each.state,
                "held": each.held or None,
                "isAlive": each.is_alive,
            }
            for each in row.replicas
        ],
        "isReadOnly": row.is_read_only,
        "isUnderReplicated": row.is_under_replicated,
        "possibleLoss": row.has_possible_loss,
        "storedBytes": row.stored_bytes,
        "requestsPerS": row.requests_per_s,
        "why": row.why,
    }


def table(row: TableRow) -> dict[str, Any]:
    """Describe a table as control placed it."""
    return {
        "tenant": row.tenant,
        "table": row.name,
        "tableId": row.table_id,
        "status": row.status,
        "createdAt": instant(row.created_at_us),
        "ranges": row.range_count,
        "isIndex": row.is_index,
        "possibleLoss": row.possible_loss,
        "why": row.why,
    }


def topology(report: TopologyReport) -> dict[str, Any]:
    """Describe what the coordinator is worth."""
    return {
        "state": report.state,
        "sentence": report.sentence,
        "revision": report.revision,
        "clusterId": report.cluster_id,
        "problemCount": report.problem_count,
        "problems": list(report.problems),
        "waitingWrites": report.waiting_writes,
    }


def recovery(report: RecoveryReport) -> dict[str, Any]:
    """Describe whether store and coordinator belong together."""
    return {
        "state": report.state,
        "why": report.why,
        "revision": report.revision,
        "recoveries": report.recoveries,
        "changes": report.sequence,
        "changesShown": report.shown,
        "tenants": report.tenants,
        "tables": report.tables,
        "ranges": report.ranges,
    }


def task(record: TaskRecord) -> dict[str, Any]:
    """Describe a task."""
    return {
        "id": record.id,
        "kind": record.kind,
        "subject": record.subject,
        "state": record.state,
        "progress": _json(record.progress),
        "error": record.error or None,
        "attempts": record.attempts,
        "dueAt": instant(record.due_at_us),
        "owner": record.owner,
        "createdAt": instant(record.created_at_us),
        "changedAt": instant(record.changed_at_us),
    }


def notice(record: NoticeRecord) -> dict[str, Any]:
    """Describe what a node told control."""
    return {
        "node": record.node,
        "at": instant(record.at_us),
        "kind": record.kind,
        "details": _json(record.details),
    }


def join_token(record: JoinTokenRecord, *, now_us: int) -> dict[str, Any]:
    """Describe a join token; its text is not kept."""
    return {
        "id": record.id,
        "role": record.role,
        "state": _token_state(record, now_us=now_us),
        "createdAt": instant(record.created_at_us),
        "expiresAt": instant(record.expires_at_us),
        "usedAt": None if record.used_at_us is None else instant(record.used_at_us),
        "usedBy": record.used_by,
    }


def _token_state(record: JoinTokenRecord, *, now_us: int) -> str:
    if record.used_at_us is not None:
        return "used"
    return "open" if now_us < record.expires_at_us else "expired"


def _json(text: str) -> object:
    """Show what a record holds as JSON as a part of the answer; text that is none as it is."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return text
