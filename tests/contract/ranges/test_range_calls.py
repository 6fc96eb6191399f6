"""A range is asked over a connection as it is asked in one process, and answers the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from dstore.api.v1.entries import plan_deferred
from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.tasks import Tasks
from dstore.expressions import Expressions
from dstore.model.errors import (
    ConditionFailed,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    Unknown,
)
from dstore.model.keys import KeyKind, encode_key
from dstore.model.ranges import RangeRef
from dstore.model.tables import IdType, KeyAttribute
from dstore.replication.peers.calls import Calls, Methods
from dstore.replication.peers.port import Peer
from dstore.security.identity import ComponentRole, Identity
from dstore.service import range_server
from dstore.service.calls.range_calls import (
    RANGE_CALLS,
    AskDeferred,
    DeferWrite,
    EntryRead,
    ListEntries,
    ReadEntry,
    ReadPage,
    WriteEntry,
)
from dstore.service.deferred_store import DeferredWrite, Verb
from dstore.service.directory import Declared
from dstore.service.item_writes import DeleteItem, Guard, PutItem
from dstore.service.items import key_attributes
from dstore.service.mutation_wire import encode_mutation
from dstore.service.mutations import Mutation
from dstore.service.node import Node
from dstore.service.page_wire import decode_page, encode_ask
from dstore.service.queries import PageAsk, segment_span
from dstore.service.range_server import RangeServer
from dstore.service.read_answers import Form, ReadAsk
from dstore.service.read_wire import decode_answer, decode_listing, encode_read
from dstore.service.write_answer_wire import WriteResult, decode_result, encode_result
from dstore.service.write_answers import ReturnValues, WriteAsk, Written
from dstore.storage.requests import RequestName
from tests.support.peers import ENTROPY, NODE, PROXY, credentials_in, direct, remote, served
from tests.unit.service.nodes import a_node

CALLS: Final = Calls(RANGE_CALLS)
TENANT: Final = "acme"
DEADLINE_S: Final = 5.0
CLOCK: Final = SystemClock()


def rid(name: str) -> bytes:
    return encode_key((KeyKind.STRING, name))


@dataclass
class Asker:
    """A caller of a node's ranges, with the tables `items` (p) and `entries` (v1) of two ranges."""

    node: Node
    peer: Peer

    def ref(self, table: str, rid_id: bytes) -> RangeRef:
        return self.node.catalog.table(TENANT, table).ranges.at(rid_id)

    async def write(self, name: str, mutation: Mutation, **further: Any) -> WriteResult:
        ref = self.ref("items", rid(name))
        asked = WriteEntry(ref.range_id, ref.epoch, rid(name), encode_mutation(mutation), **further)
        return decode_result((await self.peer.call(asked, deadline_s=DEADLINE_S)).result)

    async def put(self, name: str, **further: Any) -> WriteResult:
        return await self.write(name, self.putting(name), **further)

    def putting(self, name: str, text: str = "v", guard: Guard | None = None) -> PutItem:
        return PutItem(item={"a": {"S": text}}, key=self.key(name), guard=guard)

    def key(self, name: str) -> Any:
        return key_attributes(self.node.catalog.table(TENANT, "items").definition, rid(name))

    async def read(self, name: str, ask: ReadAsk | None = None) -> Any:
        ref = self.ref("items", rid(name))
        encoded = b"" if ask is None else encode_read(ask)
        asked = ReadEntry(ref.range_id, ref.epoch, rid(name), encoded)
        answer: EntryRead = await self.peer.call(asked, deadline_s=DEADLINE_S)
        if answer.answer is None:
            return None
        return msgspec.json.decode(decode_answer(answer.answer).body)


