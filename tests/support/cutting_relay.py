"""A relay in front of PostgreSQL's socket that cuts the line when a client says a certain thing.

async with cutting_relay(server) as relay:
address = relay.address(database)
relay.cut = Cut.BEFORE        # the server never hears it
relay.cut = Cut.AFTER         # the server does it, the client never hears back
relay.cut = Cut.SILENT        # the server does it, and the line stays open and dead
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.postgresql import SUPERUSER, PostgreSQL

_COMMIT: Final = b"COMMIT\0"
_CHUNK_BYTES: Final = 65_536
_DONE_S: Final = 0.3  # after it the server has committed


class Cut(Enum):
    """Where the line is cut."""

    NOWHERE = auto()
    BEFORE = auto()
    AFTER = auto()
    SILENT = auto()


class Relay:
    """Connections of a client, each with its own to the server."""

    def __init__(self, server: PostgreSQL, directory: Path) -> None:
        self.cut = Cut.NOWHERE
        self.cuts = 0
        self._server = server
        self._directory = directory
        self._ends: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[None]] = []
        self._upstream = str(server.socket_directory / f".s.PGSQL.{server.port}")

    @property
    def path(self) -> str:
        return str(self._directory / f".s.PGSQL.{self._server.port}")

    def address(self, database: str) -> str:
        return (
            f"postgresql://{SUPERUSER}@/{database}?host={self._directory}&port={self._server.port}"
        )

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Relay one connection until either end, or the cut, ends it."""
        upstream, server = await asyncio.open_unix_connection(self._upstream)
        self._ends += [server, answer]
        is_muted = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        with suppress(ConnectionError, ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                back = group.create_task(_relay_back(upstream, answer, is_muted=is_muted))
                await self._forth(client, server, is_muted=is_muted)
                back.cancel()
        for writer in (server, answer):
            writer.transport.abort()

    async def close(self) -> None:
        """Cut every line, and wait until nobody serves it."""
        for writer in self._ends:
            writer.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving)
        await asyncio.sleep(0)  # the transports close in the next turn

    async def _forth(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        *,
        is_muted: asyncio.Event,
    ) -> None:
        while data := await client.read(_CHUNK_BYTES):
            is_cut = _COMMIT in data and self.cut is not Cut.NOWHERE
            self.cuts += is_cut
            if is_cut and self.cut is Cut.BEFORE:
                return
            if is_cut:
                is_muted.set()
            server.write(data)
            await server.drain()
            if is_cut:
                await asyncio.sleep(_DONE_S)
                if self.cut is Cut.SILENT:
                    await client.read(_CHUNK_BYTES)  # until the client gives up
                return


async def _relay_back(
    upstream: asyncio.StreamReader, answer: asyncio.StreamWriter, *, is_muted: asyncio.Event
) -> None:
    while data := await upstream.read(_CHUNK_BYTES):
        if not is_muted.is_set():
            answer.write(data)
            await answer.drain()


@asynccontextmanager
async def cutting_relay(server: PostgreSQL) -> AsyncIterator[Relay]:
    """Listen for as long as the context lasts."""
    with TemporaryDirectory(prefix="dstore-relay-") as name:
        relay = Relay(server, Path(name))
        listener = await asyncio.start_unix_server(relay.serve, relay.path)
        try:
            yield relay
        finally:
            listener.close()
            await relay.close()
