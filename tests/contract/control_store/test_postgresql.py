"""What only a server over a line can do: end, hang, lose a commit's answer, refuse a password."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dstore.base.limits import CONTROL_READERS_MAX
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.storage.control import tenants
from dstore.storage.control.opening import open_store
from dstore.storage.control.store import ControlStore
from tests.support.control_records import tenant
from tests.support.cutting_relay import Cut, cutting_relay
from tests.support.postgresql import PASSWORD, PostgreSQL

pytestmark = pytest.mark.xdist_group("postgresql")


@asynccontextmanager
async def opened(address: str, *, password_file: Path | None = None) -> AsyncIterator[ControlStore]:
    store = await open_store(address, directory=Path(), password_file=password_file, on_fatal=print)
    try:
        yield store
    finally:
        await store.close()


async def _insert(store: ControlStore, name: str, *, timeout_s: float | None = None) -> None:
    async with store.transaction(timeout_s=timeout_s) as tx:
        await tenants.insert(tx, tenant(name))


async def _names(store: ControlStore) -> list[str]:
    async with store.transaction() as tx:
        return [each.name for each in (await tenants.page(tx)).records]


async def _fail(store: ControlStore, before_commit: Callable[[], None]) -> DStoreError:
    """Write "lost", with something that happens before the commit. Returns: what that gave."""

    async def write() -> None:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant("lost"))
            before_commit()

    with pytest.raises(DStoreError) as failed:
        await write()
    return failed.value


async def test_a_terminated_backend_wrote_nothing_and_says_so(
    postgresql: PostgreSQL, database: str
) -> None:
    """Cut before a statement: definite, and the next transaction finds another connection."""
    async with opened(postgresql.address(database)) as store:

        async def write() -> None:
            async with store.transaction() as tx:
                await tenants.insert(tx, tenant("lost"))
                postgresql.terminate_backends(database)
                await tenants.insert(tx, tenant("lost too"))

        with pytest.raises(Unavailable) as failed:
            await write()
        assert failed.value.retry_after_ms is not None
        await _insert(store, "kept")
        assert await _names(store) == ["kept"]


async def test_a_line_that_broke_before_the_commit_is_definite_or_unknown(
    postgresql: PostgreSQL, database: str
) -> None:
    """Nothing was written; the client may or may not know that it never sent its commit."""
    async with opened(postgresql.address(database)) as store:
        failure = await _fail(store, lambda: postgresql.terminate_backends(database))
        assert isinstance(failure, Unavailable | Unknown)
        assert await _names(store) == []


@pytest.mark.parametrize(
    ("cut", "there"), [(Cut.BEFORE, []), (Cut.AFTER, ["asked"])], ids=["not sent", "not answered"]
)
async def test_a_commit_without_an_answer_is_unknown(
    postgresql: PostgreSQL, database: str, cut: Cut, there: list[str]
) -> None:
    """From here both look the same, so both are said to be the same: look first."""
    async with cutting_relay(postgresql) as relay, opened(relay.address(database)) as store:
        relay.cut = cut
        with pytest.raises(Unknown):
            await _insert(store, "asked")
        assert relay.cuts == 1
        relay.cut = Cut.NOWHERE
        assert await _names(store) == there


async def test_a_commit_that_hangs_is_unknown_in_time(
    postgresql: PostgreSQL, database: str
) -> None:
    """A dead line that nobody closed: the caller hears of it when its time is over."""
    async with cutting_relay(postgresql) as relay, opened(relay.address(database)) as store:
        relay.cut = Cut.SILENT
        began = time.monotonic()
        with pytest.raises(Unknown):
            await _insert(store, "asked", timeout_s=0.6)
        assert time.monotonic() - began < 5
        relay.cut = Cut.NOWHERE
        assert await _names(store) == ["asked"]


async def test_a_commit_that_the_server_refuses_is_definite(
    postgresql: PostgreSQL, database: str
) -> None:
    """A rule that is checked at the commit: PostgreSQL's own word that nothing was written."""
    async with opened(postgresql.address(database)) as store:
        postgresql.run(
            "ALTER TABLE table_definition DROP CONSTRAINT table_definition_tenant_fkey, "
            "ADD FOREIGN KEY (tenant) REFERENCES tenant DEFERRABLE INITIALLY DEFERRED",
            database=database,
        )

        async def write() -> None:
            async with store.transaction() as tx:
                await tx.change(
                    "INSERT INTO table_definition VALUES ('nobody', 't', 'i', '', 'active', 1, 1)"
                )

        with pytest.raises(Refused) as refused:
            await write()
        assert refused.value.kind is RefusalKind.CONFLICT
        await _insert(store, "next")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_restarts_is_found_again(
    postgresql: PostgreSQL, database: str, mode: str
) -> None:
    """Every pooled connection is dead; nobody hears of it."""
    async with opened(postgresql.address(database)) as store:
        await asyncio.gather(*(_names_beside(store) for _ in range(CONTROL_READERS_MAX)))
        await _insert(store, "before")
        await asyncio.to_thread(postgresql.restart, mode=mode)
        await asyncio.gather(*(_names_beside(store) for _ in range(CONTROL_READERS_MAX)))
        await _insert(store, "later")
        assert await _names(store) == ["before", "later"]


