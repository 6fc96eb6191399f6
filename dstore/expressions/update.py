"""A resolved update against an item: pure, all or nothing.

Every value is worked out from the item as it was, then written to a copy; the item itself is never
touched, so that an update that fails has changed nothing. What can fail is told in AWS's order:

1. a target whose parent is there and is not a map or list as the path needs;
2. an operand of a wrong type, anywhere;
3. a section at a time, from the last: a target whose parent is not there, then an attribute that a
   SET reads and that is not there;
4. a result outside the range or the 38 digits of a number.

Lists keep the numbers they had: `REMOVE a[0] SET a[1] = :v` replaces what was second. An element
set behind the end is appended, several of them in the order of their numbers, without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, assert_never

from dstore.expressions.arithmetic import combined
from dstore.expressions.ast import (
    Action,
    Arithmetic,
    Call,
    Constant,
    Keys,
    Path,
    Route,
    SectionKind,
    SetValue,
    ValueRef,
)
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.evaluate import look, paths_in
from dstore.expressions.paths import check_avoids, check_entered, entered_by
from dstore.expressions.source import AnySource, FormerSource
from dstore.model import numbers
from dstore.model.sets import in_order
from dstore.model.values import Attribute, Item


class UpdateLooks(NamedTuple):
    """What an update looks at, whatever its values.

    Attributes:
        touched: the actions' targets, in their order.
        entered: the attributes into which its paths lead.
    """

    touched: tuple[Keys, ...]
    entered: frozenset[str | int]


class Update:
    """An update that is ready to be applied to items.

    Attributes:
        actions: resolved, in the order of the text.
        touched: the actions' targets, in the same order; what UPDATED_OLD and UPDATED_NEW pick out
            of the old and the new item, by a `Projection` of them.
        source: as a `Condition`'s.
        looks: what else is known of the actions whatever their values.
    """

    __slots__ = ("actions", "looks", "source", "touched")

    def __init__(
        self,
        actions: tuple[Action, ...],
        source: AnySource | None = None,
        *,
        looks: UpdateLooks | None = None,
    ) -> None:
        """Take actions that `resolve_update` has made; what they look at, if that is known."""
        self.actions = actions
        self.source = source
        if looks is None:
            touched = tuple([_target(action) for action in actions])
            looks = UpdateLooks(touched, entered_by(paths_in(*actions)))
        self.looks = looks
        self.touched = looks.touched

    def apply(
        self, item: Item | None, *, key: Mapping[str, Attribute] | None = None
    ) -> tuple[Item, tuple[Keys, ...]]:
        """Apply the update.

        Args:
            item: as it is stored, None if it is not there; never changed.
            key: the attributes that a new item begins with; needed if `item` is None.
        Returns: the new item, which shares with the old what did not change, and `touched`.
        Raises: ExpressionError: ITEM_OPERAND_TYPE (FORMER_ITEM_TYPE of AttributeUpdates),
            ITEM_PATH_INVALID, ITEM_ATTRIBUTE_MISSING, NUMBER_OVERFLOW, NUMBER_UNDERFLOW or
            NUMBER_PRECISION.
        """
        actions = self.actions
        if item is None:
            # AWS lets an update remove from nowhere in an item that is not there.
            actions = tuple(
                [
                    action
                    for action in actions
                    if action.kind is not SectionKind.REMOVE or len(_target(action)) == 1
                ]
            )
            item = dict(key or {})
        draft = _Draft(item)
        for target, value in self._planned(actions, item):
            draft.write(target, value)
        return draft.finished(), self.touched

    def _planned(self, actions: Sequence[Action], item: Item) -> list[_Step]:
        try:
            return _planned(actions, item)
        except ExpressionError as error:
            is_former = isinstance(self.source, FormerSource)
            if is_former and error.complaint is Complaint.ITEM_OPERAND_TYPE:
                raise ExpressionError(Complaint.FORMER_ITEM_TYPE) from None
            raise

    def check_keys(self, keys: Iterable[str]) -> None:
        """Refuse an update of the table's keys.

        Raises: ExpressionError: KEY_UPDATED, for the first of `keys` that is a target.
        """
        check_avoids(self.touched, keys=keys, complaint=Complaint.KEY_UPDATED)

    def check_key_paths(self, *, keys: Iterable[str], index_keys: Iterable[str] = ()) -> None:
        """Refuse paths into key attributes; raises as `paths.check_key_paths`."""
        entered = self.looks.entered
        if entered:
            check_entered(entered, keys=keys, index_keys=index_keys)

    def assigned_types(self) -> dict[str, str]:
        """Tell the types of what is put at the top level, as far as they are known by now.

        Returns: attribute name → type tag, for the check against secondary indexes' keys.
        """
        known = {}
        for action in self.actions:
            tag = _known_tag(action.value)
            if len(_target(action)) == 1 and tag is not None and action.kind in _ASSIGNING:
                known[str(_target(action)[0])] = tag
        return known

    def constants(self) -> Item:
        """Give the attributes that are SET to a value whatever the item is like."""
        return {
            str(_target(action)[0]): action.value.attribute
            for action in self.actions
            if action.kind is SectionKind.SET
            and isinstance(action.value, Constant)
            and len(_target(action)) == 1
        }


_ASSIGNING = frozenset({SectionKind.SET, SectionKind.ADD})


_Step = tuple[Keys, Attribute | None]
"""Where to write, and what: None removes what is there."""


def _planned(actions: Sequence[Action], item: Item) -> list[_Step]:
    """Work out every write from the item as it is, or fail in AWS's order."""
    parents = [_parent_state(_target(action), item) for action in actions]
    if "wrong" in parents:
        raise ExpressionError(Complaint.ITEM_PATH_INVALID)
    steps = []
    errors: dict[int, ExpressionError] = {}
    for at, action in enumerate(actions):
        step = _step(action, item)
        if isinstance(step, ExpressionError):
            errors[at] = step
        else:
            steps.append(step)
    if errors or "missing" in parents:
        _check_sections(actions, parents, errors)
        raise next(iter(errors.values()))
    return steps


