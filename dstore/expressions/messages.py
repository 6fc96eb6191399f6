"""An expression's error → AWS's sentence: the one place that writes them.

The sources stand beside the tests (tests/unit/expressions). What an operation puts around a
sentence ("1 validation error detected: ") is the API's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dstore.expressions.errors import Complaint, ExpressionError

_INVALID = "One or more parameter values were invalid: "
_OPERAND_TYPE = "Incorrect operand type for operator or function; "
_REWRITE = "must remove or rewrite one of these paths; path one: {one}, path two: {two}"
_BETWEEN_BOUNDS = "lower bound operand: AttributeValue: {low}, upper bound operand: "
_KEY_TOO_LONG = "The expression attribute map contains a key that is too long;"
_NO_NESTING = "list random access '[]' and map lookup '.' are not allowed: "

_SENTENCES: Final[Mapping[Complaint, str]] = {
    Complaint.EMPTY: "The expression can not be empty;",
    Complaint.TOO_LONG: "Expression size has exceeded the maximum allowed size;",
    Complaint.SYNTAX: 'Syntax error; token: "{token}", near: "{near}"',
    Complaint.REDUNDANT_PARENTHESES: "The expression has redundant parentheses;",
    Complaint.TOO_MANY_OPERATORS: (
        "The expression contains too many operators; operator count: {count}"
    ),
    Complaint.RESERVED_WORD: "Attribute name is a reserved keyword; reserved keyword: {token}",
    Complaint.INDEX_OUT_OF_RANGE: (
        "List index is not within the allowable range; index: [{token}]"
    ),
    Complaint.UNKNOWN_FUNCTION: "Invalid function name; function: {token}",
    Complaint.FUNCTION_NOT_IN_CONDITION: (
        "The function is not allowed in a condition expression; function: {token}"
    ),
    Complaint.FUNCTION_NOT_IN_UPDATE: (
        "The function is not allowed in an update expression; function: {token}"
    ),
    Complaint.FUNCTION_MISUSED: (
        "The function is not allowed to be used this way in an expression; function: {token}"
    ),
    Complaint.SECTION_REPEATED: (
        'The "{token}" section can only be used once in an update expression;'
    ),
    Complaint.NAME_UNDEFINED: (
        "An expression attribute name used in the document path is not defined; "
        "attribute name: {token}"
    ),
    Complaint.VALUE_UNDEFINED: (
        "An expression attribute value used in expression is not defined; attribute value: {token}"
    ),
    Complaint.PATH_TOO_DEEP: (
        "The document path has too many nesting levels; nesting levels: {levels}"
    ),
    Complaint.OPERAND_COUNT: (
        "Incorrect number of operands for operator or function; "
        "operator or function: {token}, number of operands: {count}"
    ),
    Complaint.OPERAND_TYPE: (_OPERAND_TYPE + "operator or function: {token}, operand type: {type}"),
    Complaint.ACTION_OPERAND_TYPE: (
        _OPERAND_TYPE
        + "operator: {token}, operand type: {type}, typeSet: ALLOWED_FOR_{token}_OPERAND"
    ),
    Complaint.PATH_EXPECTED: (
        "Operator or function requires a document path; operator or function: {token}"
    ),
    Complaint.NOT_DISTINCT: (
        "The first operand must be distinct from the remaining operands for this operator or "
        "function; operator: {token}, first operand: {path}"
    ),
    Complaint.TYPE_NAME_UNKNOWN: (
        "Invalid attribute type name found; type: {token}, "
        "valid types: {{S,SS,N,NS,B,BS,BOOL,NULL,L,M}}"
    ),
    Complaint.IN_TOO_LONG: (
        "The IN operator is provided with too many operands; number of operands: {count}"
    ),
    Complaint.BETWEEN_TYPES_DIFFER: (
        "The BETWEEN operator requires same data type for lower and upper bounds; "
        + _BETWEEN_BOUNDS
        + "AttributeValue: {high}"
    ),
    Complaint.BETWEEN_REVERSED: (
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
        + _BETWEEN_BOUNDS
        + "AttributeValue: {high}"
    ),
    Complaint.PATHS_OVERLAP: "Two document paths overlap with each other; " + _REWRITE,
    Complaint.PATHS_CONFLICT: "Two document paths conflict with each other; " + _REWRITE,
    Complaint.FORMER_ARGUMENT_COUNT: (
        _INVALID + "Invalid number of argument(s) for the {token} ComparisonOperator"
    ),
    Complaint.FORMER_ARGUMENT_TYPE: (
        _INVALID + "ComparisonOperator {token} is not valid for {type} AttributeValue type"
    ),
    Complaint.FORMER_ARGUMENT_TYPES_DIFFER: (
        _INVALID + "AttributeValues inside AttributeValueList must be of same type"
    ),
    Complaint.FORMER_BETWEEN_REVERSED: (
        "The BETWEEN condition was provided a range where the lower bound is greater than the "
        "upper bound"
    ),
    Complaint.FORMER_VALUE_MISSING: (
        _INVALID + "Only DELETE action is allowed when no attribute value is specified"
    ),
    Complaint.FORMER_DELETE_TYPE: (
        _INVALID + "DELETE action with value is not supported for the type {type}"
    ),
    Complaint.FORMER_ADD_TYPE: _INVALID + "ADD action is not supported for the type {type}",
    Complaint.FORMER_NAME_REPEATED: _INVALID + "Duplicate value in attribute name: {token}",
    Complaint.FORMER_KEY_COUNT: "Conditions can be of length 1 or 2 only",
    Complaint.NAMES_EMPTY: "ExpressionAttributeNames must not be empty",
    Complaint.NAMES_KEY_TOO_LONG: (
        f"ExpressionAttributeNames contains invalid key: {_KEY_TOO_LONG} size of key: {{size}}"
    ),
    Complaint.NAMES_KEY_INVALID: (
        'ExpressionAttributeNames contains invalid key: Syntax error; key: "{token}"'
    ),
    Complaint.NAMES_VALUE_EMPTY: (
        "ExpressionAttributeNames contains invalid value: Empty attribute name for key {token}"
    ),
    Complaint.NAMES_UNUSED: (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {{{keys}}}"
    ),
    Complaint.VALUES_EMPTY: "ExpressionAttributeValues must not be empty",
    Complaint.VALUES_KEY_TOO_LONG: (
        f"ExpressionAttributeValues contains invalid key: {_KEY_TOO_LONG}"
    ),
    Complaint.VALUES_KEY_INVALID: (
        'ExpressionAttributeValues contains invalid key: Syntax error; key: "{token}"'
    ),
    Complaint.VALUES_UNUSED: (
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {{{keys}}}"
    ),
    Complaint.SUBSTITUTIONS_TOO_LARGE: (
        "Expression size has exceeded the maximum allowed size; expression size: {size}"
    ),
    Complaint.KEY_OPERATOR: "Invalid operator used in KeyConditionExpression: {token}",
    Complaint.KEY_FIRST_OPERAND: (
        "Invalid condition in KeyConditionExpression: {token} operator must have the key "
        "attribute as its first operand"
    ),
    Complaint.KEY_NESTED_OPERATION: "KeyConditionExpressions cannot contain nested operations",
    Complaint.KEY_NAMES_SEVERAL: (
        "Invalid condition in KeyConditionExpression: "
        "Multiple attribute names used in one condition"
    ),
    Complaint.KEY_PATH_NESTED: (
        "KeyConditionExpressions cannot have conditions on nested attributes"
    ),
    Complaint.KEY_NAME_MISSING: (
        "Invalid condition in KeyConditionExpression: No key attribute specified"
    ),
    Complaint.KEY_CONDITION_REPEATED: (
        "KeyConditionExpressions must only contain one condition per key"
    ),
    Complaint.KEY_CONDITIONS_TOO_MANY: (
        "The number of query conditions ({count}) exceeds the number of key attributes defined "
        "in the schema ({keys})"
    ),
    Complaint.KEY_EQUALITY_MISSED: (
        "RANGE key attributes {keys} must have equality conditions specified in the query because "
        "a condition is present on key attribute {name}"
    ),
    Complaint.KEY_ELEMENT_MISSED: "Query condition missed key schema element: {name}",
    Complaint.KEY_OPERATOR_UNSUPPORTED: "Query key condition not supported",
    Complaint.KEY_NOT_INDEXABLE: ("Attempted conditional constraint is not an indexable operation"),
    Complaint.KEY_VALUE_TYPE: (_INVALID + "Condition parameter type does not match schema type"),
    Complaint.KEY_VALUE_EMPTY: (
        "One or more parameter values are not valid. The AttributeValue for a key attribute "
        "cannot contain an empty {type} value. Key: {name}"
    ),
    Complaint.PARTITION_VALUE_TOO_LONG: (
        _INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes"
    ),
    Complaint.SORT_VALUE_TOO_LONG: (
        _INVALID + "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    ),
    Complaint.KEY_NOT_SCALAR: f"Key attributes must be scalars; {_NO_NESTING}Key: {{name}}",
    Complaint.INDEX_KEY_NOT_SCALAR: (
        f"Key attributes must be scalars; {_NO_NESTING}IndexKey: {{name}}"
    ),
    Complaint.KEY_UPDATED: (
        _INVALID + "Cannot update attribute {name}. This attribute is part of the key"
    ),
    Complaint.KEY_FILTERED: (
        "Filter Expression can only contain non-primary key attributes: "
        "Primary key attribute: {name}"
    ),
    Complaint.FORMER_KEY_FILTERED: (
        "QueryFilter can only contain non-primary key attributes: Primary key attribute: {name}"
    ),
    Complaint.FORMER_ITEM_TYPE: "Type mismatch for attribute to update",
    Complaint.ITEM_OPERAND_TYPE: ("An operand in the update expression has an incorrect data type"),
    Complaint.ITEM_ATTRIBUTE_MISSING: (
        "The provided expression refers to an attribute that does not exist in the item"
    ),
    Complaint.ITEM_PATH_INVALID: (
        "The document path provided in the update expression is invalid for update"
    ),
    Complaint.NUMBER_OVERFLOW: (
        "Number overflow. Attempting to store a number with magnitude larger than supported range"
    ),
    Complaint.NUMBER_UNDERFLOW: (
        "Number underflow. Attempting to store a number with magnitude smaller than supported range"
    ),
    Complaint.NUMBER_PRECISION: ("Attempting to store more than 38 significant digits in a Number"),
}


def sentence(error: ExpressionError) -> str:
    """Write AWS's sentence; total over `Complaint`.

    AWS says the size of a text that is too long for Scan's FilterExpression and no longer for the
    others; `error.what["size"]` has it.
    """
    fields = {name: _spelled(value) for name, value in error.what.items()}
    said = _SENTENCES[error.complaint].format(token=error.token, **fields)
    return said if error.expression is None else f"Invalid {error.expression}: {said}"


def _spelled(value: object) -> str:
    """Spell what a sentence quotes: a path as [a, [0]], an attribute as {N:5}."""
    match value:
        case tuple():
            steps = (f"[{step}]" if isinstance(step, int) else str(step) for step in value)
            return f"[{', '.join(steps)}]"
        case dict():
            [(tag, content)] = value.items()
            return f"{{{tag}:{content}}}"
        case list():
            return ", ".join(value)
        case _:
            return str(value)
