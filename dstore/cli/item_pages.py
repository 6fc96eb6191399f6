"""Walking the pages of Query and Scan: as many items as wanted, or segments side by side."""

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from dstore.cli.answers import unexpected
from dstore.cli.dynamodb import DynamoDb
from dstore.model.values import Item

# Items that a page evaluates while a filter may leave more than are wanted.
_FILTERED_PAGE: Final = 1_000
_LOOK_S: Final = 0.1  # how soon a segment notices that nobody waits for it any more
_PAGES_WAITING_MAX: Final = 4  # read and not yet printed, of up to some MiB each


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """Some items; `last` is the key to go on after, None at the end."""

    items: list[Item] = field(repr=False)
    count: int
    scanned: int
    last: Item | None


def item_pages(
    db: DynamoDb, operation: str, members: Mapping[str, Any], *, items_max: int | None
) -> Iterator[ItemPage]:
    """Ask page by page until the end, or until there are `items_max` items.

    DynamoDB's Limit bounds the items that are looked at, not those that a filter leaves. So a page
    that has too many is asked for once more, half as long, and `last` is always the last item's.

    Args:
        db: whom to ask.
        operation: Query or Scan.
        members: of the request.
        items_max: None means all.
    """
    after: Item | None = members.get("ExclusiveStartKey")
    left = length = items_max
    is_filtered = "FilterExpression" in members
    if left is not None and is_filtered:
        length = max(left, _FILTERED_PAGE)
    while True:
        page = _page(db.read(operation, {**members, **_from(after, length)}))
        if left is not None and page.count > left:
            if length is None or length <= left:
                raise unexpected()  # more than was asked for
            length = max(left, min(length, page.scanned) // 2)
            continue
        yield page
        if page.last is None:
            return
        if page.last == after:
            raise unexpected()  # it would never end
        after = page.last
        if left is not None and length is not None:
            left -= page.count
            if left <= 0:
                return
            length = max(left, min(2 * length, _FILTERED_PAGE)) if is_filtered else left


def _from(after: Item | None, length: int | None) -> dict[str, Any]:
    start = {} if after is None else {"ExclusiveStartKey": after}
    return start if length is None else {**start, "Limit": length}


def segment_pages(clients: list[DynamoDb], members: Mapping[str, Any]) -> Iterator[ItemPage]:
    """Scan in as many segments as there are clients, each in a thread of its own.

    Pages come as they are read, in no order.

    Raises: Failure: the first that any segment met; the others end after their page.
    """
    pages: queue.Queue[ItemPage | BaseException | None] = queue.Queue(_PAGES_WAITING_MAX)
    stop = threading.Event()

    def put(found: ItemPage | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                pages.put(found, timeout=_LOOK_S)
                return

    def walk(number: int, client: DynamoDb) -> None:
        part = {**members, "Segment": number, "TotalSegments": len(clients)}
        try:
            for page in item_pages(client, "Scan", part, items_max=None):
                put(page)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            put(error)

    for number, client in enumerate(clients):
        # Daemons: Ctrl-C must not wait for answers.
        threading.Thread(target=walk, args=(number, client), daemon=True).start()
    running = len(clients)
    try:
        while running:
            match pages.get():
                case None:
                    running -= 1
                case BaseException() as error:
                    raise error
                case page:
                    yield page
    finally:
        stop.set()


def _page(answer: Mapping[str, Any]) -> ItemPage:
    items = answer.get("Items", [])
    count, scanned = answer.get("Count"), answer.get("ScannedCount")
    last = answer.get("LastEvaluatedKey") or None
    if not isinstance(items, list) or not isinstance(count, int):
        raise unexpected()
    return ItemPage(
        items=items, count=count, scanned=scanned if isinstance(scanned, int) else count, last=last
    )
