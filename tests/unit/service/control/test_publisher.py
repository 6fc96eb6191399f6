"""How the outbox is cut into transactions of the coordinator."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dstore.base.limits import OUTBOX_BATCH_MAX, PUBLISHED_BYTES_MAX, PUBLISHED_WRITES_MAX
from dstore.service.control.publisher import groups
from dstore.storage.control.records import OutboxRecord, Publication

publication = st.builds(
    Publication,
    key=st.sampled_from([f"k{number}" for number in range(40)]),
    value=st.one_of(st.none(), st.binary(max_size=8)),
    mod_revision=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 9)),
)
batch = st.lists(publication, min_size=1, max_size=40, unique_by=lambda each: each.key)


def _records(batches: list[list[Publication]]) -> list[OutboxRecord]:
    records: list[OutboxRecord] = []
    for one in batches:
        first = len(records) + 1
        records += [
            OutboxRecord(sequence=first + place, batch=first, publication=each)
            for place, each in enumerate(one)
        ]
    return records


@given(st.lists(batch, max_size=12))
def test_groups_are_whole_batches_in_order(batches: list[list[Publication]]) -> None:
    """Nothing is lost, cut or swapped; no key twice; what may fail fails alone."""
    records = _records(batches)
    made = list(groups(records))
    assert [each for group in made for each in group] == records
    for group in made:
        names = [each.publication.key for each in group]
        assert len(set(names)) == len(names)
        if any(each.publication.mod_revision is not None for each in group):
            assert len({each.batch for each in group}) == 1
        assert len(group) <= PUBLISHED_WRITES_MAX
    for former, latter in pairwise(made):
        assert former[-1].batch != latter[0].batch


def test_a_transaction_is_bounded_in_writes_and_bytes() -> None:
    """Batches are put together only as far as the coordinator takes them at once."""
    wide = [Publication(key=f"a{n}", value=b"") for n in range(OUTBOX_BATCH_MAX)]
    more = [Publication(key=f"b{n}", value=b"") for n in range(OUTBOX_BATCH_MAX)]
    assert [len(group) for group in groups(_records([wide, more]))] == [OUTBOX_BATCH_MAX] * 2
    large = [[Publication(key=f"c{n}", value=bytes(PUBLISHED_BYTES_MAX // 2))] for n in range(3)]
    assert [len(group) for group in groups(_records(large))] == [1, 1, 1]
