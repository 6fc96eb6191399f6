"""The root: quick to start, forgiving to type, and polite to the shell."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dstore import __version__
from dstore.cli.failures import ExitCode
from dstore.cli.program import COMMANDS, dstore
from tests.unit.cli.conftest import TOKEN, Run
from tests.unit.cli.fake_server import FakeServer, Reply

# What the server needs and a command line must not wait for.
HEAVY = {"aiohttp", "apsw", "asyncio", "cryptography", "msgspec", "rich", "structlog", "uvloop"}
PROGRAM = [sys.executable, "-m", "dstore"]


def environment(server: FakeServer, **more: str) -> dict[str, str]:
    """Make a process's environment that leads to the server."""
    return {
        **os.environ,
        "DSTORE_URL": server.url,
        "DSTORE_ADMIN_URL": server.url,
        "DSTORE_TOKEN": TOKEN,
        **more,
    }


@pytest.mark.parametrize("args", [["--help"], ["version"], ["tenant", "--help"]])
def test_nothing_heavy_is_imported(args: list[str]) -> None:
    """The start of a command is felt at every prompt."""
    code = (
        f"import sys; from dstore.cli.program import run; run({args}); "
        f"print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


def test_summaries_are_those_of_the_commands() -> None:
    """The root's help repeats them in order not to import the commands."""
    for name, lazy in COMMANDS.items():
        command = dstore.get_command(dstore.make_context("dstore", ["version"]), name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").split("\n")[0] == lazy.summary


def test_version_for_people_and_for_programs(run: Run) -> None:
    """Both spellings, as people guess them."""
    assert run("version").stdout == f"dstore {__version__}\n"
    assert run("--version").stdout == f"dstore {__version__}\n"
    assert json.loads(run("version", "-o", "json").stdout)["version"] == __version__


def test_misspelt_commands_get_a_guess(run: Run) -> None:
    """At every level."""
    for args, guess in [(["tabel"], "table"), (["table", "lst"], "list")]:
        result = run(*args)
        assert result.exit_code == ExitCode.USAGE
        assert f"Did you mean '{guess}'" in result.stderr


def test_shared_options_stand_anywhere(server: FakeServer, run: Run) -> None:
    """Before the noun or after the verb; the later one counts."""
    server.on("GET", "/v1/tenant?limit=1000", {"tenants": [], "after": None})
    before = run("--url", server.url, "-o", "json", "tenant", "list")
    after = run("--url", "http://127.0.0.1:1", "tenant", "list", "--url", server.url, "-o", "json")
    assert before.exit_code == ExitCode.OK
    assert before.stdout == after.stdout


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon", "1e9"])
def test_timeout_that_is_none(run: Run, timeout: str) -> None:
    """0 would mean at once to some and for ever to others."""
    assert run("tenant", "list", "--timeout", timeout).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    """Each names the variable by which the shell asks back."""
    assert "_DSTORE_COMPLETE" in run("completion", shell).stdout


def test_closed_pipe_is_quiet(server: FakeServer) -> None:
    """`| head` is how people look at long lists."""
    rows = [{"id": str(number), "data": {"text": "x" * 500}} for number in range(2_000)]
    body = json.dumps({"entries": rows, "after": None}).encode()
    path = "/v1/tenant/default/table/people/id?limit=1000"
    server.on("GET", path, reply=Reply(body=body))
    with subprocess.Popen(
        [*PROGRAM, "item", "list", "people", "--all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(server),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == ExitCode.PIPE_CLOSED


def test_full_disk_is_a_sentence(server: FakeServer) -> None:
    """An output that was cut off must not pass for a whole one."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*PROGRAM, "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == "dstore: The output can't be written: No space left on device.\n"


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let what a test starts hear SIGINT, which a shell keeps from what runs in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_interrupt_ends_quietly(server: FakeServer) -> None:
    """Ctrl-C is 130 to the shell, and no traceback."""
    server.on("GET", "/admin/v1/status", reply=Reply(is_late=True))
    with subprocess.Popen(
        [*PROGRAM, "status"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(server),
    ) as process:
        while not server.seen:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert (output, errors.strip()) == (b"", b"")


def on_terminal(server: FakeServer, *args: str, typed: bytes = b"", **more: str) -> tuple[int, str]:
    """Run a command on a terminal of 80 columns; return its exit status and what is seen."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *args],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment(server, COLUMNS="80", TERM="xterm", **more),
        start_new_session=True,  # this test's own terminal, if there is one, is left alone
    )
    os.close(follower)
    seen = b""
    try:
        while chunk := os.read(leader, 65_536):
            seen += chunk
            if typed and seen.endswith(b": "):  # not before the question: echo may go off first
                os.write(leader, typed)
                typed = b""
    except OSError:  # how Linux says that the terminal's last user went away
        pass
    finally:
        os.close(leader)
    return process.wait(), seen.decode()


ROW = {"id": "1", "data": {"text": "[red]" + "x" * 200, "c1": "\x9b2J"}}


def test_list_fits_the_terminal(server: FakeServer) -> None:
    """Long data is cut, IDs are not squeezed away, and stored text is no markup."""
    path = "/v1/tenant/default/table/people/id?limit=100"
    server.on("GET", path, {"entries": [ROW], "after": None})
    code, seen = on_terminal(server, "item", "list", "people")
    assert code == ExitCode.OK
    line = seen.splitlines()[1]
    assert line.startswith('1   {"text": "[red]xxx')
    assert line.rstrip().endswith("…")
    assert len(line) <= 80


def test_item_is_indented_on_a_terminal(server: FakeServer) -> None:
    """People read it; its controls are spelled out, its numbers are untouched."""
    body = b'{"n":1.500,"c1":"\xc2\x9b2J"}'
    server.on("GET", "/v1/tenant/default/table/people/id/1", reply=Reply(body=body))
    _, seen = on_terminal(server, "item", "get", "people", "1")
    assert seen.replace("\r", "") == '{\n  "n": 1.500,\n  "c1": "\\u009b2J"\n}\n'


def test_health_has_a_colour_unless_unwanted(server: FakeServer) -> None:
    """NO_COLOR is a promise to all programs' users (no-color.org)."""
    server.on("GET", "/admin/v1/status", {"health": "HEALTH_OK"})
    assert "\x1b[32m" in on_terminal(server, "status")[1]
    assert "\x1b[" not in on_terminal(server, "status", NO_COLOR="1")[1]


@pytest.mark.parametrize(
    ("typed", "code", "requests"),
    [(b"y\n", ExitCode.OK, 1), (b"n\n", ExitCode.UNSAFE, 0), (b"\x04", ExitCode.UNSAFE, 0)],
)
def test_terminal_is_asked_before_destroying(
    server: FakeServer, typed: bytes, code: ExitCode, requests: int
) -> None:
    """Only a yes goes on; the end of the input is none."""
    server.on("DELETE", "/v1/tenant/default/table/people", reply=Reply(status=204))
    assert on_terminal(server, "table", "delete", "people", typed=typed)[0] == code
    assert len(server.seen) == requests


def test_terminal_is_asked_for_a_secret_unseen(server: FakeServer) -> None:
    """What is typed must not stay on the screen."""
    path = "/admin/v1/tenant/default/access-key/AKIA1"
    server.on("PUT", path, {"id": "AKIA1", "createdAt": "c"})
    args = ("access-key", "import", "AKIA1", "--secret-file", "-")
    code, seen = on_terminal(server, *args, typed=b"canary-secret\n")
    assert code == ExitCode.OK
    assert server.seen[0].body == b'{"secret": "canary-secret"}'
    assert "canary" not in seen
