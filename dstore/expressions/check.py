"""What AWS refuses in an expression, in AWS's order.

1. `check_size`: an empty text, one over 4,096 bytes.
2. Syntax and redundant parentheses, whichever is further left (`parser`).
3. `check_condition`, `check_update`, `check_projection`: the tree by itself, in the order of the
   text: reserved words, list indexes, functions by name and place; then `check_sections` a section
   at a time, and the number of operators last.
4. Of an update, the targets' names, then `paths.check_apart`.
5. Names and values, innermost and leftmost first (`resolve`), and at each node, once what is inside
   it is known, the checks of that node's kind in the order of the tuples below.
6. Of a projection, `paths.check_apart`.
7. Names that no expression of the request used, then values (`resolve`).

What depends on the table comes after (`paths.check_key_paths`, `paths.check_avoids`), and only the
item's content can fail later. Sources: dynalite's suite, which was run against AWS, and
paritysuite/dynamodb-conformance, which is; the rest stands in tests/unit/expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, assert_never

from dstore.expressions.ast import (
    Action,
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    ConditionNode,
    Constant,
    Field,
    In,
    Index,
    Not,
    Operand,
    Or,
    Path,
    ProjectionTree,
    Route,
    Section,
    SectionKind,
    UpdateTree,
    ValueRef,
)
from dstore.expressions.compare import in_order
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.reserved_words import is_reserved

# Source: DynamoDB developer guide, "Constraints", expression parameters.
EXPRESSION_BYTES_MAX: Final = 4_096
OPERATORS_MAX: Final = 300  # functions count, parentheses and the = of SET do not
IN_OPTIONS_MAX: Final = 100
PATH_STEPS_MAX: Final = 32
INDEX_MAX: Final = 2**32 - 2  # 4294967294 passes, 4294967295 does not

_TESTS: Final = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
}
_SIZE: Final = {"size": 1}
_UPDATE_FUNCTIONS: Final = {"if_not_exists": 2, "list_append": 2}
_OPERAND_COUNTS: Final = _TESTS | _SIZE | _UPDATE_FUNCTIONS
_PATH_FIRST: Final = frozenset(
    {"attribute_exists", "attribute_not_exists", "attribute_type", "if_not_exists"}
)
_UNSIZED: Final = frozenset({"N", "BOOL", "NULL"})
_ORDERED: Final = frozenset({"S", "N", "B"})
_BYTE_STRINGS: Final = frozenset({"S", "B"})
_SETS: Final = frozenset({"SS", "NS", "BS"})
_TYPE_TAGS: Final = frozenset({"S", "SS", "N", "NS", "B", "BS", "BOOL", "NULL", "L", "M"})
# What AWS calls the type of an operand that only the item will tell: its internal names included.
_ANY_TYPE: Final = (
    "{S,SS,N,NS,B,BS,BOOL,NULL,L,M,HD,DOUBLE,FLOAT,HDS,FS,DOUBLESET,DICT,DECIMAL,INT,"
    "DECIMALSET,INTSET}"
)
_LONG_TYPES: Final = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "L": "LIST",
    "M": "MAP",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
}


def check_size(text: str) -> None:
    """Refuse an empty text, and one over 4,096 bytes before its syntax is looked at."""
    if not text:
        raise ExpressionError(Complaint.EMPTY)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > EXPRESSION_BYTES_MAX:
        raise ExpressionError(Complaint.TOO_LONG, size=size)


# ------------------------------------------------------------------------- the tree by itself


def check_condition(tree: ConditionNode) -> None:
    """Check names and functions in the order of the text, then the number of operators.

    A list stands in for recursion, since 1,300 calls fit in each other before they are counted.
    """
    operators = 0
    pending: list[tuple[ConditionNode | Operand, bool]] = [(tree, True)]
    while pending:
        node, is_condition = pending.pop()
        match node:
            case Path():
                _check_steps(node)
            case Call():
                operators += 1
                _check_condition_function(node, is_condition=is_condition)
            case And() | Or():
                operators += len(node.conditions) - 1
            case Compare() | Between() | In() | Not():
                operators += 1
            case ValueRef() | Route() | Constant():
                pass
            case _:
                assert_never(node)
        is_inner_condition = isinstance(node, And | Or | Not)
        pending += [(inner, is_inner_condition) for inner in reversed(parts_of(node))]
    _check_count(operators)


def check_update(tree: UpdateTree) -> None:
    """Check the sections in the order in which each first appears, then the operators' number."""
    operators = 0
    for kind in dict.fromkeys(section.kind for section in tree.sections):
        same = [section for section in tree.sections if section.kind is kind]
        for section in same:
            for action in section.actions:
                operators += _check_action_names(action)
        check_sections(same)
    _check_count(operators)


