"""Ranges that a node keeps, and of which nobody else knows: they go when an operator says so.

A store that was put back from before them knows as little of them as one that never had them, so a
node keeps what control does not know (`verdicts`), and after a while tells of it. What an operator
says of it is written down as a task, as deletions are; the node hears of it when it asks next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.model.errors import RefusalKind, Refused
from dstore.service.calls.key_calls import UNKNOWN_RANGE
from dstore.service.control.tasks import new_task
from dstore.service.refusals import no_such
from dstore.storage.control import notices, tables, tasks
from dstore.storage.control.components import NODES
from dstore.storage.control.records import NodeUuid, RangeId, TaskId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step
    from dstore.storage.control.store import Transaction

DISCARD_RANGE: Final = "discard_range"


async def is_discarded(tx: Transaction, node: NodeUuid, range_id: RangeId) -> bool:
    """Tell whether an operator has said that a node's copy of an unknown range is of no use."""
    return await tasks.get(tx, _task_id(node, range_id)) is not None


async def discard(realm: Realm, node: NodeUuid, range_id: RangeId, *, actor: str) -> TaskId:
    """Let a node delete a range that nobody else knows, for good.

    Raises: Refused(NOT_FOUND): there is no such node. Refused(CONFLICT): control knows the range,
        or the node has not told of it.
    """
    async with realm.plane.store.transaction() as tx:
        if await NODES.get(tx, node) is None:
            raise no_such("node", node)
        if await tables.get_range(tx, range_id) is not None:
            raise Refused(
                RefusalKind.CONFLICT,
                f"Range {range_id} is known: it is of a table that there is. Nothing was changed.",
            )
        if not await notices.has_told(tx, node, kind=UNKNOWN_RANGE, about=range_id):
            raise Refused(
                RefusalKind.CONFLICT,
                f"Node {node} has not told of a range {range_id} that nobody else knows; it does "
                "so after an hour (dstore notice list). Nothing was changed.",
            )
        task = await tasks.add(
            tx,
            new_task(
                _task_id(node, range_id),
                DISCARD_RANGE,
                subject=f"range {range_id} on node {node}",
                parameters="{}",
                now_us=realm.clock.wall_us(),
            ),
        )
        await realm.audit(tx, actor=actor, action=DISCARD_RANGE, subject=f"{node} {range_id}")
    realm.tasks_due.set()
    return task.id


def discard_handlers() -> Mapping[str, Handler]:
    """Give what runs such a task: it is said, and more is not to be done here."""
    return {DISCARD_RANGE: _said}


async def _said(_step: Step) -> None:
    return None


def _task_id(node: NodeUuid, range_id: RangeId) -> TaskId:
    return TaskId(f"{DISCARD_RANGE}-{node}-{range_id}")
