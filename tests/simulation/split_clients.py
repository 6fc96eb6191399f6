"""Clients of a table whose ranges are split: they believe one node after the other, key by key."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from dstore.model.errors import DStoreError, Unavailable, Unknown
from dstore.model.hashing import HASH_MAX
from dstore.model.keys import HASH_BYTES, KeyKind, encode_key
from dstore.replication.peers.calls import Calls
from dstore.security.identity import ComponentRole, Identity
from tests.simulation.history import Call, Put, Read, Value
from tests.simulation.replicated_calls import DO, READ, Do, answer_of, request_of
from tests.simulation.replicated_node import PLANE
from tests.simulation.split_pages import PAGE, AskPage, Page

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable, Mapping, Sequence

    from dstore.replication.peers.port import Peer, PeerRequest
    from tests.simulation.machines import Process
    from tests.simulation.world import World

KEYS: Final = 24  # that clients write, k0 and so on
_TRIES_S: Final = 12.0  # a client's patience with one operation

Reply = TypeVar("Reply", bound=msgspec.Struct)
Result = TypeVar("Result")


class SplitClients:
    """All clients, on one machine."""

    def __init__(self, world: World, numbers: Sequence[int]) -> None:
        """Ask the nodes of these numbers."""
        self._world = world
        self._numbers = numbers
        self.machine = world.machine("client", self._live)
        self._peers: dict[int, Peer] = {}
        self._believed: dict[tuple[int, str], int] = defaultdict(lambda: 1)

    @property
    def _process(self) -> Process:
        process = self.machine.process
        assert process is not None
        return process

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something on the clients' machine."""
        return await self._process.run(work, name="client")

    async def _live(self, process: Process) -> None:
        identity = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=PLANE)
        self._peers = {
            number: self._world.board.peer(
                process, f"node-{number}", calls=Calls([DO, PAGE]), identity=identity
            )
            for number in self._numbers
        }
        await asyncio.get_running_loop().create_future()

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        request = request_of(key, call, request_id=self._process.entropy.uuid())
        return answer_of(call, await self._call(client, key, request))

    async def _call(self, client: int, place: str, request: PeerRequest[Reply]) -> Reply:
        """Ask one node after the other, under one name (I9), until one knows."""
        loop = asyncio.get_running_loop()
        until_s, is_open = loop.time() + _TRIES_S, False
        while True:
            number = self._believed[client, place]
            try:
                return await self._peers[number].call(request, deadline_s=5.0)
            except Unknown:
                is_open = not (isinstance(request, Do) and request.kind == READ)
                failure: DStoreError = Unknown("nobody knows")
            except Unavailable as error:
                failure = error
            self._believed[client, place] = number % len(self._numbers) + 1
            if loop.time() > until_s:
                if is_open:
                    raise Unknown("nobody knows") from failure
                raise failure
            await asyncio.sleep(0.1)

    async def put_all(self, client: int, puts: Mapping[str, Put]) -> Sequence[DStoreError | None]:
        """Put all at once, so that most are of one batch of their range's primary."""
        told = await asyncio.gather(
            *(self.do(client, key, put) for key, put in puts.items()), return_exceptions=True
        )
        for each in told:
            if isinstance(each, BaseException) and not isinstance(each, Unavailable):
                raise each
        return [each if isinstance(each, DStoreError) else None for each in told]

    async def scan(self, client: int) -> Mapping[str, Value]:
        """Read page after page, whichever ranges there are by then."""
        found: dict[bytes, Value] = {}
        at_hash, after = 0, b""
        while at_hash <= HASH_MAX:
            page: Page = await self._call(client, "scan", AskPage(at_hash=at_hash, after=after))
            for rid_id, value in page.entries:
                if rid_id in found:
                    self._world.violate("a scan has read an entry twice")
                found[rid_id] = value
            if page.next_hash is not None:
                at_hash, after = page.next_hash, b""
            else:
                after = page.entries[-1][0]
                at_hash = int.from_bytes(after[:HASH_BYTES], "big")
        return {
            key: found[rid_id]
            for key in (f"k{number}" for number in range(KEYS))
            if (rid_id := encode_key((KeyKind.STRING, key))) in found
        }

    async def read_all(self, client: int, keys: Sequence[str]) -> Sequence[Value]:
        """Read all at once."""
        found: Any = await asyncio.gather(*(self.do(client, key, Read()) for key in keys))
        return list(found)
