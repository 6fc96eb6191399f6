"""The command line's root: which nouns there are, and how the process ends.

A noun's file is imported when somebody asks for that noun, so that `dstore --help` and
`dstore version` cost no more than click does.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

from dstore import __version__
from dstore.cli.command import missing
from dstore.cli.failures import ExitCode
from dstore.cli.options import everywhere

PROGRAM: Final = "dstore"
COMPLETION_VARIABLE: Final = "_DSTORE_COMPLETE"


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet; `summary` is the first sentence of its help."""

    module: str
    summary: str


COMMANDS: Final[Mapping[str, Lazy]] = {
    "serve": Lazy("serve", "Start the server and stay until SIGTERM."),
    "status": Lazy("status", "Tell how the server is."),
    "tenant": Lazy("tenant", "Tenants: those who own tables."),
    "table": Lazy("table", "Tables: where a tenant's items are."),
    "item": Lazy("item", "Items: JSON objects, each under an ID or under keys of its own."),
    "request": Lazy("request", "Requests that were queued with --async."),
    "access-key": Lazy("access_key", "Access keys: what AWS's tools and SDKs sign with."),
    "token": Lazy("token", "Bearer tokens: what dstore and curl call with."),
    "control": Lazy("control", "Control: what admits components and places tables."),
    "node": Lazy("node", "Data nodes: what keeps the data of a cluster."),
    "proxy": Lazy("proxy", "Proxies: what clients of a cluster call."),
    "placement": Lazy("placement", "Placement: which nodes have which part of which table."),
    "tasks": Lazy("tasks", "Tasks: work of control that takes longer than a request."),
    "notice": Lazy("notice", "Notices: what nodes told control."),
    "version": Lazy("version", "Print the version."),
    "completion": Lazy("completion", "Print what makes a shell complete dstore's commands."),
}

EXIT_CODES: Final = (
    "Exit status: 0 ok, 1 failed, 2 wrong usage, 3 unsafe and not done, 4 not found, 5 no "
    "answer in time or a write with an unknown outcome."
)


class Root(click.Group):
    """Import a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module = importlib.import_module(f"dstore.cli.{lazy.module}")
        command = getattr(module, lazy.module)
        assert isinstance(command, click.Command), lazy
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments, or name those that sound like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise missing(ctx, error.command_name, list(COMMANDS)) from None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])


@click.group(
    cls=Root,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@everywhere
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def dstore() -> None:
    """Run dStore, a multi-tenant, encrypted key/value store, or talk to one that runs.

    Commands find the server and the token in the flags, in DSTORE_URL, DSTORE_ADMIN_URL and
    DSTORE_TOKEN, or in dstore-data/client.env, which dstore serve writes. Data goes to stdout,
    notes go to stderr. With SSL_CERT_FILE a server's own CA is trusted, with NO_COLOR nothing is
    coloured.
    """


def run(args: Sequence[str]) -> int:
    """Run the command that the arguments name and return the process's exit status."""
    try:
        status = dstore.main(
            list(args),
            prog_name=PROGRAM,
            complete_var=COMPLETION_VARIABLE,
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:  # Ctrl-C, or the end of stdin where a question was asked
        is_interrupt = isinstance(error.__cause__ or error.__context__, KeyboardInterrupt)
        return ExitCode.INTERRUPTED if is_interrupt else ExitCode.UNSAFE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return status if isinstance(status, int) else ExitCode.OK
