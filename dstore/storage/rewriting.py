"""Write a vault file anew under another key, so that no crash leaves one that nobody can open.

1. `stage`: every page of `<file>` is opened and sealed into `<file>.g<generation>`, durably.
2. The new generation and its wrapped key are recorded where the file's key is kept: in one
   transaction of the node database, or in `node.wraps`. From here on the new file is the file.
3. `promote`: it takes the old one's name. The old pages are then overwritten as well as the disk
   allows; what a solid-state disk keeps of them is beyond any program.

A start calls `settle` before it opens the file: a staged file of the recorded generation is
promoted, any other is deleted. It needs no key for that.

The file must be closed, its log folded in. All functions wait for the disk; a gigabyte takes some
seconds of a core.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from dstore.base.limits import RETRY_AFTER_MS
from dstore.base.private_files import sync_directory
from dstore.model.errors import Corrupt, Unavailable, UnavailableKind
from dstore.storage.failures import translated
from dstore.storage.vault.layout import PAGE_BYTES, WAL_SUFFIX, PageSealer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader, FileIO
    from pathlib import Path

    from dstore.storage.vault.layout import FileKey

_STAGED: Final = ".g"
_CHUNK_BYTES: Final = 256 * PAGE_BYTES
_PAGES_AT: Final = slice(28, 32)  # in page 1: how many pages the database has
_ZEROS: Final = bytes(_CHUNK_BYTES)
_SHM_SUFFIX: Final = "-shm"


def staged_path(path: Path, generation: int) -> Path:
    """Where the pages of a coming generation wait for their name."""
    return path.with_name(f"{path.name}{_STAGED}{generation}")


def stage(path: Path, *, before: FileKey, after: FileKey) -> None:
    """Seal a closed file's pages under `after` into its staged file, durably.

    Args:
        path: the file; its log was folded in when it was closed.
        before: what opens it.
        after: of a higher generation.

    Raises:
        Corrupt: a page is damaged or missing; nothing was changed.
        Unavailable: its log is not folded in, or there is not room for a second copy; the staged
            file is gone again.
    """
    assert after.generation > before.generation
    target = staged_path(path, after.generation)
    try:
        with translated(str(path)):
            _refuse_log(path)
            _copy(path, target, before=PageSealer(before), after=PageSealer(after))
            sync_directory(path.parent)
    except BaseException:
        discard(path, after.generation)
        raise


def discard(path: Path, generation: int) -> None:
    """Delete a staged file that is not to be; the next start would, too."""
    with suppress(OSError):
        staged_path(path, generation).unlink(missing_ok=True)


def promote(path: Path, generation: int) -> None:
    """Give a staged file its name, durably, and overwrite the pages of the former one."""
    with translated(str(path)), overwriting_former(path):
        staged_path(path, generation).replace(path)
        for suffix in (WAL_SUFFIX, _SHM_SUFFIX):  # an empty log of the former generation
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        sync_directory(path.parent)


@contextmanager
def overwriting_former(path: Path) -> Iterator[None]:
    """Overwrite what a file held, as well as the disk allows, after the body has replaced it.

    The former file is held open by its content and not by its name, so the new one is never met;
    it is left alone if the body fails, or has not replaced it. A crash leaves it to the disk.
    """
    with path.open("r+b", buffering=0) as former:
        yield
        with suppress(OSError):  # the replacement stands in any case
            if not os.path.samestat(os.fstat(former.fileno()), path.stat()):
                _overwrite(former)


def settle(path: Path, generation: int) -> None:
    """Finish or undo what a crash has left of a rewrite.

    Args:
        path: the file, not open.
        generation: as recorded with its key.
    """
    with translated(str(path)):
        found = list(path.parent.glob(f"{path.name}{_STAGED}*"))
    _settle(path, generation, found)


def settle_all(folder: Path, generations: Mapping[str, int]) -> None:
    """Do the same for every range file under `folder`.

    Args:
        folder: of range files, `<two characters>/<range id>.db`; none is open.
        generations: by range id, as recorded. What belongs to no range is left for `orphans`.
    """
    with translated(str(folder)):
        found = sorted(folder.glob(f"??/*.db{_STAGED}*"))
    for staged in found:
        name = staged.name.rpartition(_STAGED)[0]
        generation = generations.get(name.removesuffix(".db"))
        if generation is not None:
            _settle(staged.with_name(name), generation, [staged])


def _settle(path: Path, generation: int, found: Sequence[Path]) -> None:
    wanted = staged_path(path, generation)
    for staged in found:
        if staged != wanted:
            with translated(str(path)):
                staged.unlink()
    if wanted in found:
        promote(path, generation)


def _refuse_log(path: Path) -> None:
    """A log that is not folded in holds newer pages than the file."""
    with suppress(FileNotFoundError):
        if path.with_name(path.name + WAL_SUFFIX).stat().st_size:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                f"The log of {path.name} is not folded in, so it cannot be written anew; retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )


def _copy(path: Path, target: Path, *, before: PageSealer, after: PageSealer) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(target, flags, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as made, path.open("rb") as source:
        _copy_pages(source, made, before=before, after=after)
        os.fsync(made.fileno())


def _copy_pages(
    source: BufferedReader, made: FileIO, *, before: PageSealer, after: PageSealer
) -> None:
    name, index, wanted = str(source.name), 0, 1
    while chunk := source.read(_CHUNK_BYTES):
        sealed = bytearray()
        for start in range(0, len(chunk), PAGE_BYTES):
            page = before.open_main(index, chunk[start : start + PAGE_BYTES])
            if page is None:
                raise _damaged(name, index, "fails authentication")
            if index == 0:
                wanted = int.from_bytes(page[_PAGES_AT], "big")
            sealed += after.seal_main(index, page)
            index += 1
        _write_whole(made, sealed)
    if index < wanted:
        raise _damaged(name, index, "is missing")


def _write_whole(made: FileIO, content: bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[made.write(rest) :]


def _overwrite(file: FileIO) -> None:
    left = os.fstat(file.fileno()).st_size
    file.seek(0)
    while left > 0:
        left -= file.write(_ZEROS[:left])
    os.fsync(file.fileno())
    file.truncate(0)


def _damaged(path: str, index: int, what: str) -> Corrupt:
    name = path.rpartition("/")[2]
    where = f"page {index + 1}"
    return Corrupt(f"{where} {what}", file=name, where=where)
