"""Range files that no record names: set aside at a start, deleted after a grace time.

A crash between the two steps of creating or deleting a table leaves such a file. A `node.db` put
back from an older backup makes every newer table look the same, so nothing is destroyed at once: a
start moves the file to `ranges/orphans/<set aside, Unix seconds>-<name>`. A start whose records
name it again moves it back.

All functions wait for the disk; call them in a thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.limits import ORPHAN_GRACE_S
from dstore.base.logging import get_logger
from dstore.storage.node_keys import sync_directory
from dstore.storage.range_files import FOLDER

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

ORPHANS: Final = "orphans"
# A range's folder has two characters, so that a glob of them never meets the folder of orphans.
_IN_PLACE: Final = "??/*.db*"
_DISOWNED: Final = "replaced-"  # with it a name is of no range
_SET_ASIDE: Final = re.compile(r"([0-9]{1,12})-(.+)")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orphan:
    """A file in the folder of orphans: when it came there, and what it was called before."""

    path: Path
    set_aside_s: int
    name: str

    @property
    def range_id(self) -> str:
        return _range_id(self.name)


class Orphans:
    """The folder of orphans in a data directory."""

    def __init__(self, directory: Path) -> None:
        """Look after `<directory>/ranges`; the folder of orphans is made when one is found."""
        self._ranges = directory / FOLDER
        self._folder = self._ranges / ORPHANS

    def sort(self, known: Collection[str], *, now_s: int) -> None:
        """Bring back what the records name again, and set aside what they do not name.

        Args:
            known: the ids of all ranges that the records name.
            now_s: wall clock, seconds since 1970.
        """
        for orphan in self._all():
            place = self._ranges / orphan.range_id[:2] / orphan.name
            if orphan.range_id in known and not place.exists():
                _move(orphan.path, place)
                _log.warning("orphan_brought_back", file=orphan.name)
        found = sorted(self._ranges.glob(_IN_PLACE))
        for path in found:
            if _range_id(path.name) not in known:
                _move(path, self._folder / f"{now_s}-{path.name}")
                _log.warning("orphan_set_aside", file=path.name, kept_s=ORPHAN_GRACE_S)

    def disown(self, range_id: str) -> None:
        """See to it that what is set aside of a range is never brought back: it gets a new file.

        A log must not come to lie beside a database that it is not of. Who put the wrong `node.db`
        back still finds the files, under another name, for what is left of the grace time.
        """
        for orphan in self._all():
            if orphan.range_id == range_id:
                target = self._folder / f"{orphan.set_aside_s}-{_DISOWNED}{orphan.name}"
                _move(orphan.path, target)
                _log.warning("orphan_disowned", file=orphan.name)

    def delete_due(self, *, now_s: int) -> None:
        """Delete what was set aside ORPHAN_GRACE_S ago or earlier."""
        for orphan in self._all():
            if now_s - orphan.set_aside_s >= ORPHAN_GRACE_S:
                orphan.path.unlink(missing_ok=True)
                _log.info("orphan_deleted", file=orphan.name)

    def count(self) -> int:
        """Count the ranges of which files are set aside."""
        return len({orphan.range_id for orphan in self._all()})

    def _all(self) -> list[_Orphan]:
        """List the folder; a name that is none of ours is left alone."""
        if not self._folder.is_dir():
            return []
        return [
            _Orphan(path=path, set_aside_s=int(match[1]), name=match[2])
            for path in sorted(self._folder.iterdir())
            if (match := _SET_ASIDE.fullmatch(path.name)) is not None
        ]


def _range_id(name: str) -> str:
    return name.partition(".")[0]


def _move(path: Path, target: Path) -> None:
    """Rename durably; the folder of `target` is made if it is absent."""
    if not target.parent.exists():
        target.parent.mkdir(mode=0o700)
        sync_directory(target.parent.parent)
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)