def check_sections(same: Sequence[Section]) -> None:
    """Refuse a second section of a kind."""
    if len(same) > 1:
        second = same[1]
        raise ExpressionError(
            Complaint.SECTION_REPEATED, offset=second.offset, token=second.kind.value
        )


def check_projection(tree: ProjectionTree) -> None:
    """Check the paths' names."""
    for path in tree.paths:
        _check_steps(path)


def _check_action_names(action: Action) -> int:
    """Check an action's names and functions; count its operators."""
    assert isinstance(action.target, Path)
    _check_steps(action.target)
    operators = 0
    value = action.value
    if isinstance(value, Arithmetic):
        operators = 1
        pending: list[tuple[Operand, bool]] = [(value.right, False), (value.left, False)]
    else:
        pending = [] if value is None else [(value, False)]
    while pending:
        node, is_nested = pending.pop()
        if isinstance(node, Path):
            _check_steps(node)
        elif isinstance(node, Call):
            operators += 1
            _check_update_function(node, is_nested=is_nested)
            pending += [(inner, True) for inner in reversed(node.operands)]
    return operators


def parts_of(node: ConditionNode | Operand) -> Sequence[ConditionNode | Operand]:
    """List the nodes right inside of a node, in the order of the text."""
    match node:
        case Path() | Route() | ValueRef() | Constant():
            return ()
        case Call():
            return node.operands
        case Compare():
            return (node.left, node.right)
        case Between():
            return (node.operand, node.low, node.high)
        case In():
            return (node.operand, *node.options)
        case Not():
            return (node.condition,)
        case And() | Or():
            return node.conditions
        case _:
            assert_never(node)


def _check_steps(path: Path) -> None:
    for step in path.steps:
        if isinstance(step, Field):
            if is_reserved(step.name):
                raise ExpressionError(Complaint.RESERVED_WORD, offset=step.offset, token=step.name)
        elif isinstance(step, Index):
            digits = step.digits
            if len(digits) > len(str(INDEX_MAX)) or int(digits) > INDEX_MAX:
                raise ExpressionError(
                    Complaint.INDEX_OUT_OF_RANGE, offset=step.offset, token=digits
                )


def _check_condition_function(call: Call, *, is_condition: bool) -> None:
    name = call.function
    if name not in _OPERAND_COUNTS:
        raise _function_error(Complaint.UNKNOWN_FUNCTION, call)
    if name in _UPDATE_FUNCTIONS:
        raise _function_error(Complaint.FUNCTION_NOT_IN_CONDITION, call)
    if is_condition != (name in _TESTS):
        raise _function_error(Complaint.FUNCTION_MISUSED, call)


def _check_update_function(call: Call, *, is_nested: bool) -> None:
    name = call.function
    if name not in _OPERAND_COUNTS:
        raise _function_error(Complaint.UNKNOWN_FUNCTION, call)
    if name not in _UPDATE_FUNCTIONS:
        raise _function_error(Complaint.FUNCTION_NOT_IN_UPDATE, call)
    if is_nested and name == "list_append":
        raise _function_error(Complaint.FUNCTION_MISUSED, call)


def _function_error(complaint: Complaint, call: Call) -> ExpressionError:
    return ExpressionError(complaint, offset=call.offset, token=call.function)


def _check_count(operators: int) -> None:
    if operators > OPERATORS_MAX:
        # AWS stops counting at the first one too many.
        raise ExpressionError(Complaint.TOO_MANY_OPERATORS, count=OPERATORS_MAX + 1)


# --------------------------------------------------------------- nodes with their names and values


def operands_distinct(node: Compare | Between | In | Call) -> None:
    """Refuse a first operand that stands there again: `a = a`."""
    first, *rest = parts_of(node)
    if isinstance(first, Route) and first in rest:
        raise ExpressionError(
            Complaint.NOT_DISTINCT, offset=node.offset, token=_operator(node), path=first.keys
        )


def operands_ordered(node: Compare | Between) -> None:
    """Refuse values without an order in a comparison that needs one."""
    if isinstance(node, Compare) and node.operator in {"=", "<>"}:
        return
    for operand in parts_of(node):
        tag = _tag_of(operand)
        if tag is not None and tag not in _ORDERED:
            raise _type_error(_operator(node), tag, node.offset)


def bounds_alike(node: Between) -> None:
    """Refuse two values of different types as bounds."""
    low, high = node.low, node.high
    if isinstance(low, Constant) and isinstance(high, Constant) and low.tag != high.tag:
        raise ExpressionError(
            Complaint.BETWEEN_TYPES_DIFFER,
            offset=node.offset,
            low=low.attribute,
            high=high.attribute,
        )


