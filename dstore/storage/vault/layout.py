"""What a vault file looks like on disk. Pure arithmetic and sealing; no files are touched here.

A database page (SQLite sees 4,096 bytes, the last 40 of them zero):

    ciphertext of (content 4,056 | note 12)   4,068 bytes
    tag                                          16
    nonce                                        12

The write-ahead log, as it lies on disk; SQLite sees a 32-byte header and frames behind it:

    header slot 0     nonce 12 | ciphertext 40 | tag 16     at byte 0
    header slot 1     the same                              at byte 512
    frame i           header 24 | page 4,096                at byte 1,024 + 4,120 i

A slot seals SQLite's header and the log's number, which grows by one at every restart of the log:
SQLite's own sequence number and salts do not tell which of two logs is the newer one, because each
connection counts for itself and begins with random salts.

A frame's header keeps page number, commit size and salts in clear (they are authenticated), and
the number of its log where SQLite puts its checksum. The checksum is a linear function of the
plaintext, so it travels sealed, in the page's note.

Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from dstore.security.page_cipher import NONCE_BYTES, TAG_BYTES, PageCipher

FORMAT_VERSION: Final = 1
WAL_SUFFIX: Final = "-wal"

PAGE_BYTES: Final = 4096
NOTE_BYTES: Final = 12  # frames known to be synced (4), SQLite's checksum of the frame (8)
RESERVED_BYTES: Final = NONCE_BYTES + TAG_BYTES + NOTE_BYTES  # 40
CONTENT_BYTES: Final = PAGE_BYTES - RESERVED_BYTES  # 4,056
SEALED_BYTES: Final = PAGE_BYTES - NONCE_BYTES  # 4,084: ciphertext and tag, before the nonce
ZERO_RESERVED: Final = bytes(RESERVED_BYTES)
EMPTY_NOTE: Final = bytes(NOTE_BYTES)

WAL_HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
FRAME_PLAIN_BYTES: Final = 16  # page number, commit size, two salts; SQLite's checksum follows
PAGE_NUMBER_BYTES: Final = 4  # a frame's header begins with its page's number, from 1
COMMIT_SIZE: Final = slice(4, 8)  # of a frame's header: the commit size, zero but at a commit
NOT_A_COMMIT: Final = bytes(4)
FRAME_BYTES: Final = FRAME_HEADER_BYTES + PAGE_BYTES
# Sealed and not yet handed to the system. 31 x 4,120 bytes stay below the 128 KiB that SQLite's own
# VFS writes at once.
HELD_FRAMES_MAX: Final = 31
LOG_NUMBER_BYTES: Final = 8
# A sector each, so that a torn write of one slot cannot reach the other.
SLOT_STRIDE_BYTES: Final = 512
SLOT_BYTES: Final = NONCE_BYTES + WAL_HEADER_BYTES + LOG_NUMBER_BYTES + TAG_BYTES
WAL_PREFIX_BYTES: Final = 2 * SLOT_STRIDE_BYTES
WAL_SHIFT_BYTES: Final = WAL_PREFIX_BYTES - WAL_HEADER_BYTES

_U32 = Struct(">I")
_U64 = Struct(">Q")
_CONTEXT = Struct(">I16sI")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKey:
    """What opens one vault file.

    `file_uuid` (16 bytes, random, never a path) and `generation` (0 ≤ generation < 2³²) are bound
    to every page, so that pages cannot travel between files or between generations of a key.
    """

    file_uuid: bytes
    generation: int
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHeader:
    """SQLite's header of a write-ahead log (32 bytes) and the log's number, from 1."""

    plain: bytes
    number: int

    @property
    def stamp(self) -> bytes:
        """The 16 bytes that every frame of this log carries: its salts and its number."""
        return self.plain[16:24] + _U64.pack(self.number)


class PageSealer:
    """Seals and opens the pages of one file. Stateless but for the key; safe between threads."""

    __slots__ = ("_main", "_open", "_seal", "_slot", "_wal")

    def __init__(self, key: FileKey) -> None:
        """Expand the key once; every later call only seals.

        Raises: ValueError: the secret is not 32 bytes or the UUID not 16.
        """
        if len(key.file_uuid) != 16 or len(key.secret) != 32:  # noqa: PLR2004 - sizes of the key
            msg = "a file key has a 16-byte UUID and a 32-byte secret"
            raise ValueError(msg)
        cipher = PageCipher(key.secret)
        self._seal, self._open = cipher.seal, cipher.open
        context = _CONTEXT.pack(FORMAT_VERSION, key.file_uuid, key.generation)
        self._main = context + b"main"
        self._wal = context + b"wal "
        self._slot = context + b"slot"

    def seal_main(self, page_index: int, page: bytes) -> bytes:
        """Seal a database page; `page_index` counts from 0."""
        sealed = self._seal(page[:CONTENT_BYTES] + EMPTY_NOTE, self._main + _U32.pack(page_index))
        return sealed[NONCE_BYTES:] + sealed[:NONCE_BYTES]

    def open_main(self, page_index: int, sealed: bytes) -> bytes | None:
        """Open a database page. Returns: SQLite's 4,096 bytes, or None if it is not authentic."""
        plain = self._open_page(sealed, self._main + _U32.pack(page_index))
        return None if plain is None else plain[:CONTENT_BYTES] + ZERO_RESERVED

    def seal_frame(self, frame_index: int, bound: bytes, body: bytes) -> bytes:
        """Seal a frame's page. `bound`: its 24 clear header bytes; `body`: content and note."""
        sealed = self._seal(body, self._wal + _U32.pack(frame_index) + bound)
        return sealed[NONCE_BYTES:] + sealed[:NONCE_BYTES]

    def open_frame(self, frame_index: int, bound: bytes, sealed: bytes) -> bytes | None:
        """Open a frame's page. Returns: content and note (4,068 bytes), or None."""
        return self._open_page(sealed, self._wal + _U32.pack(frame_index) + bound)

    def seal_slot(self, slot: int, header: "LogHeader") -> bytes:
        """Seal a log's header into slot 0 or 1."""
        plain = header.plain + _U64.pack(header.number)
        return self._seal(plain, self._slot + _U32.pack(slot))

    def open_slot(self, slot: int, sealed: bytes) -> "LogHeader | None":
        """Open a header slot. Returns: the header, or None if it is absent or not authentic."""
        if len(sealed) != SLOT_BYTES:
            return None
        plain = self._open(sealed, self._slot + _U32.pack(slot))
        if plain is None:
            return None
        number: int = _U64.unpack_from(plain, WAL_HEADER_BYTES)[0]
        return LogHeader(plain=plain[:WAL_HEADER_BYTES], number=number)

    def _open_page(self, sealed: bytes, context: bytes) -> bytes | None:
        if len(sealed) != PAGE_BYTES:
            return None
        return self._open(sealed[SEALED_BYTES:] + sealed[:SEALED_BYTES], context)


def pack_note(synced_frames: int, checksum: bytes) -> bytes:
    """Build the note sealed with a frame: how many frames were synced when it was written."""
    return _U32.pack(synced_frames) + checksum


def synced_frames(body: bytes) -> int:
    """Read from an opened frame how many frames of its log were on disk before it."""
    count: int = _U32.unpack_from(body, CONTENT_BYTES)[0]
    return count


def frame_checksum(body: bytes) -> bytes:
    """Read SQLite's 8-byte checksum from an opened frame."""
    return body[CONTENT_BYTES + 4 :]


def frame_stamp(bound: bytes) -> bytes:
    """The stamp of the log that a frame's 24 clear header bytes say it belongs to."""
    return bound[COMMIT_SIZE.stop :]


def frame_log_number(bound: bytes) -> int:
    """The number of the log that a frame's 24 clear header bytes say it belongs to."""
    number: int = _U64.unpack_from(bound, FRAME_PLAIN_BYTES)[0]
    return number