def _check_sections(
    actions: Sequence[Action], parents: list[str], errors: Mapping[int, ExpressionError]
) -> None:
    """Tell of parents and attributes that are not there, from the last section to the first."""
    kinds = dict.fromkeys(action.kind for action in actions)
    for kind in reversed(kinds):
        inside = [at for at, action in enumerate(actions) if action.kind is kind]
        if any(parents[at] == "missing" for at in inside):
            raise ExpressionError(Complaint.ITEM_PATH_INVALID)
        for at in inside:
            error = errors.get(at)
            if error is not None and error.complaint is Complaint.ITEM_ATTRIBUTE_MISSING:
                raise error


def _parent_state(target: Keys, item: Item) -> str:
    """Say whether a target's parent can hold it: "fit", "wrong" type, or "missing"."""
    if len(target) == 1:
        return "fit"
    parent = look(item, target[:-1])
    if parent is None:
        return "missing"
    return "fit" if ("L" if isinstance(target[-1], int) else "M") in parent else "wrong"


def _step(action: Action, item: Item) -> _Step | ExpressionError:
    """Work out one write.

    Returns: the write; or what is wrong with it, if something worse may be wrong elsewhere.
    Raises: ExpressionError: ITEM_OPERAND_TYPE, or a number that ADD cannot hold.
    """
    target = _target(action)
    match action.kind:
        case SectionKind.REMOVE:
            return target, None
        case SectionKind.SET:
            assert action.value is not None
            try:
                value = _value(action.value, item)
            except ExpressionError as error:
                if error.complaint is Complaint.ITEM_OPERAND_TYPE:
                    raise
                return error
            if value is None:
                return ExpressionError(Complaint.ITEM_ATTRIBUTE_MISSING)
            return target, value
        case SectionKind.ADD:
            return target, _sum(look(item, target), _constant(action))
        case SectionKind.DELETE:
            return target, _difference(look(item, target), _constant(action))
        case _:
            assert_never(action.kind)


def _value(value: SetValue, item: Item) -> Attribute | None:
    """Give a SET's value; None if an attribute that it needs is not there."""
    match value:
        case Constant():
            return value.attribute
        case Route():
            return look(item, value.keys)
        case Arithmetic():
            left, right = _value(value.left, item), _value(value.right, item)
            _check_tag(left, "N")
            _check_tag(right, "N")
            if left is None or right is None:
                return None
            return {"N": combined(value.operator, left["N"], right["N"])}
        case Call():
            return _call_value(value, item)
        case Path() | ValueRef():
            raise AssertionError("the tree was not resolved")
        case _:
            assert_never(value)