@asynccontextmanager
async def asking(kind: str, data: Path, *, here: Identity = PROXY) -> AsyncIterator[Asker]:
    """Open a node and call it, over TLS or directly."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(a_node(data))
        if not node.holdings.tenants:
            await node.catalog.create_tenant(TENANT)
            p = KeyAttribute(name="p", kind=KeyKind.STRING)
            await node.catalog.declare_table(TENANT, Declared(name="items", partition=p), ranges=2)
            await node.catalog.create_table(TENANT, "entries", id_type=IdType.STRING, ranges=2)
        server = RangeServer(
            node.holdings, node.ranges, items=node.items, deferred=node.deferred, disk=node.disk
        )
        methods = Methods(server.answered())
        peer: Peer
        if kind == "direct":
            peer = direct(methods, here=here)
        else:
            theirs, ours = credentials_in(data / "n", NODE), credentials_in(data / "p", here)
            running = await stack.enter_async_context(served(methods, theirs.server))
            peer = remote(running.url, ours, here=here, calls=CALLS)
        stack.push_async_callback(peer.close)
        yield Asker(node, peer)


@pytest.fixture(params=["direct", "websocket"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def asker(kind: str, tmp_path: Path) -> AsyncIterator[Asker]:
    async with asking(kind, tmp_path / "data") as made:
        yield made


async def test_items_are_written_and_read(asker: Asker) -> None:
    """Every item of both ranges reads back whole, projected, plain and as rows; and goes."""
    for name in (f"k{number}" for number in range(12)):
        assert await asker.read(name) is None
        done = await asker.put(name)
        assert isinstance(done, Written)
        assert (done.existed, done.attributes) == (False, None)
        assert await asker.read(name) == {"p": {"S": name}, "a": {"S": "v"}}
        assert await asker.read(name, ReadAsk(form=Form.PLAIN)) == {"a": "v"}
        expressions = Expressions(None, None)
        picked = ReadAsk(form=Form.ITEM, projection=expressions.projection("p"))
        assert await asker.read(name, picked) == {"p": {"S": name}}
        ask = WriteAsk(returns=ReturnValues.ALL_OLD, is_counted=True)
        gone = await asker.write(name, DeleteItem(key=asker.key(name)), ask=ask)
        assert isinstance(gone, Written)
        assert gone.attributes is not None
        assert msgspec.json.decode(gone.attributes) == {"p": {"S": name}, "a": {"S": "v"}}
        assert (gone.existed, gone.version, gone.before_bytes) == (True, None, 3 + len(name))
        assert await asker.read(name) is None


@pytest.mark.parametrize("ask", [None, WriteAsk(is_counted=True)])
async def test_a_refusal_is_an_answer(asker: Asker, ask: WriteAsk | None) -> None:
    """What a condition says of the item travels with the refusal, whatever was asked."""
    await asker.put("k")
    expressions = Expressions(None, None)
    guard = Guard(condition=expressions.condition("attribute_not_exists(p)"), shows_item=True)
    refused = await asker.write("k", asker.putting("k", guard=guard), ask=ask)
    assert isinstance(refused, ConditionFailed)
    assert refused.previous == {"p": {"S": "k"}, "a": {"S": "v"}}


async def test_a_named_write_is_done_once(asker: Asker) -> None:
    """I9: sent again under its name, a write is answered as before and not applied again."""
    name = RequestName(principal="p", request_id="r", digest=b"d")
    first = await asker.put("k", request=name)
    await asker.write("k", asker.putting("k", "later"))
    assert await asker.put("k", request=name) == first
    assert (await asker.read("k"))["a"] == {"S": "later"}


async def test_large_items_travel(asker: Asker) -> None:
    """An item of nearly 400 KB goes through threads on both ways and comes back whole."""
    text = "x" * 400_000
    assert isinstance(await asker.write("k", asker.putting("k", text)), Written)
    assert (await asker.read("k"))["a"] == {"S": text}
    ask = WriteAsk(returns=ReturnValues.ALL_OLD)
    done = await asker.put("k", ask=ask)
    assert isinstance(done, Written)
    assert len(done.attributes or b"") > len(text)


async def test_pages_and_lists(asker: Asker) -> None:
    """Pages, rows and lists of each range hold what is in it, in order, and say what follows."""
    names = [f"k{number}" for number in range(60)]
    for name in names:
        await asker.put(name)
    found: list[str] = []
    for ref in asker.node.catalog.table(TENANT, "items").ranges.refs:
        whole = PageAsk(span=segment_span(0, 1))
        read = await asker.peer.call(
            ReadPage(ref.range_id, ref.epoch, encode_ask(whole)), deadline_s=DEADLINE_S
        )
        page = decode_page(read.page)
        items = msgspec.json.decode(b"[" + b",".join(page.items or ()) + b"]")
        assert (page.count, page.last) == (len(items), None)
        found += [item["p"]["S"] for item in items]
        first = await asker.peer.call(
            ListEntries(ref.range_id, ref.epoch, b"", 5), deadline_s=DEADLINE_S
        )
        begun = decode_listing(first.listing)
        assert begun.last is not None
        assert (begun.count, begun.last) == (5, rid(items[4]["p"]["S"]))
        told = await asker.peer.call(
            ListEntries(ref.range_id, ref.epoch, begun.last, 1_000), deadline_s=DEADLINE_S
        )
        listing = decode_listing(told.listing)
        assert (listing.count, listing.last) == (len(items) - 5, None)
        assert msgspec.json.decode(b"[" + b",".join(listing.entries) + b"]")[0] == {
            "id": items[5]["p"]["S"],
            "data": {"a": "v"},
        }
    assert sorted(found) == sorted(names)


async def test_what_is_not_here_is_not_mine(asker: Asker) -> None:
    """A range that is not held, another epoch, or a key of another range: nothing is done."""
    ref = asker.ref("items", rid("k"))
    other = next(
        each for each in asker.node.catalog.table(TENANT, "items").ranges.refs if each != ref
    )
    mutation = encode_mutation(asker.putting("k"))
    asked: Any
    unknown = "0a000000-0000-4000-8000-000000000001"
    for range_id, epoch, known in (
        (unknown, 1, 0),
        (ref.range_id, 2, 1),
        (other.range_id, other.epoch, 0),
    ):
        for asked in (
            ReadEntry(range_id, epoch, rid("k")),
            WriteEntry(range_id, epoch, rid("k"), mutation),
        ):
            with pytest.raises(NotMine) as caught:
                await asker.peer.call(asked, deadline_s=DEADLINE_S)
            assert caught.value.epoch == known
    for asked in (
        ReadPage(ref.range_id, 2, encode_ask(PageAsk(span=segment_span(0, 1)))),
        ListEntries(ref.range_id, 2, b"", 1),
        ListEntries(unknown, 1, b"", 1),
    ):
        with pytest.raises(NotMine):
            await asker.peer.call(asked, deadline_s=DEADLINE_S)
    assert await asker.read("k") is None


async def test_eventual_reads_are_of_any_epoch(asker: Asker) -> None:
    """Who need not see the newest may ask any replica, whoever its primary is by now."""
    await asker.put("k")
    ref = asker.ref("items", rid("k"))
    for epoch in (0, 1, 7):
        read = ReadEntry(ref.range_id, epoch, rid("k"), b"", is_eventual=True)
        found: EntryRead = await asker.peer.call(read, deadline_s=DEADLINE_S)
        assert found.answer is not None
        ask = PageAsk(span=segment_span(0, 1), is_eventual=True)
        page = ReadPage(ref.range_id, epoch, encode_ask(ask))
        assert decode_page((await asker.peer.call(page, deadline_s=DEADLINE_S)).page).count == 1
        lists = ListEntries(ref.range_id, epoch, b"", 5, is_eventual=True)
        told = await asker.peer.call(lists, deadline_s=DEADLINE_S)
        assert decode_listing(told.listing).count == 1
    other = next(
        each for each in asker.node.catalog.table(TENANT, "items").ranges.refs if each != ref
    )
    asked: Any
    for asked in (
        ReadEntry(other.range_id, 1, rid("k"), b"", is_eventual=True),
        ReadEntry("0a000000-0000-4000-8000-000000000001", 1, rid("k"), b"", is_eventual=True),
    ):
        with pytest.raises(NotMine):
            await asker.peer.call(asked, deadline_s=DEADLINE_S)


async def test_what_cannot_be_read_is_refused(asker: Asker) -> None:
    """A mutation, a question or a key that makes no sense does nothing and ends nothing."""
    ref = asker.ref("items", rid("k"))
    asked: Any
    for asked in (
        WriteEntry(ref.range_id, ref.epoch, rid("k"), b"\x01nonsense"),
        WriteEntry(ref.range_id, ref.epoch, rid("k")[:4] + b"\xff", b"\x01\x90"),
        WriteEntry(ref.range_id, ref.epoch, rid("k"), b"\x02" + bytes(100_000)),
        ReadEntry(ref.range_id, ref.epoch, rid("k"), b"\x09"),
    ):
        with pytest.raises(Unavailable) as caught:
            await asker.peer.call(asked, deadline_s=DEADLINE_S)
        assert not isinstance(caught.value, NotMine)
    assert await asker.read("k") is None


async def test_a_cold_range_is_opened(kind: str, tmp_path: Path) -> None:
    """After a restart the first call opens the file, be it a write or a read."""
    for turn in range(3):
        async with asking(kind, tmp_path / "data") as asker:
            if turn:
                assert (await asker.read("k"))["a"] == {"S": "v"}
            assert isinstance(await asker.put("other" if turn else "k"), Written)


@pytest.mark.parametrize("role", sorted(set(ComponentRole) - {ComponentRole.PROXY}))
async def test_others_may_not_ask(kind: str, role: ComponentRole, tmp_path: Path) -> None:
    """Entries are for proxies: the certificate of a node is of no use to reach another's (I4)."""
    here = Identity(control_plane=PROXY.control_plane, role=role, uuid=ENTROPY.uuid())
    async with asking(kind, tmp_path / "data", here=here) as asker:
        with pytest.raises((Refused, Unavailable)) as caught:  # over a connection: not let in
            await asker.read("k")
        if kind == "direct":
            assert isinstance(caught.value, Refused)
            assert caught.value.kind is RefusalKind.FORBIDDEN


