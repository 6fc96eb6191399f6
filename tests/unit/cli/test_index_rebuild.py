"""`dstore table rebuild-index`: what is asked for, and that nobody does it by a slip."""

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, problem

PATH = "/admin/v1/rebuild-index/acme/orders/by-state"
WORDS = ("table", "rebuild-index", "orders", "by-state", "--tenant", "acme")


def test_an_index_is_made_anew(server: FakeServer, run: Run) -> None:
    """One request says it all, and what follows from it is told."""
    server.on("POST", PATH, {"tenant": "acme", "table": "orders", "index": "by-state"})
    result = run(*WORDS, "--yes")
    assert result.exit_code == 0
    assert result.stderr == "The index by-state of table orders of tenant acme is made anew.\n"
    assert [seen.method for seen in server.seen] == ["POST"]


def test_an_index_that_is_not_there(server: FakeServer, run: Run) -> None:
    """It is control that answers: nobody is sent to another server."""
    absent = problem(404, "Table orders has no global index by-state; show it.")
    server.on("POST", PATH, reply=absent)
    result = run(*WORDS, "--yes")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stderr == "dstore: Table orders has no global index by-state; show it.\n"


def test_it_is_confirmed(server: FakeServer, run: Run) -> None:
    """The index can't be queried until it is filled: nobody wants that by mistake."""
    result = run(*WORDS)
    assert result.exit_code == ExitCode.UNSAFE
    assert "can't be queried" in result.stderr
    assert server.seen == []
