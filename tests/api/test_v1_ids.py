"""An entry's ID in the path: three types, every character, exact bounds, one spelling each."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.api.contract import entry
from tests.api.raw import exchange, head

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

STRINGS = ["x", "a/b", "/", "//", "a//b", ".", "..", "...", "../..", "./x", "%", "%2F", "%25",
           "%00", "\0", "a\0b", " ", "  ", "+", "a+b", "a b", "?", "#", "?a=b", "a&b", ":", ";",
           "*", "'", '"', "\\", "<>", "{id}", "~", "\t", "\n", "\r\n", "\x7f", "\x80", "é",
           "e\u0301", "日本", "😀", "\u202e", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "0",
           "-1", "null", "id", "table", "request", "x" * 2048, "é" * 1024, "😀" * 512]  # fmt: skip
INTEGERS = ["0", "1", "-1", "7", "9007199254740993", "10", "1000", "-10", "9" * 38, "-" + "9" * 38,
            "1" + "0" * 37]  # fmt: skip
NO_INTEGERS = ["00", "01", "-0", "-01", "+1", "1.0", "1e2", "x", " 1", "1 ", "1_0", "--1", "-",
               "９", "0x1", "9" * 39, "-" + "9" * 39, "1" * 2000, "\0", "", "1\n", "é"]  # fmt: skip
BYTES = [b"\0", b"\xff", b"a", b"ab", b"abc", b"\xfb\xff", bytes(range(256)), b"x" * 2048]
NO_BYTES = ["AA==", "AA=", "A", "AAAAA", "a+b/", "AB", "AAB", "A A", "AA\n", "é", "=", "-=", "*",
            "A" * 2737, "AA."]  # fmt: skip


@pytest.fixture(scope="module")
def integers(client: CheckedClient, tenant: str) -> str:
    """Make a table with Integer IDs. Returns: its path."""
    client.put(f"{tenant}/table/integers", {"idType": "Integer"})
    return f"{tenant}/table/integers"


@pytest.fixture(scope="module")
def byte_ids(client: CheckedClient, tenant: str) -> str:
    """Make a table with Bytes IDs. Returns: its path."""
    client.put(f"{tenant}/table/byte-ids", {"idType": "Bytes"})
    return f"{tenant}/table/byte-ids"


def live(client: CheckedClient, table: str, name: str) -> None:
    """Take an ID through a whole life; it is answered as it was sent."""
    path = entry(table, name)
    created = client.put(path, {"id": name})
    assert created.status == 201
    assert created.json()["id"] == name
    rid = created.json()["rid"]
    assert rid == created.headers["dstore-rid"]
    assert rid.endswith(f":table:{table.rpartition('/')[2]}/id/{quote(name, safe='')}")
    assert created.headers["location"] == path
    assert client.get(path).json() == {"id": name}
    assert client.post(path, {"id": name, "n": 1}).json()["id"] == name
    listed = client.get(f"{table}/id?limit=1000").json()["entries"]
    assert {"id": name, "data": {"id": name, "n": 1}} in listed
    assert client.delete(path).status == 204
    assert client.get(path).status == 404


@pytest.mark.parametrize("name", STRINGS, ids=lambda name: ascii(name)[:20])
def test_any_text_is_a_string_id(client: CheckedClient, table: str, name: str) -> None:
    """1 to 2,048 bytes of UTF-8, whatever they mean to a path, a shell or a terminal."""
    live(client, table, name)


@pytest.mark.parametrize("name", INTEGERS, ids=lambda name: name[:20])
def test_integer_ids(client: CheckedClient, integers: str, name: str) -> None:
    """`0` or `-?[1-9][0-9]{0,37}`: 38 digits, exactly."""
    live(client, integers, name)


@pytest.mark.parametrize("raw", BYTES, ids=lambda raw: repr(raw)[:20])
def test_bytes_ids(client: CheckedClient, byte_ids: str, raw: bytes) -> None:
    """Base64url without padding, of 1 to 2,048 bytes."""
    live(client, byte_ids, urlsafe_b64encode(raw).rstrip(b"=").decode())


@pytest.mark.parametrize("name", NO_INTEGERS, ids=lambda name: ascii(name)[:20])
def test_no_integer_ids(client: CheckedClient, integers: str, name: str) -> None:
    """A second spelling of a number would be a second entry: refused."""
    refuse(client, integers, name)


@pytest.mark.parametrize("name", NO_BYTES, ids=lambda name: ascii(name)[:20])
def test_no_bytes_ids(client: CheckedClient, byte_ids: str, name: str) -> None:
    """Padding, the other alphabet and stray bits would be second spellings: refused."""
    refuse(client, byte_ids, name)


@pytest.mark.parametrize("name", ["x" * 2049, "é" * 1024 + "x", "😀" * 513])
def test_long_string_ids(client: CheckedClient, table: str, name: str) -> None:
    """2,049 bytes are too many, counted in UTF-8."""
    refuse(client, table, name)
    assert "2048" in client.get(entry(table, name)).json()["detail"]


def test_longest_bytes_id(client: CheckedClient, byte_ids: str) -> None:
    """2,048 raw bytes are the bound, not 2,048 letters of base64."""
    longer = urlsafe_b64encode(b"x" * 2049).rstrip(b"=").decode()
    refuse(client, byte_ids, longer)


def refuse(client: CheckedClient, table: str, name: str) -> None:
    """Every verb refuses the ID; an empty one is no path of an entry at all."""
    expected = 400 if name else 404
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        body: object = {} if method in {"PUT", "POST"} else None
        assert client.request(method, entry(table, name), body).status == expected
    assert client.get(f"{table}/id").json()["entries"] == []


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "a%", "%%", "%u0041", "%-1", "% 1"])
def test_broken_escapes(client: CheckedClient, table: str, segment: str) -> None:
    """A % without two digits is not guessed at."""
    headers = {"Authorization": f"Bearer {client.token}", "Connection": "close"}
    answer = exchange(client.url, head("GET", f"{table}/id/{segment}", headers))
    assert answer.status == 400


@pytest.mark.parametrize(
    "segment", ["%FF", "%C3", "%C3%28", "%ED%A0%80", "%C0%80", "%F5%80%80%80", "%80"]
)
def test_escapes_that_are_no_utf8(client: CheckedClient, table: str, segment: str) -> None:
    """Bytes that are no UTF-8 (overlong and surrogates included) are no ID."""
    for method in ("GET", "DELETE"):
        assert client.request(method, f"{table}/id/{segment}").status == 400
    assert client.put(f"{table}/id/{segment}", {}).status == 400


def test_an_escape_and_its_character_are_one_id(client: CheckedClient, table: str) -> None:
    """RFC 3986 6.2.2: %41 is A and %c3 is %C3; only an encoded slash differs from a slash."""
    client.put(f"{table}/id/A%c3%a9", {"a": 1})
    assert client.get(f"{table}/id/%41%C3%A9").json() == {"a": 1}
    assert client.get(f"{table}/id/A/B").status == 404
    client.delete(f"{table}/id/A%C3%A9")


def test_normal_forms_are_different_ids(client: CheckedClient, table: str) -> None:
    """No Unicode normalisation, no case folding: an ID is its bytes."""
    for name in ("\u00e9", "e\u0301", "E\u0301"):
        assert client.put(entry(table, name), {"as": ascii(name)}).status == 201
    assert client.get(entry(table, "e\u0301")).json() == {"as": ascii("e\u0301")}


@pytest.mark.parametrize("path", ["", "/", "//", "/x/y", "/x/"])
def test_paths_that_are_no_entrys(client: CheckedClient, table: str, path: str) -> None:
    """An empty segment or one too many is no route; nothing is normalised away."""
    expected = 405 if path == "" else 404
    assert client.put(f"{table}/id{path}", {}).status == expected
