"""`--print-curl`: the same request to paste, without a secret, and nothing sent."""

import shutil
import subprocess

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import TOKEN, Run
from tests.unit.cli.fake_server import FakeServer, Reply

COMMANDS = [
    ("tenant", "list"),
    ("tenant", "delete", "acme", "--force"),
    ("table", "create", "it's", "--id-type", "Bytes"),
    ("table", "delete", "orders"),
    ("item", "put", "orders", "a b'c", "--file", "no such file"),
    ("item", "merge", "orders", "1", "--if-match", "v1"),
    ("item", "list", "orders"),
    ("request", "show", "r-1"),
    ("access-key", "create"),
    ("access-key", "import", "AKIA1", "--secret-file", "secret"),
    ("token", "delete", "abcdefghijkl", "--operator"),
    ("status",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_sent_and_no_secret_printed(
    server: FakeServer, run: Run, command: tuple[str, ...]
) -> None:
    """The line is for tickets and logs; asking for it must be harmless, even for a deletion."""
    result = run(*command, "--print-curl", stdin="canary")
    assert result.exit_code == ExitCode.OK
    assert server.seen == []
    assert "curl -sS" in result.stdout
    assert '"Authorization: Bearer $DSTORE_TOKEN"' in result.stdout
    assert TOKEN not in result.output
    assert "canary" not in result.output


def test_line_needs_no_token(run: Run) -> None:
    """Who reads up on the API may not have one yet."""
    assert run("tenant", "list", "--print-curl", token=None).exit_code == ExitCode.OK


def test_line_does_what_the_command_does(server: FakeServer, run: Run) -> None:
    """A shell and curl make the same request of it, quotes and all."""
    assert shutil.which("curl"), "scripts/test asks for curl"
    target = "/v1/tenant/default/table/orders/id/a%20b%27c"
    server.on("POST", target, reply=Reply(body=b'{"id":"x"}'))
    command = ("item", "merge", "orders", "a b'c", "--if-match", "v1", "--idempotency-key", "k")
    line = run(*command, "--print-curl").stdout
    run(*command, stdin='{"a": 1}')
    subprocess.run(
        ["sh", "-c", line],
        input=b'{"a": 1}',
        env={"DSTORE_TOKEN": TOKEN, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    ours, curls = server.seen
    for name in ("authorization", "content-type", "if-match", "idempotency-key"):
        assert ours.headers[name] == curls.headers[name]
    assert (ours.method, ours.target, ours.body) == (curls.method, curls.target, curls.body)
