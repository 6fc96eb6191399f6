"""Global indexes that are made anew, as the admin API sees them."""

from __future__ import annotations

from dstore.model.errors import RefusalKind, Refused


class FakeRebuilding:
    """Indexes of which none is named `absent`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str]] = []

    async def rebuild(self, tenant: str, table: str, index: str, *, actor: str) -> None:
        """Remember what is asked."""
        if index == "absent":
            raise Refused(RefusalKind.NOT_FOUND, "There is no such index.")
        self.asked.append((tenant, table, index, actor))
