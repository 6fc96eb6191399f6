"""What whoever has frozen its view of the topology asks control, before it takes anything over."""

from __future__ import annotations

from typing import Final

import msgspec

from dstore.base.limits import CONTROL_ANSWER_S
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import Peer, PeerRequest
from dstore.security.identity import ComponentRole


class Recoveries(msgspec.Struct, frozen=True, array_like=True):
    """How often an operator had the topology recovered, by control's store."""

    count: int


class AskRecoveries(PeerRequest[Recoveries], frozen=True, array_like=True):
    """Ask how often the topology was recovered; the coordinator must say the same."""


async def ask_recoveries(control: Peer) -> int:
    """Ask whichever control answers. Raises: Unavailable, Refused."""
    answer = await control.call(AskRecoveries(), deadline_s=CONTROL_ANSWER_S)
    return answer.count


RECOVERIES: Final = PeerCall(
    name="control.recoveries",
    request=AskRecoveries,
    reply=Recoveries,
    roles=frozenset(ComponentRole),
    is_safe=True,
)
