"""Damaged files are reported as damaged: no wrong data, no silent loss, no traceback."""

from __future__ import annotations

import re
import shutil
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.http_client import Answer, Client
from tests.support.offline import overflow_pages, range_path
from tests.support.server import Server, ServerEnded, prepared, running
from tests.support.table_churn import path
from tests.support.writers import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGE_BYTES: Final = 4_096
WAL_MIDDLE: Final = 0.5
LONG: Final = "long" * 50_000  # one entry of many pages
DOCUMENTS: Final[dict[str, dict[str, Any]]] = {
    **{f"short-{number}": {"x": [number]} for number in range(40)},
    "long": {"text": LONG},
}


def _fill(server: Server) -> None:
    """Make the tables `hit` and `spared`, both with the DOCUMENTS."""
    with server.client() as client:
        for table in ("hit", "spared"):
            assert client.put(path(table), {"idType": "String"}).status == 201
            for entry, document in DOCUMENTS.items():
                assert client.put(f"{path(table)}/id/{entry}", document).status == 201


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a data directory once, and stop its server in peace."""
    with running(tmp_path_factory.mktemp("original")) as server:
        _fill(server)
        assert server.stop() == 0
        return server.data


@pytest.fixture
def filled(tmp_path: Path, original: Path) -> Iterator[Server]:
    """Give a stopped server on a copy of the filled directory."""
    shutil.copytree(original, tmp_path / "data")
    with prepared(tmp_path) as server:
        yield server


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Server]:
    """Give a server that was filled and killed: its entries lie in logs."""
    with running(tmp_path) as server:
        _fill(server)
        server.kill()
        yield server


def _flip(file: Path, offset: int, bit: int = 0) -> None:
    with file.open("r+b") as stored:
        stored.seek(offset)
        byte = stored.read(1)[0]
        stored.seek(offset)
        stored.write(bytes([byte ^ (1 << bit)]))


def _read(client: Client, table: str, entry: str) -> Answer:
    return client.get(f"{path(table)}/id/{entry}")


def _corruptions(server: Server, place: str) -> float:
    with server.admin() as admin:
        page = admin.get("/metrics").body.decode()
    found = re.search(rf'^dstore_corruptions_total{{place="{place}"}} (\S+)$', page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _assert_damaged(answer: Answer) -> None:
    assert answer.status == 500, answer.body
    assert answer.problem == "storage-damaged"
    assert b"long" not in answer.body


def test_flipped_bit_under_an_entry(filled: Server) -> None:
    """One bit of a stored value: 500 for whoever needs that page, told in the log and a counter.

    SQLite reads a long value whole when the search for a neighbour passes it: such a neighbour is
    refused too, and never answered with anything else.
    """
    pages = overflow_pages(filled.data, "hit")
    file = range_path(filled.data, "hit")
    _flip(file, (pages[len(pages) // 2] - 1) * PAGE_BYTES + 1_234, bit=5)
    filled.start()
    before = _corruptions(filled, "main")
    with filled.client() as client:
        for _ in range(2):
            _assert_damaged(_read(client, "hit", "long"))
        _assert_damaged(client.get(f"{path('hit')}/id"))
        _assert_damaged(client.merge(f"{path('hit')}/id/long", {"more": 1}))
        assert read_table(client, "spared") == DOCUMENTS
        assert client.put(f"{path('hit')}/id/new", {"is": "new"}).status == 201
        assert _read(client, "hit", "new").json() == {"is": "new"}
        refused = 4
        for entry in DOCUMENTS.keys() - {"long"}:
            answer = _read(client, "hit", entry)
            if answer.status == 200:
                assert answer.json() == DOCUMENTS[entry]
            else:
                _assert_damaged(answer)
                refused += 1
        assert refused < len(DOCUMENTS) / 2
    assert _corruptions(filled, "main") == before + refused
    events = filled.events("storage_damaged")
    assert len(events) == refused
    assert all(event["where"].startswith("page ") for event in events)
    assert all(file.name in event["file"] for event in events)
    assert filled.stop() == 0


@pytest.mark.parametrize("damage", ["first page", "every page", "cut short", "emptied", "removed"])
def test_ruined_range_file(filled: Server, damage: str) -> None:
    """Whatever happens to a whole file, its table says so and the others do not notice."""
    file = range_path(filled.data, "hit")
    size = file.stat().st_size
    match damage:
        case "first page":
            _flip(file, 50)
        case "every page":
            for offset in range(100, size, PAGE_BYTES):
                _flip(file, offset)
        case "cut short":
            with file.open("r+b") as stored:
                stored.truncate(size // 2 // PAGE_BYTES * PAGE_BYTES)
        case "emptied":
            file.write_bytes(b"")
        case _:
            file.unlink()
    filled.start()
    with filled.client() as client:
        for entry in ("long", "short-7"):
            _assert_damaged(_read(client, "hit", entry))
        _assert_damaged(client.put(f"{path('hit')}/id/new", {}))
        assert read_table(client, "spared") == DOCUMENTS
        assert client.get(path("hit")).status == 200
        assert client.delete(path("hit")).status == 204
        assert client.put(path("hit"), {"idType": "String"}).status == 201
        assert client.put(f"{path('hit')}/id/new", {}).status == 201
    assert filled.events("storage_damaged")
    assert filled.events("request_failed") == []
    assert filled.stop() == 0


def test_files_of_two_tables_swapped(filled: Server) -> None:
    """Each file is sealed under its own key, so one table's never answers for another's."""
    hit, spared = (range_path(filled.data, table) for table in ("hit", "spared"))
    kept = hit.read_bytes()
    shutil.copy(spared, hit)
    spared.write_bytes(kept)
    filled.start()
    with filled.client() as client:
        for table in ("hit", "spared"):
            _assert_damaged(_read(client, table, "short-0"))


def test_flipped_bit_in_the_middle_of_a_log(killed: Server) -> None:
    """After a kill entries lie in the log alone: its middle is not taken for its end."""
    logs = sorted((killed.data / "ranges").rglob("*.db-wal"), key=lambda log: log.stat().st_size)
    hit = logs[-1]
    _flip(hit, int(hit.stat().st_size * WAL_MIDDLE))
    killed.start()
    with killed.client() as client:
        answers = {table: _read(client, table, "short-0") for table in ("hit", "spared")}
        damaged = [table for table, answer in answers.items() if answer.status == 500]
        assert len(damaged) == 1
        _assert_damaged(answers[damaged[0]])
        (whole,) = answers.keys() - damaged
        assert read_table(client, whole) == DOCUMENTS
    assert _corruptions(killed, "wal") >= 1
    assert killed.stop() == 0


def _flip_page(number: int) -> Callable[[Server], None]:
    def damage(server: Server) -> None:
        _flip(server.data / "node.db", number * PAGE_BYTES + 99)

    return damage


def _cut_node_database(server: Server) -> None:
    with (server.data / "node.db").open("r+b") as stored:
        stored.truncate(3 * PAGE_BYTES)


def _write(name: str, content: bytes) -> Callable[[Server], None]:
    def damage(server: Server) -> None:
        (server.data / name).write_bytes(content)

    return damage


def _remove(name: str) -> Callable[[Server], None]:
    def damage(server: Server) -> None:
        (server.data / name).unlink()

    return damage


def _replace_key(change: Callable[[bytes], bytes]) -> Callable[[Server], None]:
    def damage(server: Server) -> None:
        file = server.data / "node.key"
        stored = file.read_text()
        found = re.search(r'"key":"([^"]+)"', stored)
        assert found
        changed = b64encode(change(b64decode(found[1]))).decode()
        file.write_text(stored.replace(found[1], changed))

    return damage


def _spoil_wraps(server: Server) -> None:
    file = server.data / "node.wraps"
    file.write_text(re.sub(r'"wrapped":"....', '"wrapped":"AAAA', file.read_text()))


STARTS: Final[dict[str, tuple[Callable[[Server], None], str]]] = {
    "node.db page 1": (_flip_page(0), "node.db"),
    "node.db page 2": (_flip_page(1), "node.db"),
    "node.db cut": (_cut_node_database, "node.db"),
    "node.db emptied": (_write("node.db", b""), "node.db"),
    "node.db of text": (_write("node.db", b"SQLite format 3\0" * 512), "node.db"),
    "another key": (_replace_key(lambda key: bytes(reversed(key))), "node.key"),
    "short key": (_replace_key(lambda key: key[:16]), "node.key"),
    "key no base64": (_write("node.key", b'{"format":1,"uuid":"u","key":"%%%"}'), "node.key"),
    "key no JSON": (_write("node.key", b"\xff\x00"), "node.key"),
    "key emptied": (_write("node.key", b""), "node.key"),
    "key removed": (_remove("node.key"), "node.key"),
    "wraps removed": (_remove("node.wraps"), "node.wraps"),
    "wraps spoilt": (_spoil_wraps, "node.wraps"),
    "wraps no JSON": (_write("node.wraps", b"[]"), "node.wraps"),
}


@pytest.mark.parametrize("damage", STARTS)
def test_damaged_node_is_refused(filled: Server, damage: str) -> None:
    """Without its own records a node can't serve: one sentence names the file, no traceback."""
    ranges = {f: f.read_bytes() for f in (filled.data / "ranges").rglob("*.db")}
    spoil, told = STARTS[damage]
    spoil(filled)
    with pytest.raises(ServerEnded) as ended:
        filled.start()
    assert ended.value.code == 1
    said = ended.value.stderr
    assert said.startswith("dstore: "), said
    assert said.count("\n") == 1, said
    assert told in said
    assert "Traceback" not in said
    assert {f: f.read_bytes() for f in (filled.data / "ranges").rglob("*.db")} == ranges


def test_flipped_bit_in_the_log_of_the_node_database(killed: Server) -> None:
    """A table that was acknowledged lies in that log: losing it would sweep its files away."""
    log = killed.data / "node.db-wal"
    _flip(log, int(log.stat().st_size * WAL_MIDDLE))
    with pytest.raises(ServerEnded) as ended:
        killed.start()
    assert ended.value.code == 1
    assert ended.value.stderr.startswith("dstore: ")
    assert "Traceback" not in ended.value.stderr
    assert len(list((killed.data / "ranges").rglob("*.db"))) == 2
