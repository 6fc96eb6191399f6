"""The node's own database: encrypted like every range file, written by group commit."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import apsw

from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, DStoreError, RefusalKind, Refused, Unknown
from dstore.storage.failures import no_space, stored_error, translated
from dstore.storage.group_commit import GroupCommit
from dstore.storage.range_files import FOLDER
from dstore.storage.schema import Schema, upgrade
from dstore.storage.table_records import NODE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.surroundings import Surroundings
    from dstore.storage.vault.layout import FileKey
    from dstore.storage.vault.vault import Vault

_log = get_logger(__name__)

Result = TypeVar("Result")
Step = Callable[[apsw.Connection], Any]
STEP_BYTES: Final = 4_096  # of a queued step, roughly; a deferred write says more
CHECKPOINT_PAGES: Final = 2_000


class NodeDatabase:
    """Runs steps that write in transactions, in order; those that read beside them."""

    def __init__(self, directory: Path, *, key: FileKey, around: Surroundings) -> None:
        """Open the database, making it on the first start; runs in a thread.

        A new database gets its name only when it is whole, so a crash leaves none or all of it.
        Raises: Corrupt: it is damaged, or missing beside range files, which it alone can name.
        """
        self.path = directory / NODE_FILE
        self._vault = around.vault
        self._around = around
        with translated(str(self.path)):
            if not self.path.exists():
                _refuse_lost(directory)
                _make(directory / f"{NODE_FILE}.new", key, vault=self._vault).rename(self.path)
            self._vault.register(self.path, key)
            with ExitStack() as opened:
                self._connection = opened.enter_context(closing(self._vault.connect(self.path)))
                self._connection.pragma("foreign_keys", True)  # noqa: FBT003 - a pragma's value
                # What is deleted here is keys: their bytes are overwritten, not just unlinked.
                self._connection.pragma("secure_delete", True)  # noqa: FBT003 - a pragma's value
                upgrade(self._connection, Schema.NODE)
                self._reader = opened.enter_context(
                    closing(self._vault.connect(self.path, readonly=True))
                )
                opened.pop_all()
        self._reading = Lock()  # held by whoever uses the reader; the log is cut between two reads
        self._group: GroupCommit[Step, Any] = GroupCommit(self._commit, executor=around.executor)

    async def run(
        self, step: Callable[[apsw.Connection], Result], *, job_bytes: int = STEP_BYTES
    ) -> Result:
        """Run a step in a transaction; what it returns is answered once it is durable.

        A step that raises is undone alone. Raises: what the step raised; Unavailable, Unknown.
        """
        # The group carries steps of all result types; each future gets its own step's result.
        return cast("Result", await self._group.submit(step, job_bytes=job_bytes))

    async def read(self, step: Callable[[apsw.Connection], Result]) -> Result:
        """Run a step that only reads, in a thread and in one snapshot of what is committed.

        It waits for no write and holds none up. Raises: what the step raised; Corrupt.
        """
        loop = get_running_loop()
        return await loop.run_in_executor(self._around.executor, self._read, step)

    async def shred(self) -> None:
        """Make what was deleted unrecoverable: fold the log, which still has it, and cut it."""
        await self._group.submit(_ShredStep(), job_bytes=STEP_BYTES)

    async def drain(self) -> None:
        """Return when every queued step is answered."""
        await self._group.wait_idle()

    def close(self) -> None:
        """Close the database; it must be idle. Runs in a thread."""
        self._reader.close()
        self._connection.close()
        self._vault.forget(self.path)

    def _read(self, step: Callable[[apsw.Connection], Result]) -> Result:
        with self._reading, translated(str(self.path)):
            self._reader.execute("BEGIN")
            try:
                return step(self._reader)
            finally:
                self._reader.execute("ROLLBACK")

    def _commit(self, steps: Sequence[Step]) -> Sequence[Any]:
        connection = self._connection
        is_committing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = [self._run(step) for step in steps]
            is_committing = True
            connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise no_space() from error
        except BaseException as error:
            if is_committing:
                self._around.on_fatal(error)
                raise Unknown("The commit failed in a way that leaves its outcome open.") from error
            self._roll_back()
            if isinstance(error, Exception):
                raise stored_error(error, file=str(self.path)) from error
            raise
        return self._folded(steps, answers)

    def _folded(self, steps: Sequence[Step], answers: Sequence[Any]) -> Sequence[Any]:
        """Fold the log if it is due; the batch is committed, whatever comes of that.

        Returns: the answers; a failure is the answer of who asked for the log to be cut.
        """
        shreds = any(isinstance(step, _ShredStep) for step in steps)
        if not shreds and self._vault.log_pages(self.path) <= CHECKPOINT_PAGES:
            return answers
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if shreds else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            with self._reading:
                self._connection.wal_checkpoint(mode=mode)
        except (apsw.IOError, OSError) as error:
            self._around.on_fatal(error)  # a page may or may not be on the disk (B16)
            raise Unknown("Folding the log failed; the process ends.") from error
        except Exception as error:  # noqa: BLE001 - the next batch tries again
            failure = stored_error(error, file=str(self.path))
            _log.warning("fold_failed", file=NODE_FILE, error=type(failure).__name__)
            return [
                failure if isinstance(step, _ShredStep) else answer
                for step, answer in zip(steps, answers, strict=True)
            ]
        return answers

    def _run(self, step: Step) -> Any:
        connection = self._connection
        connection.execute("SAVEPOINT step")
        try:
            answer = step(connection)
        except DStoreError as refusal:
            connection.execute("ROLLBACK TO step")
            answer = refusal
        except apsw.ConstraintError:
            connection.execute("ROLLBACK TO step")
            message = "It exists already, or what it belongs to is gone; look, then retry."
            answer = Refused(RefusalKind.CONFLICT, message)
        connection.execute("RELEASE step")
        return answer

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _make(scratch: Path, key: FileKey, *, vault: Vault) -> Path:
    """Make an empty node database under a name of its own. Returns: its path."""
    for leftover in scratch.parent.glob(f"{scratch.name}*"):
        leftover.unlink()
    vault.register(scratch, key)
    with closing(vault.create(scratch)) as connection:
        upgrade(connection, Schema.NODE)
    vault.forget(scratch)
    return scratch


def _refuse_lost(directory: Path) -> None:
    """Refuse to begin anew where tables are: without their records they would be swept away."""
    if any((directory / FOLDER).glob("*/*.db")):
        message = f"{NODE_FILE} is missing, and there are tables; restore it, nothing was changed."
        raise Corrupt(message, file=NODE_FILE, where="file")


class _ShredStep:
    """Marks a batch after which the log is folded and cut."""

    def __call__(self, _connection: apsw.Connection) -> None:
        """Do nothing by itself."""
