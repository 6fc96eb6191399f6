"""I4: with one component's files in hand, the project's own code opens no tenant file."""

from __future__ import annotations

import shutil
from asyncio import TaskGroup, gather, sleep, timeout
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.model.ranges import RangeRef, even_ranges
from dstore.model.tables import Door, IdType, TableDefinition, TableId, v1_key
from dstore.security.control_key import ControlKey, Sealed
from dstore.security.envelope import WrappedKey, WrongKey, framed
from dstore.security.keys import ControlShare, Key256, Purpose, derive, new_key
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.service.tenant_keys import Shares, TenantKeys
from dstore.storage import rewriting, table_records
from dstore.storage.enrolment import enrol
from dstore.storage.node_keys import KEY_FILE, WRAPS_FILE, NodeKeys, load_or_create
from dstore.storage.table_records import NODE_FILE, RangeRecord
from dstore.storage.vault.vault import Vault
from tests.support.canaries import found
from tests.support.nodes import stored_item
from tests.support.snapshots import snapshots
from tests.unit.service.nodes import a_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dstore.service.node import Node
    from dstore.storage.vault.layout import FileKey

ENTROPY = SystemEntropy()
PLANE = "5ec00000-0000-4000-8000-000000000001"
TENANT, TENANT_ID = "acme", "7e1a0000-0000-4000-8000-000000000001"
NODE_SHARE = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
TENANT_SHARE = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
CANARY = "canary-of-a-stolen-disk"
TABLE = TableId("7ab1e000-0000-4000-8000-000000000001")
DEFINITION = TableDefinition(
    tenant=TENANT,
    name="entries",
    table_id=TABLE,
    partition=v1_key(IdType.STRING),
    door=Door.V1,
    created_at_us=1,
)
((LOW, HIGH),) = even_ranges(1)
REF = RangeRef(range_id="0a000000-0000-4000-8000-000000000001", epoch=1, low=LOW, high=HIGH)


@asynccontextmanager
async def member(
    data: Path, *, is_enrolled: bool, share: ControlShare | None = TENANT_SHARE
) -> AsyncIterator[Node]:
    """Open the node, with the keys that control gives it if it is enrolled."""
    async with a_node(data, shares=[NODE_SHARE] if is_enrolled else []) as node:
        await node.duties.ensure_tenant(
            TENANT, tenant_id=TENANT_ID, share=share if is_enrolled else None
        )
        await node.duties.ensure_range(DEFINITION, REF)
        yield node


async def rewrite(node: Node) -> None:
    await node.holdings.turn(TENANT, node.holdings.rewrite(REF.range_id))


async def read(node: Node) -> object:
    return await stored_item(node, node.items.locate(TENANT, "entries", CANARY))


def join(data: Path) -> None:
    """Enrol the closed node."""
    path = data / NODE_FILE
    keys = load_or_create(data, database=path, entropy=ENTROPY)
    vault = Vault(entropy=ENTROPY, page_cache_bytes=1 << 20)
    enrol(data, keys, NODE_SHARE, database=path, vault=vault, entropy=ENTROPY)


async def standing_alone(data: Path) -> None:
    """Make a stand-alone node with an entry."""
    async with member(data, is_enrolled=False) as node:
        key = node.items.locate(TENANT, "entries", CANARY)
        write = create({"a": {"S": CANARY}}, key=key, preconditions=NO_PRECONDITIONS)
        await node.items.write(key, write)


@pytest.fixture
async def disk(tmp_path: Path) -> Path:
    """The data directory of a node that stood alone with an entry, joined, and has settled."""
    data = tmp_path / "data"
    await standing_alone(data)
    shutil.copytree(data, tmp_path / "before")
    join(data)
    async with member(data, is_enrolled=True) as node:
        await rewrite(node)
    return data


def range_file(data: Path) -> Path:
    return data / "ranges" / REF.range_id[:2] / f"{REF.range_id}.db"


