"""The options of commands that speak to the DynamoDB API, and what goes with which form."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from dstore.cli.command import TEXT, Word
from dstore.cli.failures import usage

F = TypeVar("F", bound=Callable[..., Any])


class Format(StrEnum):
    """How the values of items are spelled."""

    PLAIN = "plain"
    DYNAMODB = "dynamodb"


class Consistency(StrEnum):
    """Which copy of the data answers a read."""

    STRONG = "strong"
    EVENTUAL = "eventual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitutes:
    """What stands for names and values in expressions, JSON as it was typed."""

    names: str | None
    values: str | None
    form: Format


table_argument: Final = click.argument("table", type=TEXT, help="The table.")

format_option: Final = click.option(
    "--format",
    "form",
    type=Word(Format),
    default=Format.PLAIN.value,
    show_default=True,
    help='How items, keys and values are spelled: {"n": 1} or {"n": {"N": "1"}}.',
)
consistency_option: Final = click.option(
    "--consistency",
    type=Word(Consistency),
    default=Consistency.STRONG.value,
    show_default=True,
    help="strong sees every acknowledged write, eventual may be behind.",
)
key_option: Final = click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    help="The item's key in place of ID: a JSON object, or NAME=VALUE for each key attribute.",
)
condition_option: Final = click.option(
    "--condition", metavar="EXPR", help="Only if this holds for the item that is there."
)
filter_option: Final = click.option(
    "--filter", "filter_", metavar="EXPR", help="Print only items for which this holds."
)
project_option: Final = click.option(
    "--project", metavar="PATHS", help="Print only these attributes, such as name,address.city."
)


def substitutes_options(command: F) -> F:
    """Take what stands for names and values in expressions."""
    names = click.option(
        "--names", metavar="JSON", help="""What #names stand for: '{"#n": "name"}'."""
    )
    values = click.option(
        "--values", metavar="JSON", help="""What :values stand for: '{":v": 1}'."""
    )
    return values(names(command))


def is_typed(name: str) -> bool:
    """Tell whether an option of the running command was typed, and is not its default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse_given(names: frozenset[str], because: str) -> None:
    """Refuse options that were typed and mean nothing here.

    Args:
        names: of the command's parameters.
        because: the sentence's end.
    Raises: Failure(USAGE): one of them was typed.
    """
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        name = parameter.name
        if name in names and is_typed(name or ""):
            raise usage(f"{parameter.opts[-1]} {because}")
