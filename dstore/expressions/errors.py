"""What can be wrong with an expression: typed, so that the wire's sentence is written elsewhere.

An error says which complaint it is, in which expression, where, at which token, and what else the
sentence needs. `messages.sentence` is the only place that turns one into AWS's words.
"""

from __future__ import annotations

from enum import StrEnum

from dstore.model.errors import RefusalKind, Refused


class ExpressionKind(StrEnum):
    """The five places of a request where an expression may stand, as AWS names them."""

    CONDITION = "ConditionExpression"
    FILTER = "FilterExpression"
    KEY_CONDITION = "KeyConditionExpression"
    PROJECTION = "ProjectionExpression"
    UPDATE = "UpdateExpression"


class Complaint(StrEnum):
    """Every complaint; the fields of `what` that its sentence needs stand beside it."""

    # The text.
    EMPTY = "empty"
    TOO_LONG = "too_long"  # size
    SYNTAX = "syntax"  # near
    REDUNDANT_PARENTHESES = "redundant_parentheses"
    TOO_MANY_OPERATORS = "too_many_operators"  # count
    # The tree by itself.
    RESERVED_WORD = "reserved_word"
    INDEX_OUT_OF_RANGE = "index_out_of_range"
    UNKNOWN_FUNCTION = "unknown_function"
    FUNCTION_NOT_IN_CONDITION = "function_not_in_condition"
    FUNCTION_NOT_IN_UPDATE = "function_not_in_update"
    FUNCTION_MISUSED = "function_misused"
    SECTION_REPEATED = "section_repeated"
    # The tree with its names and values.
    NAME_UNDEFINED = "name_undefined"
    VALUE_UNDEFINED = "value_undefined"
    PATH_TOO_DEEP = "path_too_deep"  # levels
    OPERAND_COUNT = "operand_count"  # count
    OPERAND_TYPE = "operand_type"  # type
    ACTION_OPERAND_TYPE = "action_operand_type"  # type
    PATH_EXPECTED = "path_expected"
    NOT_DISTINCT = "not_distinct"  # path
    TYPE_NAME_UNKNOWN = "type_name_unknown"
    IN_TOO_LONG = "in_too_long"  # count
    BETWEEN_TYPES_DIFFER = "between_types_differ"  # low, high
    BETWEEN_REVERSED = "between_reversed"  # low, high
    PATHS_OVERLAP = "paths_overlap"  # one, two
    PATHS_CONFLICT = "paths_conflict"  # one, two
    # A former parameter.
    FORMER_ARGUMENT_COUNT = "former_argument_count"
    FORMER_ARGUMENT_TYPE = "former_argument_type"  # type
    FORMER_ARGUMENT_TYPES_DIFFER = "former_argument_types_differ"
    FORMER_BETWEEN_REVERSED = "former_between_reversed"
    FORMER_VALUE_MISSING = "former_value_missing"
    FORMER_DELETE_TYPE = "former_delete_type"  # type
    FORMER_ADD_TYPE = "former_add_type"  # type
    FORMER_NAME_REPEATED = "former_name_repeated"
    FORMER_KEY_COUNT = "former_key_count"
    # The maps of names and values.
    NAMES_EMPTY = "names_empty"
    NAMES_KEY_TOO_LONG = "names_key_too_long"  # size
    NAMES_KEY_INVALID = "names_key_invalid"
    NAMES_VALUE_EMPTY = "names_value_empty"
    NAMES_UNUSED = "names_unused"  # keys
    VALUES_EMPTY = "values_empty"
    VALUES_KEY_TOO_LONG = "values_key_too_long"
    VALUES_KEY_INVALID = "values_key_invalid"
    VALUES_UNUSED = "values_unused"  # keys
    SUBSTITUTIONS_TOO_LARGE = "substitutions_too_large"  # size
    # A key condition's shape, then its fit to the table.
    KEY_OPERATOR = "key_operator"
    KEY_FIRST_OPERAND = "key_first_operand"
    KEY_NESTED_OPERATION = "key_nested_operation"
    KEY_NAMES_SEVERAL = "key_names_several"
    KEY_PATH_NESTED = "key_path_nested"
    KEY_NAME_MISSING = "key_name_missing"
    KEY_CONDITION_REPEATED = "key_condition_repeated"
    KEY_CONDITIONS_TOO_MANY = "key_conditions_too_many"  # count, keys
    KEY_EQUALITY_MISSED = "key_equality_missed"  # keys, name
    KEY_ELEMENT_MISSED = "key_element_missed"  # name
    KEY_OPERATOR_UNSUPPORTED = "key_operator_unsupported"
    KEY_NOT_INDEXABLE = "key_not_indexable"
    KEY_VALUE_TYPE = "key_value_type"
    KEY_VALUE_EMPTY = "key_value_empty"  # type, name
    PARTITION_VALUE_TOO_LONG = "partition_value_too_long"
    SORT_VALUE_TOO_LONG = "sort_value_too_long"
    # An expression beside the table's keys.
    KEY_NOT_SCALAR = "key_not_scalar"  # name
    INDEX_KEY_NOT_SCALAR = "index_key_not_scalar"  # name
    KEY_UPDATED = "key_updated"  # name
    KEY_FILTERED = "key_filtered"  # name
    FORMER_KEY_FILTERED = "former_key_filtered"  # name
    # An update beside the item's content.
    ITEM_OPERAND_TYPE = "item_operand_type"
    FORMER_ITEM_TYPE = "former_item_type"
    ITEM_ATTRIBUTE_MISSING = "item_attribute_missing"
    ITEM_PATH_INVALID = "item_path_invalid"
    NUMBER_OVERFLOW = "number_overflow"
    NUMBER_UNDERFLOW = "number_underflow"
    NUMBER_PRECISION = "number_precision"


class ExpressionError(Refused):
    """An expression, or what it meets in the table or item, is refused.

    Attributes:
        complaint: which complaint it is.
        expression: where it stands; None if AWS's sentence does not name the expression.
        offset: the character at which the trouble begins; None if it has no one place.
        token: the operator, function, name or piece of text at fault; "" if there is none.
        what: what else the sentence says, by the field names beside `Complaint`.
    """

    def __init__(
        self, complaint: Complaint, *, offset: int | None = None, token: str = "", **what: object
    ) -> None:
        """Make the error; the facade that knows the expression adds it."""
        super().__init__(RefusalKind.INVALID, f"The expression is refused: {complaint}.")
        self.complaint = complaint
        self.expression: ExpressionKind | None = None
        self.offset = offset
        self.token = token
        self.what = what