def bounds_in_order(node: Between) -> None:
    """Refuse an upper bound below the lower one."""
    low, high = node.low, node.high
    if (
        isinstance(low, Constant)
        and isinstance(high, Constant)
        and not in_order("<=", low.attribute, high.attribute)
    ):
        raise ExpressionError(
            Complaint.BETWEEN_REVERSED, offset=node.offset, low=low.attribute, high=high.attribute
        )


def options_bounded(node: In) -> None:
    """Refuse more than 100 operands behind IN."""
    if len(node.options) > IN_OPTIONS_MAX:
        raise ExpressionError(Complaint.IN_TOO_LONG, offset=node.offset, count=len(node.options))


def operands_counted(node: Call) -> None:
    """Refuse a function with too few or too many operands."""
    if len(node.operands) != _OPERAND_COUNTS[node.function]:
        raise ExpressionError(
            Complaint.OPERAND_COUNT,
            offset=node.offset,
            token=node.function,
            count=len(node.operands),
        )


def path_first(node: Call) -> None:
    """Refuse a first operand that is no path where a function asks for one."""
    if node.function in _PATH_FIRST and not isinstance(node.operands[0], Route):
        raise ExpressionError(Complaint.PATH_EXPECTED, offset=node.offset, token=node.function)


def call_distinct(node: Call) -> None:
    """Refuse `contains(a, a)`; `list_append(a, a)` and `size` are not concerned."""
    if node.function not in {"list_append", "size"}:
        operands_distinct(node)


def call_types(node: Call) -> None:
    """Refuse values of a type that the function can do nothing with."""
    match node.function:
        case "size":
            tag = _tag_of(node.operands[0])
            if tag in _UNSIZED:
                raise _type_error("size", str(tag), node.offset)
        case "begins_with":
            _check_tags(node, _BYTE_STRINGS)
        case "list_append":
            _check_tags(node, frozenset({"L"}))
        case "attribute_type":
            _check_type_name(node)
        case _:
            pass


def signs_take_numbers(node: Arithmetic) -> None:
    """Refuse values that are no numbers beside + and -."""
    for operand in (node.left, node.right):
        tag = _tag_of(operand)
        if tag not in {None, "N"}:
            raise _type_error(node.operator, str(tag), node.offset)


def check_action(action: Action) -> None:
    """Refuse what ADD cannot add (a number or set) and DELETE not delete (a set)."""
    value = action.value
    if action.kind in {SectionKind.ADD, SectionKind.DELETE} and isinstance(value, Constant):
        allowed = value.tag in _SETS or (value.tag == "N" and action.kind is SectionKind.ADD)
        if not allowed:
            raise ExpressionError(
                Complaint.ACTION_OPERAND_TYPE,
                offset=value.offset,
                token=action.kind.value,
                type=_LONG_TYPES[value.tag],
            )


COMPARE_CHECKS: Final[tuple[Callable[[Compare], None], ...]] = (
    operands_distinct,
    operands_ordered,
)
BETWEEN_CHECKS: Final[tuple[Callable[[Between], None], ...]] = (
    operands_distinct,
    operands_ordered,
    bounds_alike,
    bounds_in_order,
)
IN_CHECKS: Final[tuple[Callable[[In], None], ...]] = (options_bounded, operands_distinct)
CALL_CHECKS: Final[tuple[Callable[[Call], None], ...]] = (
    operands_counted,
    path_first,
    call_distinct,
    call_types,
)


def _check_tags(call: Call, allowed: Collection[str]) -> None:
    for operand in call.operands:
        tag = _tag_of(operand)
        if tag is not None and tag not in allowed:
            raise _type_error(call.function, tag, call.offset)


def _check_type_name(call: Call) -> None:
    named = call.operands[1]
    if not isinstance(named, Constant):
        raise _type_error(call.function, _tag_of(named) or _ANY_TYPE, call.offset)
    if named.tag != "S":
        raise _type_error(call.function, named.tag, call.offset)
    name = named.attribute["S"]
    if name not in _TYPE_TAGS:
        raise ExpressionError(Complaint.TYPE_NAME_UNKNOWN, offset=named.offset, token=name)


def _tag_of(operand: ConditionNode | Operand) -> str | None:
    """Tell an operand's type as far as it is known before the item is."""
    if isinstance(operand, Constant):
        return operand.tag
    if isinstance(operand, Call) and operand.function == "size":
        return "N"
    return None


def _operator(node: Compare | Between | In | Call) -> str:
    match node:
        case Compare():
            return node.operator
        case Between():
            return "BETWEEN"
        case In():
            return "IN"
        case Call():
            return node.function
        case _:
            assert_never(node)


def _type_error(operator: str, tag: str, offset: int) -> ExpressionError:
    return ExpressionError(Complaint.OPERAND_TYPE, offset=offset, token=operator, type=tag)
