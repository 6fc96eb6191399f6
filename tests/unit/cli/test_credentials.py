"""`dstore access-key` and `dstore token`: secrets are printed once and never taken as arguments."""

import json
from pathlib import Path

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, Reply, problem

KEYS = "/admin/v1/tenant/default/access-key"
TOKENS = "/admin/v1/tenant/acme/token"
CANARY = "canary-secret-42"


def test_new_access_key_is_printed_as_variables(server: FakeServer, run: Run) -> None:
    """The lines can be appended to a file that a shell or an SDK reads."""
    server.on("POST", KEYS, {"id": "DSAK1", "secret": CANARY, "createdAt": "c"})
    result = run("access-key", "create")
    assert result.stdout == f"AWS_ACCESS_KEY_ID=DSAK1\nAWS_SECRET_ACCESS_KEY={CANARY}\n"
    assert CANARY not in result.stderr
    assert json.loads(run("access-key", "create", "-o", "json").stdout)["secret"] == CANARY


@pytest.mark.parametrize("content", [f"{CANARY}\n", f"{CANARY}\r\n", CANARY])
def test_import_takes_the_secret_from_stdin(server: FakeServer, run: Run, content: str) -> None:
    """The line's end is the file's, not the secret's; the answer shows no secret."""
    server.on("PUT", f"{KEYS}/AKIA1", {"id": "AKIA1", "createdAt": "c"})
    result = run("access-key", "import", "AKIA1", "--secret-file", "-", "-o", "json", stdin=content)
    assert json.loads(server.seen[0].body) == {"secret": CANARY}
    assert CANARY not in result.output


def test_import_takes_the_secret_from_a_file(server: FakeServer, run: Run, tmp_path: Path) -> None:
    """A secret's other place."""
    server.on("PUT", f"{KEYS}/AKIA1", {"id": "AKIA1", "createdAt": "c"})
    (tmp_path / "secret").write_text(CANARY)
    assert run("access-key", "import", "AKIA1", "--secret-file", "secret").exit_code == 0
    assert json.loads(server.seen[0].body) == {"secret": CANARY}


@pytest.mark.parametrize("content", ["", "\n", b"\xff\xfe"])
def test_import_of_no_secret(server: FakeServer, run: Run, content: str | bytes) -> None:
    """An empty pipe is a usual accident."""
    result = run("access-key", "import", "AKIA1", "--secret-file", "-", stdin=content)
    assert result.exit_code == ExitCode.USAGE
    assert server.seen == []


def test_secret_is_no_argument(run: Run) -> None:
    """Arguments are for everybody to read; there must be no way to put a secret there."""
    assert run("access-key", "import", "AKIA1", CANARY).exit_code == ExitCode.USAGE
    assert run("access-key", "import", "AKIA1").exit_code == ExitCode.USAGE


def test_access_keys_are_listed_and_deleted(server: FakeServer, run: Run) -> None:
    """A lost key is found by its id and goes at once, without a question."""
    server.on("GET", KEYS, {"accessKeys": [{"id": "DSAK1", "createdAt": "c"}]})
    server.on("DELETE", f"{KEYS}/DSAK1", reply=Reply(status=204))
    assert run("access-key", "ls").stdout == "ID     CREATED\nDSAK1  c\n"
    assert "would be deleted" in run("access-key", "rm", "DSAK1", "--dry-run").stderr
    assert run("access-key", "rm", "DSAK2", "--dry-run").exit_code == ExitCode.NOT_FOUND
    assert [seen.method for seen in server.seen] == ["GET", "GET", "GET"]
    assert run("access-key", "rm", "DSAK1").stderr.endswith("is deleted.\n")


def test_new_token_is_all_of_stdout(server: FakeServer, run: Run) -> None:
    """`> file` makes a file for --token-file."""
    server.on("POST", TOKENS, {"id": "mzxw6ytboi3q", "token": f"dst_{CANARY}", "createdAt": "c"})
    result = run("token", "create", "--tenant", "acme")
    assert result.stdout == f"dst_{CANARY}\n"
    assert "never shown again" in result.stderr


def test_operators_tokens_have_their_own_place(server: FakeServer, run: Run) -> None:
    """Both owners at once is a mistake, not a choice."""
    server.on("GET", "/admin/v1/token", {"tokens": [{"id": "aaaaaaaaaaaa", "createdAt": "c"}]})
    assert "aaaaaaaaaaaa" in run("token", "list", "--operator").stdout
    assert run("token", "list", "--operator", "--tenant", "acme").exit_code == ExitCode.USAGE


def test_own_token_is_deleted_on_purpose_only(server: FakeServer, run: Run) -> None:
    """Who deletes the token he calls with may lock himself out."""
    path = "/admin/v1/token/abcdefghijkl"  # the id of conftest's token
    server.on("DELETE", path, reply=Reply(status=204))
    result = run("token", "delete", "abcdefghijkl", "--operator")
    assert result.exit_code == ExitCode.UNSAFE
    assert server.seen == []
    assert run("token", "delete", "abcdefghijkl", "--operator", "--yes").exit_code == ExitCode.OK


def test_another_token_is_deleted_at_once(server: FakeServer, run: Run) -> None:
    """A leaked token must go quickly."""
    server.on("DELETE", f"{TOKENS}/mzxw6ytboi3q", reply=Reply(status=204))
    assert run("token", "rm", "mzxw6ytboi3q", "--tenant", "acme").exit_code == ExitCode.OK
    server.on("DELETE", f"{TOKENS}/mzxw6ytboi3r", reply=problem(404, "There is no such token."))
    result = run("token", "rm", "mzxw6ytboi3r", "--tenant", "acme")
    assert result.exit_code == ExitCode.NOT_FOUND
