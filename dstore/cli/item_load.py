"""Storing the items of a file: one by PutItem, many by BatchWriteItem, conditional ones singly."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from dstore.base.limits import MIB
from dstore.cli.aws_errors import AwsFailure
from dstore.cli.dynamodb import TRIES_MAX, DynamoDb, pause
from dstore.cli.failures import ExitCode, Failure, usage
from dstore.cli.item_files import ItemFile
from dstore.cli.item_formats import read_items
from dstore.cli.item_keys import TableKeys, joined_members, substitutes, table_keys
from dstore.cli.item_options import Format, Substitutes
from dstore.cli.output import emit
from dstore.cli.progress import ProgressBar
from dstore.model import numbers
from dstore.model.errors import Refused
from dstore.model.values import Item

BATCH_ITEMS_MAX: Final = 25  # DynamoDB's
# DynamoDB takes requests of 16 MB; below it, an item of 400 KiB still fits with all its escapes.
_BATCH_BYTES_MAX: Final = 8 * MIB
_PARTITION: Final = "#key_partition"  # what --if-absent calls the key
_CONDITION_FAILED: Final = "ConditionalCheckFailedException"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to store, and how."""

    table: str
    form: Format
    condition: str | None
    if_absent: bool
    given: Substitutes

    @property
    def is_conditional(self) -> bool:
        """Tell whether every item is to be judged by itself."""
        return self.if_absent or self.condition is not None


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What became of it."""

    stored: int = 0
    refused: int = 0  # a condition did not hold

    @property
    def items(self) -> int:
        """All that were sent."""
        return self.stored + self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """An item of the file and the line on which it began."""

    item: Item
    line: int
    text: bytes = field(repr=False)  # as it travels


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Items that go together; DynamoDB takes no key twice."""

    lines: list[_Line] = field(default_factory=list)
    keys: set[bytes] = field(default_factory=set)
    bytes_count: int = 0

    def takes(self, line: _Line, key: bytes | None) -> bool:
        """Tell whether another item may go along."""
        return (
            len(self.lines) < BATCH_ITEMS_MAX
            and key not in self.keys
            and (not self.lines or self.bytes_count + len(line.text) <= _BATCH_BYTES_MAX)
        )

    def add(self, line: _Line, key: bytes | None) -> None:
        """Put it with the others."""
        self.lines.append(line)
        if key is not None:
            self.keys.add(key)
        self.bytes_count += len(line.text)


