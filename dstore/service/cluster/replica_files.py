"""What a node's replicas ask of their files beside opening them; see `surroundings.Files`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import NotMine

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.model.errors import Corrupt
    from dstore.service.holdings import Holdings
    from dstore.storage.examination import PagesSeen
    from dstore.storage.range_files import RangeFiles


class ReplicaFiles:
    """The files of a node's ranges. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        files: RangeFiles,
        *,
        on_damage: Callable[[str, Corrupt], None],
        on_anew: Callable[[str], None],
        on_condemned: Callable[[str, str], None],
        on_short: Callable[[str], None],
    ) -> None:
        """Work on what `holdings` holds.

        Args:
            holdings: knows the files' keys.
            files: of all ranges.
            on_damage: told of a range, by its id, in whose file something can't be read.
            on_anew: told of a range whose file has nothing of what was in it any more.
            on_condemned: told of a range, and of the node whose replica of it is copied anew.
            on_short: told of a node of whose replicas one lacks what it has acknowledged.
        """
        self._holdings = holdings
        self._files = files
        self._on_damage = on_damage
        self._on_anew = on_anew
        self._on_condemned = on_condemned
        self._on_short = on_short

    async def read_pages(self, range_id: str, *, first_page: int) -> PagesSeen:
        """Read pages from the disk."""
        key = self._holdings.file_key(range_id)
        return await self._files.read_pages(range_id, key, first_page=first_page)

    async def is_sound(self, range_id: str) -> bool:
        """Read the whole file."""
        return await self._files.is_sound(range_id, self._holdings.file_key(range_id))

    async def renew(self, range_id: str, *, promised_epoch: int) -> None:
        """Put an empty file in its place."""
        holdings = self._holdings
        held = holdings.ranges.get(range_id)
        if held is None:
            raise NotMine(range_id)
        work = holdings.rewrite(range_id, promised_epoch=promised_epoch)
        await holdings.turn(held.tenant, work)

    async def note_scrub(self, range_id: str, at_us: int) -> None:
        """Remember when the range was scrubbed."""
        await self._holdings.note_scrubs([(range_id, at_us)])

    def found_damaged(self, range_id: str, error: Corrupt) -> None:
        """Hear that something can't be read."""
        self._on_damage(range_id, error)

    def condemned(self, range_id: str, node: str) -> None:
        """Hear that another node's replica is copied anew."""
        self._on_condemned(range_id, node)

    def fell_short(self, node: str) -> None:
        """Hear that another node's replica lacks what it has acknowledged."""
        self._on_short(node)

    def begins_anew(self, range_id: str) -> None:
        """Hear that nothing is left of what was there."""
        self._on_anew(range_id)
