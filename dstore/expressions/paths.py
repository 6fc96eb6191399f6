"""Document paths beside each other, and beside the keys of the table."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from dstore.expressions.ast import Keys
from dstore.expressions.errors import Complaint, ExpressionError


class _Branch:
    """A node of the tree that the paths so far make; `first` is the path that made it."""

    __slots__ = ("branches", "ends", "first")

    def __init__(self, first: Keys) -> None:
        self.first = first
        self.branches: dict[str | int, _Branch] = {}
        self.ends = False


def check_apart(paths: Sequence[Keys]) -> None:
    """Refuse paths of which one leads into another, or that take a thing for a list and a map.

    An overlap anywhere is told before a conflict. Cost: O(steps).
    """
    if len({path[0] for path in paths}) == len(paths):
        return
    root = _Branch(())
    conflict: ExpressionError | None = None
    for path in paths:
        branch = root
        for step in path:
            conflict = conflict or _conflict(branch, step, path)
            branch = branch.branches.setdefault(step, _Branch(path))
            if branch.ends:
                raise _pair(Complaint.PATHS_OVERLAP, branch.first, path)
        if branch.branches:
            raise _pair(Complaint.PATHS_OVERLAP, branch.first, path)
        branch.ends = True
    if conflict is not None:
        raise conflict


def _conflict(branch: _Branch, step: str | int, path: Keys) -> ExpressionError | None:
    for other, beside in branch.branches.items():
        # One step of each kind is enough to look at: the first of all, or it conflicted before.
        if type(other) is not type(step):
            return _pair(Complaint.PATHS_CONFLICT, beside.first, path)
        break
    return None


def _pair(complaint: Complaint, one: Keys, two: Keys) -> ExpressionError:
    return ExpressionError(complaint, one=one, two=two)


def check_key_paths(
    paths: Iterable[Keys], *, keys: Iterable[str], index_keys: Iterable[str] = ()
) -> None:
    """Refuse paths that lead into a key attribute, which is a scalar.

    Args:
        paths: of one expression.
        keys: the table's, partition key first.
        index_keys: those of its secondary indexes.
    """
    check_entered(entered_by(paths), keys=keys, index_keys=index_keys)


def entered_by(paths: Iterable[Keys]) -> frozenset[str | int]:
    """Name the attributes into which paths lead."""
    return frozenset([path[0] for path in paths if len(path) > 1])


def check_entered(
    entered: Container[str | int], *, keys: Iterable[str], index_keys: Iterable[str]
) -> None:
    """Refuse key attributes among those into which paths lead; see `check_key_paths`."""
    for complaint, names in (
        (Complaint.KEY_NOT_SCALAR, keys),
        (Complaint.INDEX_KEY_NOT_SCALAR, index_keys),
    ):
        for name in names:
            if name in entered:
                raise ExpressionError(complaint, name=name)


def check_avoids(paths: Iterable[Keys], *, keys: Iterable[str], complaint: Complaint) -> None:
    """Refuse paths that begin at one of the keys: of an update's targets or of Query's filter."""
    heads = {path[0] for path in paths}
    for name in keys:
        if name in heads:
            raise ExpressionError(complaint, name=name)
