"""`dstore completion`."""

from enum import StrEnum

import click
from click.shell_completion import get_completion_class

from dstore.cli.command import Leaf, Word
from dstore.cli.output import emit
from dstore.cli.program import COMPLETION_VARIABLE, PROGRAM, dstore


class Shell(StrEnum):
    """The shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@click.command(cls=Leaf, example='eval "$(dstore completion bash)"')
@click.argument("shell", type=Word(Shell), help="The shell that is to complete.")
def completion(shell: Shell) -> None:
    """Print what makes a shell complete dstore's commands.

    Have it evaluated where the shell starts: ~/.bashrc, ~/.zshrc, or for fish
    ~/.config/fish/completions/dstore.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    emit(kind(dstore, {}, PROGRAM, COMPLETION_VARIABLE).source() + "\n")
