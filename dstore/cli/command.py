"""What all commands have in common: an example in the help, aliases, and negative IDs."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import click
from click.exceptions import NoSuchCommand

# What operators type by habit, and the command's own word.
# What is taken out of a cluster is removed, what is stored is deleted; no noun has both.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "ls": ("list",),
    "rm": ("delete", "remove"),
    "info": ("show",),
}

_NEGATIVE: Final = re.compile(r"-[0-9]+")
# Marks an argument that only looks like an option; no argument of a process can contain a NUL.
_MARK: Final = "\0"
_SENTENCE_CHARS_MAX: Final = 300


class ConnectionOption(click.Option):
    """An option that says where the server is or how it is asked; help lists these apart."""


class Leaf(click.Command):
    """A command that does something: its help ends with an example."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        """Take click's own arguments and a line that one can type as it is."""
        super().__init__(*args, **kwargs)
        self.example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; a negative number where no option's value is due is an argument."""
        return super().parse_args(ctx, [_MARK + a if n else a for a, n in self._negatives(args)])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those of the connection."""
        options: list[tuple[str, str]] = []
        connection: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or isinstance(parameter, click.Argument):
                continue  # click writes the arguments itself
            (connection if isinstance(parameter, ConnectionOption) else options).append(record)
        for title, records in (("Options", options), ("Connection", connection)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the example."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def _negatives(self, args: Sequence[str]) -> list[tuple[str, bool]]:
        """Tell of each argument whether it is a negative number that no option waits for."""
        takes_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        before = ["", *args]
        return [
            (arg, _NEGATIVE.fullmatch(arg) is not None and previous not in takes_value)
            for previous, arg in zip(before, args, strict=False)
        ]


class Noun(click.Group):
    """A thing and what one does with it."""

    command_class = Leaf

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of their making, the usual one first."""
        return list(self.commands)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands, the first sentence of each whole; click would cut it."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, each.get_short_help_str(limit=_SENTENCE_CHARS_MAX))
                    for name, each in self.commands.items()
                ]
            )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name or by what operators call it."""
        find = super().get_command
        names = (cmd_name, *ALIASES.get(cmd_name, ()))
        return next((found for name in names if (found := find(ctx, name)) is not None), None)


class Text(click.ParamType[str]):
    """An argument that goes into a URL: any UTF-8 text that is not empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take the mark of a negative number away; refuse what no URL can say."""
        text = str(value).removeprefix(_MARK)
        if not text:
            self.fail("It is empty; give it at least one character.", param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("It is not UTF-8; type it in a terminal set to UTF-8.", param, ctx)
        return text


TEXT: Final = Text()


E = TypeVar("E", bound=StrEnum)


class Word(click.Choice[E]):
    """One of an enumeration's words, as they are written; click would take the members' names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """Return the word that is compared."""
        return super().normalize_choice(str(choice), ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> E:
        """Find the member, whatever the case of the letters."""
        for choice in self.choices:
            if str(value).casefold() == choice.casefold():
                return choice
        return super().convert(value, param, ctx)


def missing(ctx: click.Context, name: str, possibilities: Sequence[str]) -> NoSuchCommand:
    """Make the error of a command that does not exist, with those that sound alike."""
    return NoSuchCommand(name, possibilities=possibilities, ctx=ctx)