class Loader:
    """Store the items of files in one table; `loaded` counts, and is right whatever happens."""

    def __init__(self, db: DynamoDb, wanted: Load) -> None:
        """Send nothing yet."""
        self.loaded = Loaded()
        self._db = db
        self._wanted = wanted

    def load(self, file: ItemFile) -> None:
        """Store every item of a file, in order.

        Raises: Failure: the first item that can't be stored, with its line; those before it are.
        """
        lines = _lines(file, self._wanted.form)
        first, second = next(lines, None), next(lines, None)
        if first is None:
            raise usage(f"There is no item in {file.name}.")
        every = chain([first], [] if second is None else [second], lines)
        if self._wanted.is_conditional or second is None:
            steps = self._singly(every)
        elif self._db.print_curl:
            steps = self._printed(every)
        else:
            steps = self._batches(every)
        caption = f"Storing in {self._wanted.table}"
        with ProgressBar(caption, total=lambda: file.size_bytes, shares_stdout=False) as bar:
            for _ in steps:
                done = None if file.size_bytes is None else file.read_bytes()
                bar.advance(self.loaded.items, done=done)

    def _singly(self, lines: Iterator[_Line]) -> Iterator[None]:
        """Put one item after the other; yield after each."""
        condition = self._condition()
        is_repeatable = not self._wanted.is_conditional
        for line in lines:
            members = {"TableName": self._wanted.table, "Item": _raw(line), **condition}
            try:
                self._db.write("PutItem", members, is_repeatable=is_repeatable)
            except AwsFailure as error:
                if error.name != _CONDITION_FAILED:
                    raise _at(error, f"line {line.line}") from None
                self.loaded.refused += 1
            else:
                self.loaded.stored += 1
            yield

    def _condition(self) -> dict[str, Any]:
        """Make the members of the condition; an item that is absent has no partition key."""
        wanted = self._wanted
        condition, names = wanted.condition, dict[str, str]()
        if wanted.if_absent:
            absent = f"attribute_not_exists({_PARTITION})"
            names = {_PARTITION: table_keys(self._db, wanted.table).partition}
            condition = absent if condition is None else f"({condition}) AND {absent}"
        return joined_members(
            {} if condition is None else {"ConditionExpression": condition},
            {"ExpressionAttributeNames": names},
            substitutes(wanted.given),
        )

    def _batches(self, lines: Iterator[_Line]) -> Iterator[None]:
        """Put the items batch by batch; yield after each."""
        keys = table_keys(self._db, self._wanted.table)
        batch = _Batch()
        for line in lines:
            key = _key(line, keys)
            if not batch.takes(line, key):
                self._send(batch)
                yield
                batch = _Batch()
            batch.add(line, key)
        self._send(batch)
        yield

    def _send(self, batch: _Batch) -> None:
        """Send a batch, and what comes back of it again, with growing pauses."""
        where = f"lines {batch.lines[0].line} to {batch.lines[-1].line}"
        requests = _put_requests(batch)
        attempt = 0
        while requests:
            try:
                members = {"RequestItems": {self._wanted.table: requests}}
                answer = self._db.write("BatchWriteItem", members, is_repeatable=True)
            except Failure as error:
                raise _at(error, where) from None
            left = _unprocessed(answer)
            self.loaded.stored += len(requests) - len(left)
            attempt = 1 if len(left) < len(requests) else attempt + 1
            if attempt > TRIES_MAX:
                raise Failure(
                    f"The server took nothing more of {where} in {TRIES_MAX} tries: it is "
                    "overloaded, or the table's throughput is used up. Try again later."
                )
            requests = left
            if requests:
                pause(attempt)

    def _printed(self, lines: Iterator[_Line]) -> Iterator[None]:
        """Print a line for curl for each batch; which keys come twice only the server knows."""
        import msgspec

        batch = _Batch()
        for line in chain(lines, [None]):
            if line is None or not batch.takes(line, None):
                members = {"RequestItems": {self._wanted.table: _put_requests(batch)}}
                emit(self._db.curl_line("BatchWriteItem", msgspec.json.encode(members)) + "\n")
                yield
                batch = _Batch()
            if line is not None:
                batch.add(line, None)


def _lines(file: ItemFile, form: Format) -> Iterator[_Line]:
    import msgspec

    for found in file.objects():
        what = f"item at line {found.line} of {file.name}"
        for item in read_items(found.text, form, what=what):
            yield _Line(item=item, line=found.line, text=msgspec.json.encode(item))


def _key(line: _Line, keys: TableKeys) -> bytes:
    """Tell items with the same key by it; equal numbers are equal, however they are spelled."""
    import msgspec

    found: list[Any] = []
    for name in keys.names:
        attribute: Any = line.item.get(name)
        if attribute is None:
            raise usage(f"The item at line {line.line} has no {name}, a key of {keys.table}.")
        number = attribute.get("N") if isinstance(attribute, dict) else None
        if type(number) is str:
            with suppress(Refused):  # the server says it in AWS's words
                attribute = {"N": numbers.canonical(number)}
        found.append(attribute)
    return msgspec.json.encode(found)


def _unprocessed(answer: Mapping[str, Any]) -> list[Any]:
    left = answer.get("UnprocessedItems") or {}
    return [request for requests in left.values() for request in requests]


def _put_requests(batch: _Batch) -> list[Any]:
    return [{"PutRequest": {"Item": _raw(line)}} for line in batch.lines]


def _raw(line: _Line) -> Any:
    import msgspec

    return msgspec.Raw(line.text)


def _at(error: Failure, where: str) -> Failure:
    return Failure(f"{error.message} (In {where}.)", exit_code=ExitCode(error.exit_code))