def opens(path: Path, key: FileKey) -> bool:
    """Open a file as the project does."""
    vault = Vault(entropy=ENTROPY, page_cache_bytes=1 << 20)
    vault.register(path, key)
    try:
        with closing(vault.connect(path)) as connection:
            return bool(connection.execute("SELECT count(*) FROM v1").fetchall())
    except Corrupt:
        return False


async def taken(data: Path, *shares: ControlShare) -> tuple[NodeKeys, RangeRecord, Key256]:
    """Take from a node's directory what its shares open: keys, record, the tenant's own share."""
    async with a_node(data, shares=shares) as node:
        held = node.holdings.ranges[REF.range_id]
        share = node.holdings.tenant(TENANT).share
    keys = load_or_create(data, database=data / NODE_FILE, entropy=ENTROPY, shares=shares)
    return keys, held, share


async def test_the_owner_reads_it_before_and_after(tmp_path: Path) -> None:
    """Joining loses nothing: the entry is there before, while I4 is pending, and after."""
    data = tmp_path / "data"
    await standing_alone(data)
    join(data)
    for _ in range(2):
        async with member(data, is_enrolled=True) as node:
            assert node.control_planes == (PLANE,)
            assert await read(node) == {"a": {"S": CANARY}}
            assert node.holdings.to_be_rewritten() == [REF.range_id]
    async with member(data, is_enrolled=True) as node:
        await rewrite(node)
        assert node.holdings.to_be_rewritten() == []
        assert await read(node) == {"a": {"S": CANARY}}
        await rewrite(node)  # as a rotation does
        assert await read(node) == {"a": {"S": CANARY}}
    async with member(data, is_enrolled=True) as node:
        assert await read(node) == {"a": {"S": CANARY}}
        assert node.holdings.to_be_rewritten() == []


async def test_requests_wait_while_a_file_is_rewritten(tmp_path: Path) -> None:
    """Nobody is refused, no write is lost, and a rewrite ends though whoever asked is gone."""
    data = tmp_path / "data"
    await standing_alone(data)
    join(data)
    async with member(data, is_enrolled=True) as node:

        async def write(number: int) -> None:
            key = node.items.locate(TENANT, "entries", f"k{number}")
            await node.items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))

        async def twice() -> None:
            await rewrite(node)
            await rewrite(node)

        await gather(twice(), *(write(number) for number in range(50)))
        generation = node.holdings.ranges[REF.range_id].generation
        assert generation == 2
        with pytest.raises(TimeoutError):
            async with timeout(0.001):
                await rewrite(node)
        await rewrite(node)
        assert node.holdings.ranges[REF.range_id].generation == generation + 2
        listed = await node.items.list(TENANT, "entries", after=b"", limit=100)
        assert len(listed.entries) == 51
    assert [path.name for path in range_file(data).parent.iterdir()] == [range_file(data).name]


async def test_who_opens_a_file_that_is_being_written_anew_has_its_new_key(tmp_path: Path) -> None:
    """A replica asks its file all the time; with the old key it would take it for damaged."""
    data = tmp_path / "data"
    await standing_alone(data)
    join(data)
    async with member(data, is_enrolled=True) as node:
        await read(node)  # so that the file is open
        async with TaskGroup() as group:
            writing_anew = group.create_task(rewrite(node))
            while node.files.open_count:  # noqa: ASYNC110 - it is closed within some turns
                await sleep(0)
            assert not writing_anew.done()
            file = await node.holdings.open_held(REF.range_id)
            assert file.quantity == 1


