"""Every command explains itself, by an example too, and stands in docs/CLI.md."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dstore.cli.command import Leaf
from dstore.cli.program import PROGRAM, dstore

ROOT = Path(__file__).parents[2]


def leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, Leaf]]:
    """Walk the commands that do something; refuse one that is of no house class."""
    if isinstance(command, click.Group):
        ctx = click.Context(command, info_name=words[-1])
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None, name
            yield from leaves(found, (*words, name))
    else:
        assert isinstance(command, Leaf), words
        yield " ".join(words), command


LEAVES = dict(leaves(dstore, (PROGRAM,)))


@pytest.mark.parametrize("name", LEAVES)
def test_command_has_help_and_an_example(name: str) -> None:
    """--help is the documentation that is always at hand."""
    command = LEAVES[name]
    first = (command.help or "").split("\n")[0]
    assert first.endswith("."), f"{name}: the help's first line is a sentence"
    assert name in command.example
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert text, f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", LEAVES)
def test_example_can_be_typed(name: str) -> None:
    """An example that the command itself refuses is worse than none."""
    command = LEAVES[name]
    for line in command.example.splitlines():
        typed = line[line.index(name) :].partition(" > ")[0].rstrip(')"')
        args = shlex.split(typed)[len(name.split()) :]
        command.make_context(name, args, resilient_parsing=False)


def test_page_is_current() -> None:
    """docs/CLI.md is written by scripts/cli-docs; who changes a command writes it anew."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "cli-docs", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
