"""The options that many commands share, given before the noun or after the verb.

`dstore --url U table list` and `dstore table list --url U` are the same; the later one counts.
They are gathered in click's `meta`, which nested contexts share, and read by `asked()`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from dstore.cli.command import ConnectionOption, Word

TIMEOUT_S_DEFAULT: Final = 30.0
_TIMEOUT_S_MAX: Final = 86_400.0  # a day: beyond it somebody typed milliseconds

_META: Final = "dstore.cli.options"

F = TypeVar("F", bound=Callable[..., Any])


class Output(StrEnum):
    """For whom a command prints."""

    TABLE = "table"
    JSON = "json"


@dataclass(slots=True, kw_only=True)
class Asked:
    """What the shared options say; None where one wasn't given."""

    url: str | None = None
    admin_url: str | None = None
    data: Path | None = None
    token_file: str | None = field(default=None, repr=False)
    timeout_s: float = TIMEOUT_S_DEFAULT
    print_curl: bool = False
    output: Output = Output.TABLE


class Seconds(click.ParamType[float]):
    """A time to wait, of which click's own FloatRange prints more than helps."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number of seconds above 0."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= _TIMEOUT_S_MAX:  # false for NaN too
            self.fail(f"It must be a number above 0, {_TIMEOUT_S_MAX:g} at most.", param, ctx)
        return seconds


def asked() -> Asked:
    """Return what the shared options of this call say."""
    found: Asked = click.get_current_context().meta.setdefault(_META, Asked())
    return found


def calls_v1(command: F) -> F:
    """Give a command the options of a call to the v1 API."""
    return _connecting(_url(_printing(command)))


def calls_dynamodb(command: F) -> F:
    """Give a command the options of a call to the DynamoDB API, which takes no token."""
    return _data(_waiting(_url(_printing(command))))


def calls_admin(command: F) -> F:
    """Give a command the options of a call to the admin API."""
    return _connecting(_admin_url(_printing(command)))


def prints(command: F) -> F:
    """Give a command that calls nobody the option of how it prints."""
    return _printing(command)


def everywhere(command: F) -> F:
    """Give the executable itself all of them."""
    return _connecting(_admin_url(_url(_printing(command))))


def tenant_option(command: F) -> F:
    """Give a command the tenant it is about."""
    return click.option(
        "--tenant", metavar="TENANT", default="default", show_default=True, help="Whose it is."
    )(command)


def dry_run_option(command: F) -> F:
    """Give a command that destroys something the option to look first."""
    return click.option(
        "--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing."
    )(command)


def yes_option(command: F) -> F:
    """Give a dangerous command the option that answers its question beforehand."""
    return click.option("--yes", is_flag=True, help="Do it without asking.")(command)


def _keep(_ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    """Remember an option that was given, whatever was given further left."""
    if value is not None:
        setattr(asked_of(_ctx), str(parameter.name), value)


def asked_of(ctx: click.Context) -> Asked:
    """Return what the shared options say so far, while they are still being read."""
    found: Asked = ctx.meta.setdefault(_META, Asked())
    return found


def _shared(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, callback=_keep, expose_value=False, **settings)


def _printing(command: F) -> F:
    return _shared(
        "-o",
        "--output",
        type=Word(Output),
        help="Print a table for people (the default) or JSON for programs.",
    )(command)


def _url(command: F) -> F:
    return _shared(
        "--url",
        metavar="URL",
        cls=ConnectionOption,
        help="The server; else DSTORE_URL, else what client.env says.",
    )(command)


def _admin_url(command: F) -> F:
    return _shared(
        "--admin-url",
        metavar="URL",
        cls=ConnectionOption,
        help="The server's admin API; else DSTORE_ADMIN_URL, else what client.env says.",
    )(command)


def _connecting(command: F) -> F:
    return _data(_token(_waiting(command)))


def _data(command: F) -> F:
    return _shared(
        "--data",
        type=click.Path(path_type=Path),
        metavar="DIR",
        cls=ConnectionOption,
        help="The server's data directory with client.env (dstore-data by default).",
    )(command)


def _token(command: F) -> F:
    return _shared(
        "--token-file",
        metavar="FILE",
        cls=ConnectionOption,
        help="The file with the token, - for stdin; else DSTORE_TOKEN, else client.env.",
    )(command)


def _waiting(command: F) -> F:
    curl = _shared(
        "--print-curl",
        is_flag=True,
        default=None,
        cls=ConnectionOption,
        help="Print the same request for curl, and send nothing.",
    )
    timeout = _shared(
        "--timeout",
        "timeout_s",
        type=Seconds(),
        metavar="SECONDS",
        cls=ConnectionOption,
        help=f"How long to wait for an answer ({TIMEOUT_S_DEFAULT:g} by default).",
    )
    return timeout(curl(command))
