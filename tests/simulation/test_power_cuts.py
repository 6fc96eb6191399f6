"""Power cuts: what was acknowledged is there and whole afterwards.

Each seed is one disk that lives through several cuts. A life opens the file with a new vault, runs
a random workload and ends with a cut at a random operation, recovery included.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import apsw
import pytest

from dstore.model.errors import Corrupt
from dstore.storage.vault.file_state import LogState
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.residency import Residency
from dstore.storage.vault.vault import Vault
from tests.simulation.disk import PowerCut, SimDisk
from tests.support.entropy import SeededEntropy

# A connection that is dropped while the power is off cannot say so to anybody.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEEDS: Final = 120
LIVES: Final = 10
_KEYS: Final = 60
_CHECKPOINTS: Final = (
    apsw.SQLITE_CHECKPOINT_PASSIVE,
    apsw.SQLITE_CHECKPOINT_FULL,
    apsw.SQLITE_CHECKPOINT_RESTART,
    apsw.SQLITE_CHECKPOINT_TRUNCATE,
)

Rows = dict[int, bytes]


class Lost(AssertionError):
    """The file does not hold what was acknowledged, nor that and the transaction in flight."""


@dataclass(slots=True)
class _Machine:
    """A disk, the file on it and what its clients know."""

    disk: SimDisk
    random: Random
    synchronous: str
    key: FileKey
    acknowledged: Rows = field(default_factory=dict)
    in_flight: Rows | None = None
    transactions: int = 0
    log: LogState = field(default_factory=LogState)
    forgets_sync: bool = False
    connections: list[apsw.Connection] = field(default_factory=list)
    residencies: dict[apsw.Connection, Residency] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the file lies in this life."""
        return self.disk.directory / "range.db"

    def vault(self) -> Vault:
        """Start over with nothing in memory."""
        vault = Vault(
            entropy=SeededEntropy(self.random),
            page_cache_bytes=self.random.choice((0, 20_000, 1 << 20)),
            base_vfs=self.disk.name,
            fdatasync=self.disk.fdatasync,
        )
        vault.register(self.path, self.key)
        self.log = vault.log_of(self.path)
        return vault

    def connect(self, vault: Vault) -> apsw.Connection:
        """Open one more connection, small of cache so that transactions spill."""
        residency = Residency()
        connection = vault.connect(self.path, residency=residency)
        self.connections.append(connection)
        self.residencies[connection] = residency
        connection.pragma("synchronous", self.synchronous)
        connection.pragma("cache_size", self.random.choice((5, 40)))
        assert connection.pragma("journal_mode") == "wal"
        return connection

    def close(self) -> None:
        """Let go of all connections; with the power off, closing fails and writes nothing."""
        for connection in self.connections:
            with suppress(PowerCut, apsw.Error):
                connection.close()
        self.connections.clear()
        self.residencies.clear()

    def found(self, connection: apsw.Connection) -> None:
        """Compare the file with what is known, and know better."""
        assert connection.pragma("integrity_check") == "ok"
        rows = dict(connection.execute("SELECT id, value FROM entry"))
        if rows != self.acknowledged and (self.in_flight is None or rows != self.in_flight):
            raise Lost(f"{len(rows)} rows; {len(self.acknowledged)} were acknowledged")
        self.acknowledged, self.in_flight = rows, None


def _transaction(machine: _Machine, connection: apsw.Connection) -> None:
    """Write several rows in one transaction; sometimes take them back."""
    random, rows = machine.random, dict(machine.acknowledged)
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(random.choice((1, 2, 4, 25))):
        key = random.randrange(_KEYS)
        if random.random() < 0.2:
            rows.pop(key, None)
            connection.execute("DELETE FROM entry WHERE id = ?", (key,))
        else:
            rows[key] = random.randbytes(random.choice((10, 300, 3_000)))
            connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, rows[key]))
    if random.random() < 0.15:
        connection.execute("ROLLBACK")
        return
    machine.in_flight = rows
    _commit(machine, connection)
    machine.acknowledged, machine.in_flight = rows, None
    machine.transactions += 1