async def test_a_crash_anywhere_in_rewriting_leaves_the_entry(tmp_path: Path) -> None:
    """The record and the file come together again at the next start, one way or the other."""
    data, kept = tmp_path / "data", tmp_path / "kept"
    await standing_alone(data)
    join(data)
    async with member(data, is_enrolled=True) as node:
        with snapshots(data, kept) as copies:
            await rewrite(node)
    pending: list[bool] = []
    for copy in copies:
        async with member(copy, is_enrolled=True) as node:
            assert await read(node) == {"a": {"S": CANARY}}
            pending.append(bool(node.holdings.to_be_rewritten()))
        assert [path.name for path in range_file(copy).parent.iterdir()] == [range_file(copy).name]
    assert pending == sorted(pending, reverse=True)
    assert {*pending} == {False, True}


async def test_a_refused_rewrite_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for a second copy, or without room for the record, nothing changes."""
    data = tmp_path / "data"
    await standing_alone(data)
    join(data)

    def full(*_: object, **__: object) -> None:
        raise Unavailable(UnavailableKind.NO_SPACE, "The disk is full.")

    async with member(data, is_enrolled=True) as node:
        for owner, name in ((rewriting, "stage"), (table_records, "set_file_key")):
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, full)
                with pytest.raises(Unavailable):
                    await rewrite(node)
            assert await read(node) == {"a": {"S": CANARY}}
            assert node.holdings.to_be_rewritten() == [REF.range_id]
        await rewrite(node)
        assert await read(node) == {"a": {"S": CANARY}}


async def test_ranges_made_after_joining_need_no_rewriting(tmp_path: Path) -> None:
    """Their keys were never wrapped without control's share."""
    data = tmp_path / "data"
    async with a_node(data):
        pass
    join(data)
    async with member(data, is_enrolled=True) as node:
        assert node.holdings.to_be_rewritten() == []
    async with member(data, is_enrolled=True) as node:
        assert node.holdings.to_be_rewritten() == []
        assert await read(node) is None


async def test_the_nodes_disk_alone_opens_nothing(disk: Path) -> None:
    """The node's start, as the thief runs it, waits for control for ever."""
    with pytest.raises(Unavailable) as caught:
        async with a_node(disk):
            pass
    assert caught.value.kind is UnavailableKind.LOCKED
    guess = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
    with pytest.raises(WrongKey):
        load_or_create(disk, database=disk / NODE_FILE, entropy=ENTROPY, shares=[guess])


async def test_the_disk_holds_neither_data_nor_what_control_gave(disk: Path) -> None:
    """I2, and the keys from control live in memory only."""
    keys, held, _ = await taken(disk, NODE_SHARE)
    assert held.enrolment == PLANE
    secrets = [NODE_SHARE.key, TENANT_SHARE.key, keys.database_key.secret]
    files = [path for path in disk.rglob("*") if path.is_file()]  # noqa: ASYNC240 - a few files
    assert found(files, [CANARY]) == []
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content or _hex(secret) in content]


def _hex(secret: bytes) -> bytes:
    return secret.hex().encode()


async def test_wraps_of_before_do_not_open_what_is_there_now(disk: Path, tmp_path: Path) -> None:
    """An old copy of `node.wraps`, from a backup, fits no database that was written since."""
    shutil.copy(tmp_path / "before" / WRAPS_FILE, disk / WRAPS_FILE)
    with pytest.raises(Corrupt):
        async with a_node(disk):
            pass


async def test_a_whole_copy_of_before_does_not_open_the_file_of_now(
    disk: Path, tmp_path: Path
) -> None:
    """The old database gives the tenant's share and the old file's key; the file has a new one."""
    before = tmp_path / "before"
    keys, held, share = await taken(before)
    old_key = TenantKeys(keys, ENTROPY).file_key(held, Shares(node=share), table_id=TABLE)
    assert opens(range_file(before), old_key)
    assert not opens(range_file(disk), old_key)
    assert not opens(range_file(disk), replace(old_key, generation=old_key.generation + 1))