async def _names_beside(store: ControlStore) -> None:
    async with store.snapshot() as tx:
        await tenants.page(tx)


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(
    postgresql: PostgreSQL, database: str
) -> None:
    """Neither a hang nor a crash; the same store object works again afterwards."""
    async with opened(postgresql.address(database)) as store:
        await _insert(store, "before")
        postgresql.stop()
        try:
            for _ in range(3):
                with pytest.raises(Unavailable) as away:
                    await _insert(store, "away")
                with pytest.raises(Unavailable):
                    await _names_beside(store)
            with pytest.raises(Unavailable):
                async with opened(postgresql.address(database)):
                    pytest.fail("it is away")
        finally:
            postgresql.start()
        assert str(postgresql.socket_directory) not in str(away.value)
        assert await _names(store) == ["before"]


async def test_the_store_keeps_to_its_connections(postgresql: PostgreSQL, database: str) -> None:
    """One writer and a few readers, however many ask; other controls want connections too."""
    async with opened(postgresql.address(database)) as store:
        statement = f"SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{database}'"  # noqa: S608
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(_names_beside(store))
                group.create_task(_insert(store, f"n{number}"))
            count = group.create_task(asyncio.to_thread(postgresql.run, statement))
        assert 1 <= int(count.result()) <= CONTROL_READERS_MAX + 1
        assert len(await _names(store)) == 30


async def test_a_stopped_holder_of_the_lock_is_put_out(
    postgresql: PostgreSQL, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control that is stopped in mid-transaction must not stop the others for ever."""
    from dstore.storage.control import postgres

    async with opened(postgresql.address(database)):
        pass  # its tables are made, which may take longer
    monkeypatch.setitem(postgres._SERVER_SETTINGS, "idle_in_transaction_session_timeout", "1000")
    async with (
        opened(postgresql.address(database)) as stopped,
        opened(postgresql.address(database)) as other,
    ):

        async def hold() -> None:
            async with stopped.transaction() as tx:
                await tenants.insert(tx, tenant("lost"))
                await _insert(other, "kept", timeout_s=5)

        with pytest.raises((Unavailable, Unknown)):
            await hold()
        assert await _names(stopped) == ["kept"]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("ALTER DATABASE {0} SET default_transaction_read_only = on", "read-only"),
        ("ALTER TABLE tenant RENAME TO gone", "not as this dStore made it"),
    ],
)
async def test_what_an_operator_may_do_to_it_is_named(
    postgresql: PostgreSQL, database: str, statement: str, sentence: str
) -> None:
    """A demoted server, a renamed table: a sentence, no vendor's exception."""
    async with opened(postgresql.address(database)) as store:
        postgresql.run(statement.format(database), database=database)
        postgresql.terminate_backends(database)
        with pytest.raises((Unavailable, Corrupt), match=sentence):
            await _insert(store, "a")


async def test_our_own_bounds_stand_above_the_databases(
    postgresql: PostgreSQL, database: str
) -> None:
    """A foreign default of a millisecond a statement would fail at random."""
    postgresql.run(f"ALTER DATABASE {database} SET statement_timeout = 1")
    async with opened(postgresql.address(database)) as store, store.transaction() as tx:
        await tx.rows("SELECT pg_sleep(0.05)")


async def test_a_database_in_another_encoding_is_refused(postgresql: PostgreSQL) -> None:
    """Names would come back as question marks."""
    with pytest.raises(Corrupt, match="UTF8"):
        async with opened(postgresql.new_database(encoding="LATIN1")):
            pytest.fail("it opened")


async def test_a_password_comes_from_its_file(
    postgresql: PostgreSQL, database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is read at every connection, so a new one needs no restart; no message shows it."""
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text(PASSWORD + "\n")
    address = postgresql.tcp_address(database)
    async with opened(address, password_file=path) as store:
        await _insert(store, "a")
        path.write_text("canary-8841\n")
        postgresql.terminate_backends(database)
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable) as refused:
            await _insert(store, "b")
        path.write_text(PASSWORD)
        await _insert(store, "c")
        os.chmod(path, 0o644)  # noqa: PTH101 - the mode is what matters
        postgresql.terminate_backends(database)
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable) as readable:
            await _insert(store, "d")
    assert readable.value.kind is UnavailableKind.LOCKED
    said = str(refused.value) + repr(refused.value.__cause__) + "".join(capfd.readouterr())
    assert "password file" in said
    assert "canary-8841" not in said
    assert PASSWORD not in said


async def test_a_wrong_password_is_named_at_the_start(
    postgresql: PostgreSQL, database: str, tmp_path: Path
) -> None:
    """Control waits and says why, instead of ending."""
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("canary-8841")
    with pytest.raises(Unavailable, match="does not let control in") as refused:
        async with opened(postgresql.tcp_address(database), password_file=path):
            pytest.fail("it opened")
    assert "canary" not in repr(refused.value.__cause__)
    assert refused.value.__suppress_context__


async def test_a_password_of_the_environment_is_taken(
    postgresql: PostgreSQL, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Libpq's own ways work: a file that PGPASSFILE names, or PGPASSWORD."""
    passwords = tmp_path / "pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"127.0.0.1:{postgresql.port}:*:*:{PASSWORD}\n")
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    async with opened(postgresql.tcp_address(database)) as store:
        await _insert(store, "a")
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    async with opened(postgresql.tcp_address(database)) as store:
        assert await _names(store) == ["a"]
