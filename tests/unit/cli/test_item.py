"""`dstore item`, request by request."""

import json
from pathlib import Path

import pytest

from dstore.cli.failures import ExitCode
from dstore.model.refusal_texts import ENTRY_EXISTS, NO_SUCH_ENTRY
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, Reply, problem

PATH = "/v1/tenant/default/table/people/id/42"
LIST = "/v1/tenant/default/table/people/id"
STORED = Reply(status=201, body=b'{"rid":"rid:x","id":"42"}', headers={"ETag": '"v1"'})


def test_put_sends_stdin_as_it_is(server: FakeServer, run: Run) -> None:
    """The server's decoder is strict; nothing here may repair or respell what it should judge."""
    server.on("PUT", PATH, reply=STORED)
    body = '{"n": 1.500, "n": 2}\n'
    result = run("item", "put", "people", "42", stdin=body)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Item 42 is stored in people.\n"
    assert server.seen[0].body == body.encode()
    assert server.seen[0].headers["content-type"] == "application/json"


def test_put_takes_a_file(server: FakeServer, run: Run, tmp_path: Path) -> None:
    """Data needn't pass through the shell."""
    server.on("PUT", PATH, reply=STORED)
    (tmp_path / "ada.json").write_bytes(b'{"a": "\xc3\xa9"}')
    result = run("item", "put", "people", "42", "--file", "ada.json", "-o", "json")
    assert server.seen[0].body == b'{"a": "\xc3\xa9"}'
    assert json.loads(result.stdout) == {
        "apiVersion": "dstore/v1",
        "kind": "Item",
        "rid": "rid:x",
        "id": "42",
        "etag": '"v1"',
    }


def test_file_that_is_not_there(server: FakeServer, run: Run) -> None:
    """Found out before anything is sent."""
    result = run("item", "put", "people", "42", "--file", "nowhere.json")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "dstore: nowhere.json can't be read: No such file or directory.\n"
    assert server.seen == []


def test_put_of_what_is_there_names_the_command(server: FakeServer, run: Run) -> None:
    """The server's sentence speaks of POST; what else it says is said as it is."""
    server.on("PUT", PATH, reply=problem(409, ENTRY_EXISTS))
    server.on("PUT", PATH, reply=problem(409, "The key was used for another item."))
    result = run("item", "put", "people", "42", stdin="{}")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == (
        "dstore: The item exists; dstore item replace stores another in its place.\n"
    )
    other = run("item", "put", "people", "42", stdin="{}")
    assert other.stderr == "dstore: The key was used for another item.\n"


@pytest.mark.parametrize("verb", ["get", "replace", "merge", "delete"])
def test_what_is_not_there_is_said_in_words_that_are_typed_here(
    server: FakeServer, run: Run, verb: str
) -> None:
    """Nobody types PUT; a table that is not there is another matter, and named."""
    method = {"get": "GET", "delete": "DELETE"}.get(verb, "POST")
    for detail in (NO_SUCH_ENTRY, "There is no table people."):
        server.on(method, PATH, reply=problem(404, detail, name="not-found"))
    absent, no_table = (run("item", verb, "people", "42", stdin="{}") for _ in range(2))
    assert absent.exit_code == no_table.exit_code == ExitCode.NOT_FOUND
    assert absent.stderr == "dstore: There is no such item; dstore item put stores a new one.\n"
    assert no_table.stderr == "dstore: There is no table people.\n"


@pytest.mark.parametrize(
    ("verb", "content_type"),
    [("replace", "application/json"), ("merge", "application/merge-patch+json")],
)
@pytest.mark.parametrize("etag", ['"v1"', "v1"])
def test_replace_and_merge_differ_by_content_type(
    server: FakeServer, run: Run, verb: str, content_type: str, etag: str
) -> None:
    """Both are POST; an ETag may have lost its quotes to the shell."""
    server.on("POST", PATH, reply=STORED)
    assert run("item", verb, "people", "42", "--if-match", etag, stdin="{}").exit_code == 0
    headers = server.seen[0].headers
    assert headers["content-type"] == content_type
    assert headers["if-match"] == '"v1"'


@pytest.mark.parametrize("etag", ["", "a b", "é", 'x"\r\nEvil: 1"'])
def test_etag_that_is_none_is_refused(server: FakeServer, run: Run, etag: str) -> None:
    """It would become a header."""
    result = run("item", "delete", "people", "42", "--if-match", etag)
    assert result.exit_code == ExitCode.USAGE
    assert server.seen == []


def test_every_write_has_a_key_of_its_own(server: FakeServer, run: Run) -> None:
    """The key makes repeating a doubtful write safe; two writes must not share one."""
    server.on("PUT", PATH, reply=STORED)
    for _ in range(2):
        run("item", "put", "people", "42", stdin="{}")
    run("item", "put", "people", "42", "--idempotency-key", "mine", stdin="{}")
    first, second, third = (seen.headers["idempotency-key"] for seen in server.seen)
    assert first != second
    assert third == "mine"


NUMBERS = b'{"big":12345678901234567890123456789012345678,"n":1.500,"tiny":1E-130}'


