"""`--print-curl`: the same request to paste, without a secret, and nothing sent."""

import hashlib
import shutil
import subprocess

import pytest

from dstore.base.clock import SystemClock
from dstore.cli.failures import ExitCode
from dstore.security.sigv4 import date_key, signing_key
from dstore.security.sigv4_request import read_claim, verify
from tests.unit.cli.conftest import TOKEN, Run
from tests.unit.cli.fake_dynamodb import KEY_ID, SECRET, answer, hold_key
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


SIGNED = [
    ("item", "get", "orders", "--key", '{"pk": "it\'s"}'),
    ("item", "delete", "orders", "--key", '{"pk": "a"}', "--condition", "a = b"),
    ("item", "put", "orders"),
    ("item", "put", "orders", "--condition", "attribute_not_exists(pk)"),
    ("item", "query", "orders", "--key-condition", "pk = :p", "--values", '{":p": 1}'),
    ("item", "scan", "orders", "--segments", "2", "--count"),
]


@pytest.mark.parametrize("command", SIGNED, ids=" ".join)
def test_signed_line_is_harmless(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Nothing is sent, no credential printed, and none in the arguments of what the line runs."""
    hold_key(monkeypatch)
    result = run(*command, "--print-curl", stdin='{"pk": "a"}')
    assert result.exit_code == ExitCode.OK
    assert server.seen == []
    assert result.stdout.count("curl ") == 1
    assert SECRET not in result.output
    assert KEY_ID not in result.output
    assert "$AWS_SECRET" not in result.stdout.partition("curl ")[2]


def test_signed_line_does_what_the_command_does(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell and curl sign the same request of it, as the server verifies."""
    assert shutil.which("curl"), "scripts/test asks for curl"
    hold_key(monkeypatch)
    monkeypatch.setenv("AWS_REGION", "eu-x-1")
    answer(server, {"Item": {}})
    command = ("item", "get", "orders", "--key", '{"pk": "it\'s é", "sk": 1.50}')
    line = run(*command, "--print-curl").stdout
    run(*command)
    subprocess.run(
        ["sh", "-c", line],
        env={
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        },
        check=True,
        capture_output=True,
    )
    ours, curls = server.seen
    for name in ("host", "content-type", "x-amz-target"):
        assert ours.headers[name] == curls.headers[name]
    assert (ours.method, ours.target, ours.body) == (curls.method, curls.target, curls.body)
    for seen in (ours, curls):
        headers = [(name.encode(), value.encode()) for name, value in seen.headers.items()]
        claim = read_claim("POST", "/", headers)
        assert claim.scope.region == "eu-x-1"
        day = date_key(SECRET, claim.scope.date)
        verify(
            claim,
            body_sha256=hashlib.sha256(seen.body).hexdigest(),
            key=signing_key(day, region="eu-x-1", service="dynamodb"),
            now_us=SystemClock().wall_us(),
        )


def test_load_is_a_line_for_each_batch(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without asking the server for anything."""
    hold_key(monkeypatch)
    lines = "\n".join(f'{{"pk": "{number}"}}' for number in range(60))
    result = run("item", "put", "orders", "--print-curl", stdin=lines)
    assert result.stdout.count("DynamoDB_20120810.BatchWriteItem") == 3
    assert result.stderr == ""
    assert server.seen == []


@pytest.mark.parametrize(
    "options",
    [
        ("get", "orders", "--key", "pk=a"),
        ("query", "orders", "--where", "pk=a"),
        ("put", "orders", "--if-absent"),
    ],
)
def test_line_that_needs_the_tables_keys(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Nothing is sent, so the types of keys are not known; the sentence says what to type."""
    hold_key(monkeypatch)
    result = run("item", *options, "--print-curl", stdin='{"pk": "a"}')
    assert result.exit_code == ExitCode.USAGE
    assert "--print-curl sends nothing" in result.stderr
    assert server.seen == []
