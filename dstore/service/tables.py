"""DynamoDB tables as their operations change them: made, set anew, deleted, one change at a time.

What a new throughput makes of an old one is a pure function here; `update` runs what its caller
gives it in the tenant's turn, so that it sees the settings as they are and nothing comes between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.model.table_settings import Throughput

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.clock import Clock
    from dstore.model.ranges import Table
    from dstore.model.table_settings import TableSettings
    from dstore.model.tables import TableDefinition
    from dstore.service.access import Principal
    from dstore.service.directory import Declared, Registrar
    from dstore.service.expiry_states import ExpiryStates

DAY_US: Final = 24 * 3_600 * US_PER_S


class Tables:
    """The tables of tenants, for the DynamoDB API; `by` is who wants a change.

    Used from one event loop.
    """

    def __init__(
        self, registrar: Registrar, clock: Clock, *, expiry: ExpiryStates | None = None
    ) -> None:
        """Have `registrar` change the tables; `expiry` asks their ranges what has become of it."""
        self._registrar = registrar
        self._clock = clock
        self._expiry = expiry

    def now_us(self) -> int:
        """Tell the wall time in microseconds since 1970, by which changes are dated."""
        return self._clock.wall_us()

    async def create(
        self, tenant: str, declared: Declared, *, by: Principal | None = None
    ) -> Table:
        """Create a table. Raises: Refused: there is one of that name. Unavailable: no space."""
        return await self._registrar.declare_table(tenant, declared, by=by)

    async def update(
        self,
        tenant: str,
        name: str,
        change: Callable[[TableDefinition, int], TableSettings],
        *,
        by: Principal | None = None,
    ) -> Table:
        """Set a table's settings to what `change` makes of its definition and of now's wall time.

        Raises: Refused: there is no such table; what `change` raises, and then nothing changed.
        """
        return await self._registrar.set_table(
            tenant, name, lambda definition: change(definition, self.now_us()), by=by
        )

    async def is_expiry_settled(self, table: Table) -> bool:
        """Tell whether what the settings say of expiring is so in all of the table's ranges."""
        return self._expiry is None or await self._expiry.is_settled(table)

    async def delete(self, tenant: str, name: str, *, by: Principal | None = None) -> Table:
        """Delete a table. Returns: what it was.

        Raises: Refused: there is no such table, or it is protected against deletion.
        """
        return await self._registrar.delete_table(tenant, name, by=by)


def decreases_today(throughput: Throughput, *, now_us: int) -> int:
    """Count the decreases of this UTC day."""
    last_us = throughput.decreased_at_us
    if last_us is None or last_us // DAY_US != now_us // DAY_US:
        return 0
    return throughput.decreases


def changed_throughput(
    before: Throughput, read_units: int, write_units: int, *, now_us: int
) -> Throughput:
    """Set new units; an increase and a decrease are dated, and a decrease is counted.

    One change may increase the one and decrease the other; at AWS it is then both.
    """
    after = replace(before, read_units=read_units, write_units=write_units)
    if read_units > before.read_units or write_units > before.write_units:
        after = replace(after, increased_at_us=now_us)
    if read_units < before.read_units or write_units < before.write_units:
        count = decreases_today(before, now_us=now_us) + 1
        after = replace(after, decreased_at_us=now_us, decreases=count)
    return after
