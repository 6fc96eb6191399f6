"""The arithmetic of the format: sizes, seals, nonces, and what they are bound to."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from dstore.storage.vault import layout
from dstore.storage.vault.layout import (
    CONTENT_BYTES,
    EMPTY_NOTE,
    PAGE_BYTES,
    SLOT_BYTES,
    FileKey,
    LogHeader,
    PageSealer,
)
from tests.support.specimen import KEY

_PAGE = Random(1).randbytes(CONTENT_BYTES) + layout.ZERO_RESERVED
_BODY = _PAGE[:CONTENT_BYTES] + layout.pack_note(7, b"checksum")
_BOUND = bytes(range(24))
_HEADER = LogHeader(plain=bytes(range(32)), number=9)


def test_sizes_agree() -> None:
    """A sealed page is as long as the page that SQLite wrote, or nothing lies where it should."""
    sealer = PageSealer(KEY)
    assert len(sealer.seal_main(0, _PAGE)) == PAGE_BYTES
    assert len(sealer.seal_frame(0, _BOUND, _BODY)) == PAGE_BYTES
    assert len(sealer.seal_slot(0, _HEADER)) == SLOT_BYTES <= layout.SLOT_STRIDE_BYTES
    assert layout.RESERVED_BYTES == 40


def test_round_trips() -> None:
    """What is sealed opens in its own place, with its note."""
    sealer = PageSealer(KEY)
    assert sealer.open_main(5, sealer.seal_main(5, _PAGE)) == _PAGE
    opened = sealer.open_frame(5, _BOUND, sealer.seal_frame(5, _BOUND, _BODY))
    assert opened == _BODY
    assert layout.synced_frames(opened) == 7
    assert layout.frame_checksum(opened) == b"checksum"
    assert sealer.open_slot(1, sealer.seal_slot(1, _HEADER)) == _HEADER


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, file_uuid=bytes(16)),
        replace(KEY, generation=4),
        replace(KEY, secret=bytes(32)),
    ],
    ids=["file", "generation", "secret"],
)
def test_seals_are_bound_to_the_key(other: FileKey) -> None:
    """A page of another file, or of an older generation of the key, is not a page of this one."""
    mine, theirs = PageSealer(KEY), PageSealer(other)
    assert theirs.open_main(0, mine.seal_main(0, _PAGE)) is None
    assert theirs.open_frame(0, _BOUND, mine.seal_frame(0, _BOUND, _BODY)) is None
    assert theirs.open_slot(0, mine.seal_slot(0, _HEADER)) is None


def test_seals_are_bound_to_the_place() -> None:
    """A page, a frame and a header open under their own number and kind only."""
    sealer = PageSealer(KEY)
    main = sealer.seal_main(1, _PAGE)
    frame = sealer.seal_frame(1, _BOUND, _BODY)
    slot = sealer.seal_slot(1, _HEADER)
    assert sealer.open_main(2, main) is None
    assert sealer.open_main(1, frame) is None
    assert sealer.open_frame(2, _BOUND, frame) is None
    assert sealer.open_frame(1, _BOUND, main) is None
    assert sealer.open_slot(0, slot) is None
    for position in range(len(_BOUND)):
        bound = bytearray(_BOUND)
        bound[position] ^= 1
        assert sealer.open_frame(1, bytes(bound), frame) is None


@pytest.mark.parametrize("length", [0, 1, 28, PAGE_BYTES - 1, PAGE_BYTES + 1])
def test_other_lengths_do_not_open(length: int) -> None:
    """A file cut short gives short reads, which are no pages."""
    sealer = PageSealer(KEY)
    sealed = (sealer.seal_main(0, _PAGE) * 2)[:length]
    assert sealer.open_main(0, sealed) is None
    assert sealer.open_frame(0, _BOUND, sealed) is None
    assert sealer.open_slot(0, sealed) is None


@pytest.mark.parametrize("key", [replace(KEY, secret=bytes(31)), replace(KEY, file_uuid=b"")])
def test_keys_of_other_sizes_are_refused(key: FileKey) -> None:
    """A shorter secret would select a weaker cipher silently."""
    with pytest.raises(ValueError, match="16-byte UUID"):
        PageSealer(key)


def test_nonces_never_repeat() -> None:
    """The same page sealed again in the same place looks different: nothing tells that it is."""
    sealer = PageSealer(KEY)
    sealed = {sealer.seal_main(0, _PAGE) for _ in range(1_000)}
    assert len({page[-12:] for page in sealed}) == 1_000


def test_stamp_tells_logs_apart() -> None:
    """Frames carry the salts and the number of their log; the number orders the logs."""
    bound = bytes(8) + _HEADER.stamp
    assert layout.frame_stamp(bound) == _HEADER.stamp
    assert layout.frame_log_number(bound) == 9
    assert len(EMPTY_NOTE) == layout.NOTE_BYTES
