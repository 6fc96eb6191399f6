"""Where dynalite answers otherwise than the real service, and which source says so.

`scripts/compare-dynalite` runs the cases of the DynamoDB API against dynalite. A case of this table
must fail there: an entry whose case passes is out of date and fails the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Cases on which dynalite is wrong.

    Attributes:
        cases: the file and the test's id, `test_put_item.py::test_refusals[name]`; `*` matches all.
        why: what dynalite does.
        source: who says what the real service does.
    """

    cases: str
    why: str
    source: str


DYNALITE_DIFFERS: Final[tuple[Difference, ...]] = (
    Difference(
        cases="test_aws_cli.py::test_what_is_told_of_a_table_and_the_account",
        why="knows neither DescribeContinuousBackups nor DescribeLimits nor DescribeEndpoints",
        source="Amazon DynamoDB API Reference, Actions",
    ),
)


def difference_of(node_id: str) -> str | None:
    """Find why a test is expected to fail against dynalite, None if it is expected to pass."""
    case = node_id.rpartition("/")[2] if "[" not in node_id else _short(node_id)
    for known in DYNALITE_DIFFERS:
        # The brackets of a test's id are no character class.
        if fnmatchcase(case, known.cases.replace("[", "[[]")):
            return f"{known.why} ({known.source})"
    return None


def _short(node_id: str) -> str:
    path, bracket, parameters = node_id.partition("[")
    return path.rpartition("/")[2] + bracket + parameters
