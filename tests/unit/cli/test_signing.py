"""The access key: where it is found, whom it signs for, and that the secret stays at home."""

import hashlib
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import Asked
from dstore.cli.signing import SignedConnection, find_signed
from dstore.security.sigv4 import date_key, signing_key
from dstore.security.sigv4_request import read_claim, verify
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_dynamodb import KEY_ID, SECRET, answer, hold_key
from tests.unit.cli.fake_server import FakeServer

FILE = """\
DSTORE_URL=http://127.0.0.1:1001
AWS_REGION=eu-file-1
AWS_ACCESS_KEY_ID=DSAKFROMFILE
AWS_SECRET_ACCESS_KEY=secret-from-file
"""
VARIABLES = {"AWS_ACCESS_KEY_ID": "DSAKFROMVARIABLE", "AWS_SECRET_ACCESS_KEY": "secret-canary"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a server's data directory where commands look for it."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "dstore-data"
    directory.mkdir()
    (directory / "client.env").write_text(FILE)
    return directory


def key_id(found: SignedConnection) -> str | None:
    return found.signer.key_id if found.signer else None


def test_client_env_alone_is_enough(data: Path) -> None:
    """Beside a server that was just started, a command needs no option."""
    found = find_signed(Asked(), {})
    assert (found.server.url, found.region) == ("http://127.0.0.1:1001", "eu-file-1")
    assert key_id(found) == "DSAKFROMFILE"


def test_variables_count_before_the_file_and_an_explicit_directory_before_both(data: Path) -> None:
    """A flag counts before a variable; AWS's variables may be meant for AWS."""
    assert key_id(find_signed(Asked(), VARIABLES)) == "DSAKFROMVARIABLE"
    assert key_id(find_signed(Asked(data=data), VARIABLES)) == "DSAKFROMFILE"


def test_region_of_the_variables_counts_before_the_files(data: Path) -> None:
    """As AWS's tools read them."""
    assert find_signed(Asked(), {"AWS_DEFAULT_REGION": "eu-x-1"}).region == "eu-x-1"
    both = {"AWS_DEFAULT_REGION": "eu-x-1", "AWS_REGION": "eu-y-1"}
    assert find_signed(Asked(), both).region == "eu-y-1"


def test_key_of_a_server_signs_for_no_other(data: Path) -> None:
    """Whoever gets a signed request could repeat it at the server it was meant for."""
    found = find_signed(Asked(url="http://127.0.0.1:9"), {})
    with pytest.raises(Failure, match="belongs to another server than") as failure:
        found.require_signer()
    assert failure.value.exit_code == ExitCode.USAGE
    assert key_id(find_signed(Asked(url="http://127.0.0.1:9", data=data), {})) == "DSAKFROMFILE"


def test_no_key_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says which variables."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        find_signed(Asked(), {}).require_signer()


@pytest.mark.parametrize(
    "broken",
    [
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_SECRET_ACCESS_KEY": "two canary words"},
        {"AWS_ACCESS_KEY_ID": "a/b"},
        {"AWS_ACCESS_KEY_ID": "a\r\nEvil: 1"},
        {"AWS_SESSION_TOKEN": "canary\n"},
        {"AWS_REGION": "a/b"},
    ],
)
def test_what_can_be_no_key_is_refused_unquoted(data: Path, broken: dict[str, str]) -> None:
    """It would become a header; and a secret in a wrong variable must not be printed."""
    with pytest.raises(Failure) as failure:
        find_signed(Asked(), {**VARIABLES, **broken})
    assert failure.value.exit_code == ExitCode.USAGE
    assert "canary" not in failure.value.message


def test_secret_is_in_no_representation(data: Path) -> None:
    """A traceback or a log line may hold any object."""
    found = find_signed(Asked(), {**VARIABLES, "AWS_SESSION_TOKEN": "token-canary"})
    assert "canary" not in repr(found)
    assert "DSAKFROMVARIABLE" in repr(found)


def test_request_is_signed_as_the_server_verifies(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host, content type, operation and body are under the signature; a session's token too."""
    hold_key(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    answer(server, {"Item": {"pk": {"S": "é"}}})
    assert run("item", "get", "people", "--key", '{"pk": "é"}').exit_code == 0
    [seen] = server.seen
    headers = [(name.encode(), value.encode()) for name, value in seen.headers.items()]
    claim = read_claim("POST", "/", headers)
    assert (claim.scope.access_key_id, claim.scope.region) == (KEY_ID, "us-east-1")
    for name in (b"host", b"content-type", b"x-amz-target", b"x-amz-security-token"):
        assert name + b":" in claim.head
    verify(
        claim,
        body_sha256=hashlib.sha256(seen.body).hexdigest(),
        key=signing_key(date_key(SECRET, claim.scope.date), region="us-east-1", service="dynamodb"),
        now_us=SystemClock().wall_us(),
    )


def test_host_is_signed_as_it_is_sent() -> None:
    """A scheme's usual port is left out of the header, an IPv6 address stands in brackets."""
    from dstore.cli.signing import _host

    assert _host("https://db.example:443/x") == "db.example"
    assert _host("http://db.example") == "db.example"
    assert _host("http://db.example:443") == "db.example:443"
    assert _host("http://[::1]:8000") == "[::1]:8000"