async def test_until_it_is_rewritten_the_copy_of_before_does(tmp_path: Path) -> None:
    """That is what "I4 pending" says, and why a wrap alone does not end it."""
    data = tmp_path / "data"
    await standing_alone(data)
    keys, held, share = await taken(data)
    old_key = TenantKeys(keys, ENTROPY).file_key(held, Shares(node=share), table_id=TABLE)
    join(data)
    async with member(data, is_enrolled=True) as node:
        await node.holdings.turn(TENANT, node.holdings.rewrap(REF.range_id, TENANT_SHARE))
        assert node.holdings.to_be_rewritten() == [REF.range_id]
    assert opens(range_file(data), old_key)
    async with member(data, is_enrolled=True) as node:
        await rewrite(node)
    assert not opens(range_file(data), old_key)


async def test_an_unlocked_node_still_lacks_the_tenants_share(disk: Path) -> None:
    """With the disk and the (node, control) key, but not the (tenant, control) key: locked."""
    async with member(disk, is_enrolled=True, share=None) as node:
        with pytest.raises(Unavailable) as caught:
            await read(node)
        assert caught.value.kind is UnavailableKind.LOCKED
    other = ControlShare(control_plane=PLANE, key=new_key(ENTROPY))
    async with member(disk, is_enrolled=True, share=other) as node:
        with pytest.raises(Unavailable):
            await read(node)


async def test_all_three_shares_are_needed(disk: Path) -> None:
    """Any two of node, (tenant, node) and (tenant, control) derive nothing that unwraps the key."""
    keys, held, share = await taken(disk, NODE_SHARE)
    wrapped = WrappedKey.from_bytes(held.file_key, file=NODE_FILE)
    place = framed([b"range-file", held.range_id.encode(), str(held.generation).encode()])
    three = (keys.local_key, share, TENANT_SHARE.key)

    def unwrapped(*some: Key256) -> bytes:
        names = [keys.uuid, held.tenant_uuid, TABLE]
        key = derive(*some, purpose=Purpose.TENANT_FILE, context=names)
        return wrapped.unwrap(key, context=place, file=NODE_FILE)

    for left_out in range(3):
        some = [one for at, one in enumerate(three) if at != left_out]
        for given in (some, [*some, new_key(ENTROPY)], some[:1], some[1:]):
            with pytest.raises(WrongKey):
                unwrapped(*given)
    with pytest.raises(WrongKey):
        unwrapped(*three, NODE_SHARE.key)
    key = replace(keys.database_key, file_uuid=held.file_uuid, generation=held.generation)
    assert opens(range_file(disk), replace(key, secret=unwrapped(*three)))


async def test_all_that_control_has_opens_no_file(disk: Path) -> None:
    """Control's store with its key gives its shares; without `node.key` they open nothing."""
    own = ControlKey(key=new_key(ENTROPY))
    rows = {
        (Sealed.NODE, "node"): NODE_SHARE.key,
        (Sealed.TENANT, TENANT_ID): TENANT_SHARE.key,
    }
    stored = {
        place: own.seal_key(key, what=place[0], record_id=place[1], entropy=ENTROPY)
        for place, key in rows.items()
    }
    # The store alone:
    for (what, record_id), sealed in stored.items():
        with pytest.raises(WrongKey):
            ControlKey(key=new_key(ENTROPY)).open(sealed, what=what, record_id=record_id)
        assert bytes(rows[what, record_id]) not in sealed
    # The store, its key, and a range file, wraps and database of a node, but not `node.key`:
    (disk / KEY_FILE).unlink()
    with pytest.raises(Corrupt, match=KEY_FILE):
        load_or_create(disk, database=disk / NODE_FILE, entropy=ENTROPY, shares=[NODE_SHARE])
    shutil.copy(await _key_file_of_another_node(disk.parent), disk / KEY_FILE)
    with pytest.raises(WrongKey):
        load_or_create(disk, database=disk / NODE_FILE, entropy=ENTROPY, shares=[NODE_SHARE])


async def _key_file_of_another_node(directory: Path) -> Path:
    async with a_node(directory / "another"):
        pass
    return directory / "another" / KEY_FILE
