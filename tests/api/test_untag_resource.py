"""UntagResource, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "UntagResource"


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(own_tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(own_tables, OP, case)