def test_get_prints_exactly_the_object(server: FakeServer, run: Run) -> None:
    """A number that went through a float would come back changed."""
    server.on("GET", PATH, reply=Reply(body=NUMBERS, headers={"ETag": '"v1"', "DStore-RID": "r"}))
    assert run("item", "get", "people", "42").stdout_bytes == NUMBERS + b"\n"
    assert run("item", "get", "people", "42", "-o", "json").stdout_bytes == NUMBERS + b"\n"
    assert run("item", "get", "people", "42", "--meta").stdout_bytes == (
        b'{"apiVersion":"dstore/v1","kind":"Item","id":"42","rid":"r","etag":"\\"v1\\"","data":'
        + NUMBERS
        + b"}\n"
    )


def test_eventual_read_is_asked_for(server: FakeServer, run: Run) -> None:
    """Strong is the server's default and needs no parameter."""
    server.on("GET", f"{PATH}?consistency=eventual", reply=Reply(body=b"{}"))
    assert run("item", "get", "people", "42", "--consistency", "eventual").exit_code == 0


def test_negative_id_is_an_id(server: FakeServer, run: Run) -> None:
    """An Integer ID may be negative; no `--` should be needed before it."""
    path = "/v1/tenant/default/table/people/id/-42"
    server.on("GET", path, reply=Reply(body=b"{}"))
    assert run("item", "get", "people", "-42").exit_code == ExitCode.OK
    assert run("item", "get", "--timeout", "5", "people", "-42").exit_code == ExitCode.OK
    assert run("item", "get", "people", "-x").exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("item_id", "encoded"), [("a/b", "a%2Fb"), (".", "%2E"), ("..", "%2E%2E"), ("a.b", "a.b")]
)
def test_id_is_one_part_of_the_path(
    server: FakeServer, run: Run, item_id: str, encoded: str
) -> None:
    """Dots alone would be resolved by proxies on the way."""
    run("item", "get", "people", item_id)
    assert server.seen[0].target == f"/v1/tenant/default/table/people/id/{encoded}"


@pytest.mark.parametrize("item_id", ["", "\udcff"])
def test_id_that_no_url_can_say(server: FakeServer, run: Run, item_id: str) -> None:
    """Neither nothing nor half a character; no traceback either."""
    assert run("item", "get", "people", item_id).exit_code == ExitCode.USAGE
    assert server.seen == []


def test_delete_and_its_dry_run(server: FakeServer, run: Run) -> None:
    """One item is everyday work: no question, but a way to look first."""
    server.on("GET", PATH, reply=Reply(body=b"{}"))
    server.on("DELETE", PATH, reply=Reply(status=204))
    assert "would be deleted" in run("item", "rm", "people", "42", "--dry-run").stderr
    assert [seen.method for seen in server.seen] == ["GET"]
    result = run("item", "rm", "people", "42", "-o", "json")
    assert json.loads(result.stdout)["deleted"] is True


def test_queued_write_prints_its_request_id(server: FakeServer, run: Run) -> None:
    """A script catches it from stdout."""
    body = b'{"requestId":"r-1","state":"queued"}'
    server.on("PUT", PATH, reply=Reply(status=202, body=body))
    result = run("item", "put", "people", "42", "--async", stdin="{}")
    assert result.stdout == "r-1\n"
    assert "dstore request show r-1" in result.stderr
    assert server.seen[0].headers["prefer"] == "respond-async"


def test_doubtful_queued_write_promises_nothing(server: FakeServer, run: Run) -> None:
    """The key's promise holds for writes that are answered at once."""
    server.on("PUT", PATH, reply=Reply(is_cut=True))
    result = run("item", "put", "people", "42", "--async", stdin="{}")
    assert result.exit_code == ExitCode.TIMEOUT
    assert "idempotency" not in result.stderr
    assert "idempotency-key" not in server.seen[0].headers


ROWS = [{"id": "1", "data": {"a": "x\x1b[2J\u202e"}}, {"id": "2\x1b]0;t\x07", "data": {}}]


def test_list_stops_at_its_limit_and_says_how_to_go_on(server: FakeServer, run: Run) -> None:
    """A table may be endless; the next command is there to be pasted."""
    server.on("GET", f"{LIST}?limit=2", {"entries": ROWS, "after": "CUR"})
    result = run("item", "list", "people", "--limit", "2")
    assert result.stdout == (
        'ID             DATA\n1              {"a": "x\\u001b[2J\\u202e"}\n2\\x1b]0;t\\x07  {}\n'
    )
    assert "--after CUR goes on" in result.stderr


def test_list_of_all_asks_for_the_largest_pages(server: FakeServer, run: Run) -> None:
    """Every digit is kept on this way too."""
    page = b'{"entries":[{"id":"1","data":' + NUMBERS + b'}],"after":null}'
    server.on("GET", f"{LIST}?limit=1000", reply=Reply(body=page))
    result = run("item", "list", "people", "--all", "-o", "json")
    assert NUMBERS in result.stdout_bytes
    assert json.loads(result.stdout)["kind"] == "ItemList"


def test_list_goes_on_after_a_cursor(server: FakeServer, run: Run) -> None:
    """Pages shorter than the limit are followed until there are enough rows."""
    server.on("GET", f"{LIST}?limit=3&after=A", {"entries": ROWS, "after": "B"})
    server.on("GET", f"{LIST}?limit=1&after=B", {"entries": ROWS[:1], "after": "C"})
    result = run("item", "list", "people", "--limit", "3", "--after", "A", "-o", "json")
    document = json.loads(result.stdout)
    assert len(document["items"]) == 3
    assert document["after"] == "C"
