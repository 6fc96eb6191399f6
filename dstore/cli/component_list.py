"""Lists of components: what is shown of each, and finding one by the beginning of its id."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dstore.cli.answers import whole_list
from dstore.cli.client import Client, Request, UrlPath, path_of
from dstore.cli.failures import ExitCode, Failure, usage
from dstore.cli.options import asked
from dstore.cli.output import Column, Page, is_json, print_list
from dstore.cli.sizes import size_text

UUID_CHARS: Final = 36
_SHORT_CHARS: Final = 8
REMOVED: Final = "removed"

# Few and short enough for a terminal of 80 columns; the rest is in `show`, and in JSON.
NODE_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="ZONE", key="zone"),
    Column(heading="STATE", key="state"),
    Column(heading="HEALTH", key="health"),
    Column(heading="RANGES", key="ranges"),
    Column(heading="PRIMARY", key="primaries"),
    Column(heading="FREE", key="free"),
    Column(heading="LOAD", key="load"),
    Column(heading="WHY", key="why", is_data=True),
)
PROXY_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="ZONE", key="zone"),
    Column(heading="STATE", key="state"),
    Column(heading="HEALTH", key="health"),
    Column(heading="CLIENTS", key="apiUrl"),
    Column(heading="WHY", key="why", is_data=True),
)
CONTROL_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="STATE", key="state"),
    Column(heading="HEALTH", key="health"),
    Column(heading="LEADS", key="leads"),
    Column(heading="URL", key="url"),
    Column(heading="WHY", key="why", is_data=True),
)


def list_components(
    server: Client, noun: str, *, key: str, columns: Sequence[Column], with_removed: bool
) -> None:
    """Print the components of a role.

    Args:
        server: control.
        noun: of the path: node, proxy, control.
        key: of the answer's array.
        columns: what people see of each.
        with_removed: whether those that were removed for good are shown too.
    """
    kind = f"{noun.capitalize()}List"
    print_list(kind, columns, _shown(server, noun, key=key, with_removed=with_removed))


def _shown(server: Client, noun: str, *, key: str, with_removed: bool) -> Iterator[Page]:
    for page in whole_list(server, _path(noun), key=key):
        rows = [json.loads(row) for row in page.rows]
        kept = [row for row in rows if with_removed or row.get("state") != REMOVED]
        shown = kept if is_json() else [for_people(row) for row in kept]
        yield Page(rows=[json.dumps(row).encode() for row in shown], after=page.after)


def for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Make of a component what a table shows: a short id, and words in the place of figures."""
    free, capacity = row.get("freeBytes"), row.get("capacityBytes")
    has_disk = isinstance(free, int) and isinstance(capacity, int) and capacity > 0
    load = row.get("loadPercent")
    return {
        **row,
        "id": short_id(row.get("id")),
        "free": size_text(free) if has_disk else None,
        "load": f"{load} %" if isinstance(load, int) and row.get("health") == "okay" else None,
        "leads": "yes" if row.get("isLeader") else None,
    }


def short_id(component_id: object) -> str:
    """Cut an id to what tells the components of one cluster apart; every command takes it so."""
    return str(component_id)[:_SHORT_CHARS]


def find_component(server: Client, noun: str, given: str, *, key: str) -> str:
    """Find the id that begins as it was typed.

    Args:
        server: control.
        noun: of the path, and of the sentence if there is none.
        given: a whole id, or its beginning.
        key: of the answer's array.
    Raises: Failure: none begins so, or several do.
    """
    if len(given) >= UUID_CHARS or asked().print_curl:
        return given
    answered = whole_list(server, _path(noun), key=key)
    rows = [json.loads(row) for page in answered for row in page.rows]
    ids = [str(row.get("id")) for row in rows if row.get("state") != REMOVED]
    found = [each for each in ids if each.startswith(given.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise usage(f"{len(found)} {key} begin with {given}: {', '.join(found)}; type more of it.")
    raise Failure(
        f"There is no {noun} {given}; dstore {noun} list shows those there are.",
        exit_code=ExitCode.NOT_FOUND,
    )


def delete_component(server: Client, noun: str, component_id: str) -> dict[str, Any]:
    """Remove a component for good. Returns: what it was."""
    path = _path(noun, component_id)
    answer = server.call(Request(method="DELETE", path=path, takes_away=True))
    found: dict[str, Any] = json.loads(answer.body)
    return found


def _path(noun: str, *rest: str) -> UrlPath:
    return path_of("admin", "v1", noun, *rest)
