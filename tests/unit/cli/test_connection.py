"""Where the server is and with which token: flags, variables, client.env, in this order."""

from pathlib import Path

import pytest

from dstore.cli.connection import Surface, find, require_token
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.options import Asked

FILE = """\
# written by dstore serve
DSTORE_URL=http://127.0.0.1:1001
export DSTORE_ADMIN_URL='http://127.0.0.1:1002'
DSTORE_TOKEN=from-file
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a server's data directory where commands look for it."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "dstore-data"
    directory.mkdir()
    (directory / "client.env").write_text(FILE)
    return directory


def test_client_env_alone_is_enough(data: Path) -> None:
    """Beside a server that was just started, a command needs no option."""
    found = find(Surface.V1, Asked(), {})
    assert (found.url, require_token(found)) == ("http://127.0.0.1:1001", "from-file")
    assert find(Surface.ADMIN, Asked(), {}).url == "http://127.0.0.1:1002"


def test_variable_overrules_file_and_flag_overrules_both(data: Path, tmp_path: Path) -> None:
    """The nearer a choice is to the command, the more it counts."""
    environment = {"DSTORE_URL": "http://b:2/", "DSTORE_TOKEN": "from-variable"}
    found = find(Surface.V1, Asked(), environment)
    assert (found.url, found.token) == ("http://b:2", "from-variable")
    token_file = tmp_path / "token"
    token_file.write_text("from-flag\n")
    asked = Asked(url="https://c", token_file=str(token_file))
    found = find(Surface.V1, asked, environment)
    assert (found.url, found.token) == ("https://c", "from-flag")


@pytest.mark.parametrize("environment", [{"DSTORE_URL": "http://other:1001"}, {}])
def test_token_of_one_server_is_not_sent_to_another(
    data: Path, environment: dict[str, str]
) -> None:
    """A URL from elsewhere, mistyped or planted, must not collect the operator's token."""
    asked = Asked() if environment else Asked(url="http://127.0.0.1:1003")
    found = find(Surface.V1, asked, environment)
    assert found.token is None
    with pytest.raises(Failure, match="belongs to another server"):
        require_token(found)


def test_token_goes_to_its_own_server_by_whatever_way_it_is_named(data: Path) -> None:
    """Who sources client.env, or names its URL, still means this server."""
    assert find(Surface.V1, Asked(url="http://127.0.0.1:1001/"), {}).token == "from-file"
    environment = {"DSTORE_ADMIN_URL": "http://127.0.0.1:1002"}
    assert find(Surface.ADMIN, Asked(), environment).token == "from-file"


def test_explicit_data_says_that_both_belong_together(data: Path) -> None:
    """Behind a reverse proxy the URL differs from client.env's, and the user knows it."""
    assert find(Surface.V1, Asked(url="https://proxy", data=data), {}).token == "from-file"


def test_nothing_given_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default address is tried, and the sentence names every way to give a token."""
    monkeypatch.chdir(tmp_path)
    found = find(Surface.ADMIN, Asked(), {})
    assert found.url == "http://127.0.0.1:8002"
    with pytest.raises(Failure, match=r"DSTORE_TOKEN.*--token-file.*--data") as caught:
        require_token(found)
    assert caught.value.exit_code == ExitCode.USAGE


def test_data_without_client_env_is_refused(tmp_path: Path) -> None:
    """A mistyped --data must not quietly mean another server."""
    with pytest.raises(Failure, match=r"has no client\.env"):
        find(Surface.V1, Asked(data=tmp_path), {})


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://a:0",
        "http://user:secret@a",
        "http://a/?x=1",
        "http://a b",
        "http://[::1",
        "http://a\n",
    ],
)
def test_url_that_cannot_be_called_is_refused(url: str) -> None:
    """The sentence shows how a URL is written, and repeats no secret that is in it."""
    with pytest.raises(Failure, match=r"write it as http://127\.0\.0\.1:8000") as caught:
        find(Surface.V1, Asked(url=url), {"DSTORE_TOKEN": "t"})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("token", ["two words", "line\nline", "é", "x" * 5_000])
def test_token_that_cannot_be_one_is_not_repeated(token: str) -> None:
    """A wrong file given as the token's must not be printed, nor put into a header."""
    with pytest.raises(Failure, match="holds no token") as caught:
        find(Surface.V1, Asked(), {"DSTORE_TOKEN": token})
    assert token not in caught.value.message


def test_connection_does_not_print_its_token(data: Path) -> None:
    """A traceback or a log shows the repr."""
    assert "from-file" not in repr(find(Surface.V1, Asked(), {}))
