"""What a status page says of a view of the topology that is not the newest, or not whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin.status import Check, Health
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Iterator


def topology_checks(
    state: str, sentence: str, *, problem_count: int, is_silent: bool
) -> Iterator[Check]:
    """Say what is wrong.

    Args:
        state: a `TopologyState`.
        sentence: of it, for people.
        problem_count: how many values are kept out of the view.
        is_silent: whether the coordinator has not been heard for long.
    """
    match state:
        case TopologyState.LIVE:
            if is_silent:
                yield Check(code="TOPOLOGY_SILENT", message=sentence)
        case TopologyState.COPY:
            yield Check(code="TOPOLOGY_COPY", message=sentence)
        case _:
            yield Check(code="TOPOLOGY", message=sentence, health=Health.HEALTH_ERR)
    if problem_count:
        message = f"{problem_count} values of the topology are kept out."
        yield Check(code="TOPOLOGY_VALUES", message=message)
