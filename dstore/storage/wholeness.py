"""Whether a replica's rows may be shown to who need not see the newest.

What a replica has applied was acknowledged, and may be old. But a copy of the rows that is still
being made lacks what was acknowledged long ago, or has it beside what came later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import NotMine
from dstore.storage import replica_log

if TYPE_CHECKING:
    import apsw

    from dstore.storage.range_file import RangeFile


async def check_whole(file: RangeFile) -> None:
    """See that the rows are all that they should be; ask before and behind what is read.

    It costs nothing where nothing has changed since it was last asked: `whole_at` is `changes`.

    Raises: NotMine: they are a copy in the making.
    """
    changes = file.changes
    if file.whole_at == changes:
        return
    if not await file.look(_is_whole):
        raise NotMine(file.path.stem)
    file.whole_at = changes


def _is_whole(connection: apsw.Connection) -> bool:
    state = replica_log.read_state(connection)
    return state.whole_seq is None or state.applied_seq >= state.whole_seq
