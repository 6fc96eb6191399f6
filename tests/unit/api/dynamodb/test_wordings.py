"""Which operation says what is wrong with a request in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import pytest

from dstore.api.dynamodb.attributes import check_attribute
from dstore.api.dynamodb.errors import AwsError, resource_not_found, serialization, validation
from dstore.api.dynamodb.wordings import ENVELOPE, enveloped, newly, of_update, of_write
from dstore.expressions import ExpressionError
from dstore.expressions.errors import Complaint, ExpressionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.api.dynamodb.action import Call

_CALL: Final = cast("Call", None)
_NUMERIC: Final = "The parameter cannot be converted to a numeric value"
_DUPLICATES: Final = "One or more parameter values were invalid: Input collection "


def _reader_of(value: dict[str, Any]) -> Callable[[Call], Any]:
    return lambda _: check_attribute(value)


def _raises(error: Exception) -> Callable[[Call], NoReturn]:
    def read(_: Call) -> NoReturn:
        raise error

    return read


@pytest.mark.parametrize(
    ("value", "newer"),
    [
        ({"N": ""}, f"{_NUMERIC}: "),
        ({"N": "a"}, f"{_NUMERIC}: a"),
        ({"SS": ["b", "a", "b"]}, f'{_DUPLICATES}["a", "b", "b"] contains duplicates.'),
        ({"NS": ["1", "1.0"]}, f"{_DUPLICATES}contains duplicates."),
    ],
)
def test_newer_words_are_the_same_in_the_envelope_and_without_it(
    value: dict[str, Any], newer: str
) -> None:
    """One writing of an item envelopes what one reading says bare (paritysuite valueLayers)."""
    with pytest.raises(AwsError) as read:
        newly(_reader_of(value), _CALL)
    with pytest.raises(AwsError) as written:
        enveloped(_reader_of(value), _CALL)
    assert (read.value.text, written.value.text) == (newer, f"{ENVELOPE}{newer}")


@pytest.mark.parametrize("value", [{}, {"S": "a", "N": "1"}])
def test_a_value_of_no_one_type_is_bare(value: dict[str, Any]) -> None:
    """It stands before the checks that have an envelope (nubo-db/dynoxide#152)."""
    with pytest.raises(AwsError, match=r"^Supplied AttributeValue"):
        enveloped(_reader_of(value), _CALL)


@pytest.mark.parametrize("wording", [enveloped, newly])
@pytest.mark.parametrize("error", [resource_not_found(), serialization("a"), serialization()])
def test_other_errors_pass(wording: Callable[..., Any], error: AwsError) -> None:
    """Only a ValidationException has words of a generation: no other may change its name."""
    with pytest.raises(AwsError) as raised:
        wording(_raises(error), _CALL)
    assert raised.value is error


def test_expressions_are_enveloped_too() -> None:
    """An error of an expression becomes DynamoDB's before it is put into the envelope."""
    error = ExpressionError(Complaint.EMPTY)
    error.expression = ExpressionKind.CONDITION
    with pytest.raises(AwsError, match=f"{ENVELOPE}Invalid ConditionExpression: The expression"):
        enveloped(_raises(error), _CALL)


@pytest.mark.parametrize("wording", [enveloped, newly])
def test_what_can_be_read_is_given_back(wording: Callable[..., Any]) -> None:
    """The words are of errors alone."""
    assert wording(lambda _: "read", _CALL) == "read"


def test_a_bare_error_is_not_enveloped() -> None:
    """What is too large is told outside the envelope, as AWS does (dynoxide#152)."""
    with pytest.raises(AwsError, match=r"^too large$"):
        enveloped(_raises(validation("too large", is_bare=True)), _CALL)


_NO_NAME: Final = (
    "Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or "
    "equal to 1"
)
_NO_KEY: Final = "Value null at 'key' failed to satisfy constraint: Member must not be null"


@pytest.mark.parametrize("tell", [of_write, of_update])
def test_an_empty_name_hides_the_rest_unless_a_member_is_missing(
    tell: Callable[[Sequence[str]], str],
) -> None:
    """Which of both generations tells of members is found by what is there (paritysuite)."""
    alone = ENVELOPE + _NO_NAME.replace("Value '' at 'tableName'", "Value at 'TableName'")
    assert tell([_NO_NAME]) == tell([_NO_NAME, "another"]) == alone
    assert tell([_NO_NAME, _NO_KEY]) == f"2 validation errors detected: {_NO_NAME}; {_NO_KEY}"
    assert tell(["another"]) == f"{ENVELOPE}another"