def _call_value(call: Call, item: Item) -> Attribute | None:
    first, second = call.operands
    if call.function == "if_not_exists":
        present = _value(first, item)
        return _value(second, item) if present is None else present
    assert call.function == "list_append", call.function
    left, right = _value(first, item), _value(second, item)
    _check_tag(left, "L")
    _check_tag(right, "L")
    if left is None or right is None:
        return None
    return {"L": left["L"] + right["L"]}


def _check_tag(attribute: Attribute | None, tag: str) -> None:
    if attribute is not None and tag not in attribute:
        raise ExpressionError(Complaint.ITEM_OPERAND_TYPE)


def _sum(present: Attribute | None, added: Attribute) -> Attribute:
    """Do ADD: a number, or a set that gains members; what is not there is 0 or empty."""
    [(tag, content)] = added.items()
    if present is None:
        return added
    _check_tag(present, tag)
    if tag == "N":
        return {"N": combined("+", present["N"], content)}
    known = _members(tag, present[tag])
    gained = [member for key, member in _members(tag, content).items() if key not in known]
    return {tag: in_order(tag, [*present[tag], *gained])}


def _difference(present: Attribute | None, removed: Attribute) -> Attribute | None:
    """Do DELETE: a set that loses members; None if none is left, for a set is never empty."""
    if present is None:
        return None
    [(tag, content)] = removed.items()
    _check_tag(present, tag)
    lost = _members(tag, content)
    left = [member for key, member in _members(tag, present[tag]).items() if key not in lost]
    return {tag: in_order(tag, left)} if left else None


def _members(tag: str, members: list[str]) -> dict[Any, str]:
    """Give a set's members by what makes them the same: numbers by value, the rest by text."""
    if tag == "NS":
        return {numbers.parse(member): member for member in members}
    return {member: member for member in members}


def _target(action: Action) -> Keys:
    assert isinstance(action.target, Route), "the tree was not resolved"
    return action.target.keys


def _constant(action: Action) -> Attribute:
    assert isinstance(action.value, Constant), "the grammar lets nothing else stand there"
    return action.value.attribute


def _known_tag(value: SetValue | None) -> str | None:
    match value:
        case Constant():
            return value.tag
        case Arithmetic():
            return "N"
        case Call(function="list_append"):
            return "L"
        case Call(operands=(_, otherwise)):
            return _known_tag(otherwise)
        case _:
            return None


class _Draft:
    """A copy of an item, made as far down as it is written to."""

    __slots__ = ("_behind", "_item", "_owned", "_removed")

    def __init__(self, item: Item) -> None:
        self._item = dict(item)
        self._owned: dict[Keys, Any] = {}  # path → the copied content of its map or list
        self._behind: dict[Keys, list[tuple[int, Attribute]]] = {}  # list → what to append
        self._removed: dict[Keys, set[int]] = {}  # list → the elements to drop

    def write(self, target: Keys, value: Attribute | None) -> None:
        """Put a value where the target leads, or remove what is there; the parent is there."""
        last = target[-1]
        content = self._content(target[:-1])
        if isinstance(last, str):
            if value is None:
                content.pop(last, None)
            else:
                content[last] = value
        elif value is None:
            self._removed.setdefault(target[:-1], set()).add(last)
        elif last < len(content):
            content[last] = value
        else:
            self._behind.setdefault(target[:-1], []).append((last, value))

    def finished(self) -> Item:
        """Drop and append what was put off so that list numbers stayed what they were."""
        for path, removed in self._removed.items():
            content = self._owned[path]
            content[:] = [each for at, each in enumerate(content) if at not in removed]
        for path, behind in self._behind.items():
            self._owned[path] += [value for _, value in sorted(behind, key=_by_index)]
        return self._item

    def _content(self, path: Keys) -> Any:
        """Give the content of the map or list at a path, copied the first time."""
        if not path:
            return self._item
        content = self._owned.get(path)
        if content is None:
            parent = self._content(path[:-1])
            [(tag, shared)] = parent[path[-1]].items()
            content = shared.copy()
            parent[path[-1]] = {tag: content}
            self._owned[path] = content
        return content


def _by_index(entry: tuple[int, Attribute]) -> int:
    return entry[0]
