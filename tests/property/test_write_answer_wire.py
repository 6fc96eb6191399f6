"""What came of a write arrives as it left: what was asked, or the refusal with all it says."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.model.errors import ConditionFailed, Refused, Unknown
from dstore.model.keys import KeyKind
from dstore.model.tables import IndexKey
from dstore.service.item_writes import ItemMisfit, Misfit
from dstore.service.items import ItemKey, whole_item
from dstore.service.mutations import Mutation
from dstore.service.write_answer_wire import WriteResult, decode_result, encode_result
from dstore.service.write_answers import NOTHING_ASKED, ReturnValues, WriteAsk, Written, written
from dstore.storage.entries import Entry
from dstore.storage.range_writer import Applied, Delete
from tests.support.mutations import entries, mutations

asks = st.builds(WriteAsk, st.sampled_from(ReturnValues), st.booleans())


def result_of(
    mutation: Mutation, previous: Entry | None, *, ask: WriteAsk, key: ItemKey
) -> WriteResult:
    try:
        outcome = mutation.apply(previous)
    except (Refused, ConditionFailed) as refusal:
        return refusal
    version = None if isinstance(outcome, Delete) else "9"
    applied = Applied(
        existed=previous is not None, version=version, previous=previous, outcome=outcome
    )
    return written(applied, ask, key=key.attributes, indexes=())


def seen(result: WriteResult) -> object:
    """Give all of a result that anybody may look at."""
    if isinstance(result, Written):
        return result
    return type(result), result.message, vars(result)


@given(mutations(), entries, asks)
@settings(max_examples=300, deadline=None)
def test_results_arrive(
    planned: tuple[ItemKey, Mutation], previous: Entry | None, ask: WriteAsk
) -> None:
    """A refusal is of its own type and has its own sentence at the other end too."""
    key, mutation = planned
    result = result_of(mutation, previous, ask=ask, key=key)
    assert seen(result) == seen(decode_result(encode_result(result)))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ask), type=WriteAsk) == ask


@given(mutations(), entries)
@settings(max_examples=100, deadline=None)
def test_nothing_but_what_was_asked(
    planned: tuple[ItemKey, Mutation], previous: Entry | None
) -> None:
    """Who asks nothing hears of no item; who asks for the old one hears that."""
    key, mutation = planned
    result = result_of(mutation, previous, ask=NOTHING_ASKED, key=key)
    if isinstance(result, Written):
        assert (result.attributes, result.before_bytes, result.after_bytes) == (None, 0, 0)
        old = result_of(mutation, previous, ask=WriteAsk(ReturnValues.ALL_OLD), key=key)
        assert isinstance(old, Written)
        shown = None if old.attributes is None else msgspec.json.decode(old.attributes)
        assert shown == (None if previous is None else whole_item(previous, key.attributes))


@pytest.mark.parametrize("misfit", list(Misfit))
@pytest.mark.parametrize(
    "key",
    [None, IndexKey(attribute="a", kind=KeyKind.NUMBER, index="by_a", is_partition=True)],
)
def test_misfits_arrive(misfit: Misfit, key: IndexKey | None) -> None:
    """Each surface has its own sentence for what an index refuses."""
    if key is None and misfit not in {Misfit.TOO_LARGE, Misfit.TOO_DEEP}:
        return
    sent = ItemMisfit(misfit, key=key)
    assert seen(sent) == seen(decode_result(encode_result(sent)))


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_junk_is_no_result(junk: bytes) -> None:
    """Bytes of a peer at fault leave the write's outcome open."""
    with suppress(Unknown):
        decode_result(junk[:1] and b"\x01" + junk[1:])
    with pytest.raises(Unknown):
        decode_result(b"\x02" + junk)