def _commit(machine: _Machine, connection: apsw.Connection) -> None:
    """Commit; sometimes the sync comes behind, and another connection folds in between."""
    if machine.random.random() < 0.5 and not machine.forgets_sync:
        connection.execute("COMMIT")
        return
    residency = machine.residencies[connection]
    residency.defers_sync = True
    connection.execute("COMMIT")
    residency.defers_sync = False
    if machine.random.random() < 0.2:
        others = [one for one in machine.connections if one is not connection]
        machine.random.choice(others).wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    if not machine.forgets_sync:
        machine.log.sync()


def _checkpoint(machine: _Machine, connection: apsw.Connection) -> None:
    connection.wal_checkpoint(mode=machine.random.choice(_CHECKPOINTS))


def _read(machine: _Machine, connection: apsw.Connection) -> None:
    """Read everything through whatever caches there are."""
    assert dict(connection.execute("SELECT id, value FROM entry")) == machine.acknowledged


_STEPS: Final[tuple[Callable[[_Machine, apsw.Connection], None], ...]] = (
    *(_transaction,) * 6,
    _checkpoint,
    _read,
)


def _live(machine: _Machine) -> None:
    """Open the file, check it, work until the power goes."""
    machine.disk.cut_after = machine.random.randrange(120)
    vault = machine.vault()
    while True:
        connections = [machine.connect(vault) for _ in range(3)]
        machine.found(connections[0])
        for _ in range(machine.random.randrange(60)):
            machine.random.choice(_STEPS)(machine, machine.random.choice(connections))
        machine.close()


def _start(seed: int, *, synchronous: str, is_lying: bool) -> _Machine:
    """Make a file with its table, acknowledged."""
    random = Random(seed)
    disk = SimDisk(random, is_lying=is_lying)
    key = FileKey(file_uuid=random.randbytes(16), generation=seed, secret=random.randbytes(32))
    machine = _Machine(disk=disk, random=random, synchronous=synchronous, key=key)
    connection = machine.vault().create(machine.path)
    machine.connections.append(connection)
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, value BLOB) STRICT")
    disk.cut()
    machine.close()
    disk.restart()
    return machine


def _run(
    seed: int, *, synchronous: str = "full", is_lying: bool = False, forgets_sync: bool = False
) -> _Machine:
    machine = _start(seed, synchronous=synchronous, is_lying=is_lying)
    machine.forgets_sync = forgets_sync
    try:
        for _ in range(LIVES):
            try:
                _live(machine)
            except (PowerCut, Corrupt, apsw.Error):
                if not machine.disk.is_off:
                    raise
            machine.disk.cut()
            machine.close()
            machine.disk.restart()
        machine.found(machine.connect(machine.vault()))
    finally:
        machine.disk.kill()
        machine.close()
        machine.disk.remove()
    return machine


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_acknowledged_transactions_survive(seed: int) -> None:
    """I1: an acknowledged write survives the loss of power, and the file stays sound."""
    try:
        machine = _run(seed)
    except (Lost, Corrupt, apsw.Error, AssertionError) as error:
        replay = f"pytest '{__file__}::test_acknowledged_transactions_survive[{seed}]'"
        pytest.fail(f"seed {seed}: {error!r}; replay with: {replay}", pytrace=True)
    assert machine.disk.cuts == LIVES + 1


def _losses(seeds: range, fault: dict[str, Any]) -> Iterator[int]:
    for seed in seeds:
        try:
            _run(seed, **fault)
        except (Lost, Corrupt, AssertionError, apsw.Error, PowerCut):
            yield seed


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [{"synchronous": "normal"}, {"is_lying": True}, {"forgets_sync": True}], ids=str
)
def test_the_harness_bites(fault: dict[str, Any]) -> None:
    """A harness that finds nothing proves nothing: lazy, lying and forgotten syncs lose writes."""
    losses = list(_losses(range(20), fault))
    assert len(losses) >= 18
