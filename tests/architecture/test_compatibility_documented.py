"""docs/COMPATIBILITY.md is whole and true: every operation, and a test for each difference."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from dstore.api.dynamodb.actions import ACTIONS
from tests.support.compatibility import PAGE, named_tests, offered_and_not, rows, section
from tests.support.dynamodb import model
from tests.support.server import ROOT

DIFFERENCES = rows(section("Differences"))


@cache
def functions(path: str) -> frozenset[str]:
    """Return the names of a file's functions."""
    tree = ast.parse((ROOT / path).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_operation_is_listed() -> None:
    """What the model of AWS's own client knows is offered, or is said not to be."""
    offered, unknown = offered_and_not()
    assert offered == set(ACTIONS)
    assert offered & unknown == set()
    assert set(model().operation_names) - offered - unknown == set()


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row[0])
def test_every_difference_is_pinned(row: list[str]) -> None:
    """What AWS does, what dStore does, why, and a test that fails when it changes."""
    assert len(row) == 5
    assert all(row)
    assert named_tests(row[4])


def test_every_named_test_exists() -> None:
    """A test that was renamed takes the page along."""
    named = named_tests(PAGE.read_text())
    assert len(named) >= len(DIFFERENCES)
    assert [(path, name) for path, name in named if name not in functions(path)] == []