async def test_a_node_hands_writes_on(kind: str, tmp_path: Path) -> None:
    """What one has accepted goes to whoever holds its range by then; it reads nothing there."""
    here = Identity(control_plane=NODE.control_plane, role=NODE.role, uuid=ENTROPY.uuid())
    async with asking(kind, tmp_path / "data", here=here) as asker:
        assert isinstance(await asker.put("k"), Written)
        with pytest.raises(Refused) as caught:
            await asker.read("k")
        assert caught.value.kind is RefusalKind.FORBIDDEN


async def test_writes_are_deferred(asker: Asker) -> None:
    """A write accepted over a call is done afterwards, and how it went can be asked."""
    key = asker.node.items.locate(TENANT, "entries", "k")
    ref = asker.ref("entries", key.rid_id)
    write = DeferredWrite(
        tenant=TENANT,
        table="entries",
        table_id=key.table.definition.table_id,
        id="k",
        verb=Verb.CREATE,
        body=b'{"a": 1}',
    )
    deferring = DeferWrite(ref.range_id, ref.epoch, key.rid_id, write)
    accepted = await asker.peer.call(deferring, deadline_s=DEADLINE_S)
    asking_how = AskDeferred(TENANT, accepted.request_id)
    assert (await asker.peer.call(asking_how, deadline_s=DEADLINE_S)).outcome is None
    tasks = Tasks(lambda _error: None)
    tasks.spawn(asker.node.do_deferred(plan_deferred), name="do_deferred")
    while (told := await asker.peer.call(asking_how, deadline_s=DEADLINE_S)).outcome is None:
        pass
    await tasks.close()
    assert told.outcome.error is None
    assert await asker.node.items.read(key) is not None
    with pytest.raises(Refused):
        await asker.peer.call(AskDeferred("another", accepted.request_id), deadline_s=DEADLINE_S)
    strange = DeferWrite(
        ref.range_id, ref.epoch, key.rid_id, msgspec.structs.replace(write, id="j")
    )
    with pytest.raises(Refused):
        await asker.peer.call(strange, deadline_s=DEADLINE_S)


