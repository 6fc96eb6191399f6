"""The JSON objects of a file or of stdin, one after the other, however long it is.

One object, one a line (JSON Lines), or an array of them; compressed by gzip, as AWS's exports are,
or not. Only where an object ends is found out here; what is in it is for the strict decoder.
"""

import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from dstore.base.limits import KIB
from dstore.cli.bodies import BODY_BYTES_MAX
from dstore.cli.curl import STDIN
from dstore.cli.failures import usage
from dstore.cli.output import note

_CHUNK_BYTES: Final = 256 * KIB  # also the steps of a progress bar
_GZIP: Final = b"\x1f\x8b"
_MARK: Final = b"\xef\xbb\xbf"  # a byte order mark, which some editors begin a file with
# Whatever is no brace outside of a string, then one; or a string that has no end yet.
_BRACE: Final = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+(?P<brace>["{}])', re.DOTALL)
_GAP: Final = re.compile(rb"[ \t\r\n]*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object and the line on which it begins, from 1."""

    text: bytes
    line: int


class ItemFile:
    """A file to read objects from; `size_bytes` is None where nobody knows it, as of a pipe."""

    def __init__(self, name: str) -> None:
        """Open it.

        Raises: Failure(USAGE): it can't be read.
        """
        self.name = "stdin" if name == STDIN else name
        self.size_bytes: int | None = None
        try:
            if name == STDIN:
                if sys.stdin.isatty():
                    note("Type JSON objects and end them with Ctrl-D.")
                self._raw: BinaryIO = sys.stdin.buffer
            else:
                self._raw = Path(name).open("rb")  # noqa: SIM115 - close() is the caller's
                status = os.fstat(self._raw.fileno())
                self.size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
        except OSError as error:
            raise usage(f"{name} can't be read: {error.strerror}.") from None

    def close(self) -> None:
        """Close it, stdin excepted."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def read_bytes(self) -> int:
        """Tell how much of it has been read, of `size_bytes`."""
        return self._raw.tell() if self.size_bytes is not None else 0

    def objects(self) -> Iterator[Found]:
        """Find the objects.

        Raises: Failure(USAGE): something else stands there, or an object or the array has no end.
        """
        scanner = _Scanner(name=self.name)
        try:
            head = self._raw.read(_CHUNK_BYTES)
            rest: BinaryIO | gzip.GzipFile = self._raw
            if head.startswith(_GZIP):
                rest = gzip.GzipFile(fileobj=_Joined(head, self._raw))
                head = rest.read(_CHUNK_BYTES)
            yield from scanner.take(head.removeprefix(_MARK))
            while head:
                head = rest.read(_CHUNK_BYTES)
                yield from scanner.take(head)
        except EOFError:
            raise usage(f"{self.name} breaks off: its gzip stream has no end.") from None
        except (OSError, zlib.error) as error:  # gzip's own are OSErrors without a strerror
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise usage(f"{self.name} can't be read: {reason}.") from None
        scanner.end()


class _Joined(io.RawIOBase):
    """What was read already, then the rest: stdin can't be wound back."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._head = io.BytesIO(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._head.read(size) or self._rest.read(size)


@dataclass(slots=True, kw_only=True)
class _Scanner:
    """Cut objects out of chunks; between calls it remembers where in an object it is."""

    name: str
    buffer: bytes = field(default=b"", repr=False)
    start: int = 0  # of the object in the buffer, or of what is before it
    at: int = 0  # where to go on in the buffer
    depth: int = 0  # braces that are open
    line: int = 1  # of `start`
    in_array: bool = False
    is_over: bool = False  # the array is closed
    wants: bytes = b"[{"  # what may stand next outside of an object

    def take(self, chunk: bytes) -> Iterator[Found]:
        """Take more, and give the objects that are whole."""
        self.buffer = self.buffer[self.start :] + chunk
        self.at -= self.start
        self.start = 0
        while self._is_at_object():
            found = self._object()
            if found is None:
                break
            yield found
        if len(self.buffer) - self.start > BODY_BYTES_MAX:
            raise usage(
                f"{self.name} has an object of more than {BODY_BYTES_MAX} bytes at line "
                f"{self.line}; write its items one a line: jq -c '.Items[]'."
            )

    def end(self) -> None:
        """Check that nothing is missing.

        Raises: Failure(USAGE): the file breaks off.
        """
        if self.depth:
            raise usage(f"{self.name} breaks off in the object that begins at line {self.line}.")
        if self.in_array and not self.is_over:
            raise usage(f"{self.name} breaks off: its array has no end.")

    def _is_at_object(self) -> bool:
        """Go to the next object; False if the buffer ends before it."""
        while not self.depth:
            gap = _GAP.match(self.buffer, self.start)
            assert gap is not None, "it matches nothing too"
            self._go_to(gap.end())
            mark = self.buffer[self.start : self.start + 1]
            if not mark:
                return False
            if mark not in self.wants or self.is_over:
                self._refuse()
            if mark == b"{":
                self.depth, self.at = 1, self.start + 1
                return True
            if mark == b"[":
                self.in_array, self.wants = True, b"{]"
            elif mark == b",":
                self.wants = b"{"
            else:
                self.is_over = True
            self._go_to(self.start + 1)
        return True

    def _object(self) -> Found | None:
        """Go to the object's end; None if the buffer ends before it."""
        while match := _BRACE.match(self.buffer, self.at):
            brace = match["brace"]
            if brace == b'"':
                break  # the rest of the string is to come
            self.at = match.end()
            self.depth += 1 if brace == b"{" else -1
            if not self.depth:
                found = Found(text=self.buffer[self.start : self.at], line=self.line)
                self._go_to(self.at)
                self.wants = b",]" if self.in_array else b"{"
                return found
        return None

    def _go_to(self, offset: int) -> None:
        self.line += self.buffer.count(b"\n", self.start, offset)
        self.start = self.at = offset

    def _refuse(self) -> NoReturn:
        raise usage(
            f"{self.name} has something else than a JSON object at line {self.line}: write "
            "objects, one after the other or in one array."
        )