@pytest.mark.parametrize("ask", [None, WriteAsk(is_counted=True)])
async def test_an_answer_that_does_not_fit_says_not_that_nothing_was_written(
    asker: Asker, ask: WriteAsk | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the commit the outcome is unknown; a refusal that does not fit stays one."""
    encode = encode_result

    def narrow(result: WriteResult) -> bytes:
        if isinstance(result, Written | ConditionFailed):
            raise Refused(RefusalKind.TOO_LARGE, "It does not fit.")
        return encode(result)

    monkeypatch.setattr(range_server, "encode_result", narrow)
    with pytest.raises(Unknown):
        await asker.put("k", ask=ask)
    assert (await asker.read("k"))["a"] == {"S": "v"}
    condition = Expressions(None, None).condition("attribute_not_exists(p)")
    guard = Guard(condition=condition)
    with pytest.raises(Refused) as refused:
        await asker.write("k", asker.putting("k", "w", guard), ask=ask)
    assert refused.value.kind is RefusalKind.TOO_LARGE
    assert (await asker.read("k"))["a"] == {"S": "v"}


async def test_a_defect_in_answering_a_write_is_an_answer(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it up to the deadline."""

    def broken(_result: WriteResult) -> bytes:
        raise AssertionError

    monkeypatch.setattr(range_server, "encode_result", broken)
    began_ns = CLOCK.monotonic_ns()
    with pytest.raises(Unknown):
        await asker.put("k")
    assert CLOCK.monotonic_ns() - began_ns < DEADLINE_S * NS_PER_S
