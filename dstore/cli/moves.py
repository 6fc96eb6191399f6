"""`dstore placement plan` and its like: replicas on their way from node to node."""

from __future__ import annotations

from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, json_request, path_of
from dstore.cli.command import TEXT, Leaf
from dstore.cli.component_list import short_id
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.failures import Failure
from dstore.cli.following import await_end, progress_text, wait_option
from dstore.cli.options import calls_admin, yes_option
from dstore.cli.output import Column, emit, is_json, print_result, print_rows, print_thing
from dstore.cli.range_ids import find_range, range_argument
from dstore.cli.sizes import size_text

_COLUMNS: Final = (
    Column(heading="TENANT", key="tenant"),
    Column(heading="TABLE", key="table"),
    Column(heading="HASHES", key="hashes"),
    Column(heading="WHY", key="why"),
    Column(heading="FROM", key="from"),
    Column(heading="TO", key="to"),
    Column(heading="SIZE", key="size"),
    Column(heading="DONE", key="done"),
)
_SPLIT_COLUMNS: Final = (
    Column(heading="TENANT", key="tenant"),
    Column(heading="TABLE", key="table"),
    Column(heading="HASHES", key="hashes"),
    Column(heading="WHY", key="why"),
    Column(heading="SPLIT AT", key="at"),
    Column(heading="BEGUN", key="begunAt"),
)


@click.command(cls=Leaf, example="dstore placement plan")
@calls_admin
def plan() -> None:
    """Show the replicas that are moved now, those that will be, and the ranges that are split.

    They are moved by themselves: to replace those on nodes that are gone, and to spread bytes and
    primaries evenly over nodes and zones. While that is paused, dstore placement apply carries out
    a plan that was shown.
    """
    _show(_planned(client(Surface.ADMIN)))


def _planned(server: Client) -> dict[str, Any]:
    path = path_of("admin", "v1", "placement", "plan")
    return document(server.call(Request(method="GET", path=path)))


def _show(found: dict[str, Any]) -> None:
    moves, splits = found.get("moves") or (), found.get("splits") or ()
    under_way = sum(bool(each.get("isUnderWay")) for each in moves)
    told = [progress_text(each) for each in found.get("tasks") or ()]
    shown = {
        "under way": str(under_way),
        "to come": str(len(moves) - under_way),
        "splits": str(len(splits)) if splits else None,
        "progress": "; ".join(filter(None, told)),
        "paused": "yes: dstore placement resume ends it" if found.get("isPaused") else "no",
        "plan": found.get("token") if len(moves) > under_way else None,
    }
    print_thing("MovePlan", found, {name: value for name, value in shown.items() if value})
    if moves and not is_json():
        emit("\n")
        print_rows(_COLUMNS, map(_for_people, moves))
    if splits and not is_json():
        emit("\n")
        print_rows(_SPLIT_COLUMNS, map(_split_for_people, splits))


@click.command(cls=Leaf, example="dstore placement apply 5f0c2ab99e31d870 --wait")
@click.argument(
    "plan_token",
    metavar="PLAN",
    required=False,
    type=TEXT,
    help="What dstore placement plan named.",
)
@wait_option
@yes_option
@calls_admin
def apply(*, plan_token: str | None, wait: bool, yes: bool) -> None:
    """Carry out a plan that was shown, even while moves are paused.

    Refused if nodes or replicas have changed since it was shown. Without PLAN it is shown, and
    carried out if you say so.
    """
    server = client(Surface.ADMIN)
    if plan_token is None:
        found = _planned(server)
        if all(each.get("isUnderWay") for each in found.get("moves") or ()):
            raise Failure("There is nothing to move.")
        if not is_json():
            _show(found)
        confirm("carry out this plan", yes=yes)
        plan_token = str(found.get("token"))
    path = path_of("admin", "v1", "placement", "apply")
    answer = document(server.call(json_request("POST", path, {"token": plan_token})))
    task = answer.get("task")
    sentence = f"The plan is carried out: dstore tasks show {task} says how far it is."
    print_result("MovePlan", answer, sentence=sentence)
    if wait:
        await_end(server, task, what=f"Plan {plan_token}")


def _hashes(row: dict[str, Any]) -> str:
    return f"{row.get('lowHash', 0):08x}-{row.get('highHash', 0):08x}"


def _split_for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "hashes": _hashes(row), "at": f"{row.get('atHash', 0):08x}"}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    is_copied = bool(row.get("add"))
    to = row.get("add") or row.get("primary")
    return {
        **row,
        "hashes": _hashes(row),
        "why": row.get("why") or "under way",
        "from": short_id(row["remove"]) if row.get("remove") else None,
        "to": short_id(to) if to else None,
        "size": size_text(row.get("sizeBytes")) if is_copied else None,
        "done": _done(row.get("doneBytes"), row.get("sizeBytes")) if is_copied else None,
    }


def _done(done: object, size: object) -> str | None:
    if not isinstance(done, int) or not isinstance(size, int) or size <= 0:
        return None
    return f"{100 * done // size} %"


@click.command(cls=Leaf, example="dstore placement pause")
@calls_admin
def pause() -> None:
    """Let no more replicas be moved; those under way come to their end."""
    _set_paused(is_on=True, sentence="No more replicas are moved until dstore placement resume.")


@click.command(cls=Leaf, example="dstore placement resume")
@calls_admin
def resume() -> None:
    """Let replicas be moved again."""
    _set_paused(is_on=False, sentence="Replicas are moved again where they should be.")


def _set_paused(*, is_on: bool, sentence: str) -> None:
    path = path_of("admin", "v1", "placement", "pause")
    answer = client(Surface.ADMIN).call(json_request("PUT", path, {"paused": is_on}))
    print_result("MovePlan", document(answer), sentence=sentence)


@click.command(cls=Leaf, example="dstore placement abort --yes")
@yes_option
@calls_admin
def abort(*, yes: bool) -> None:
    """Undo the moves that are under way, and begin no more.

    Replicas that are still being copied are given up, and those that were to go stay. No data is
    lost by it.
    """
    confirm("give up all replicas that are being copied", yes=yes)
    path = path_of("admin", "v1", "placement", "abort")
    found = document(client(Surface.ADMIN).call(Request(method="POST", path=path)))
    count = found.get("ranges")
    some = "1 range" if count == 1 else f"{count} ranges"
    print_result("MovePlan", found, sentence=f"Undone: the moves of {some}. No more begin.")


@click.command(
    cls=Leaf, example="dstore placement split 5d1e8a52-7f0c-4c1e-9c7a-2b8f0d6e4a11 --wait"
)
@range_argument
@wait_option
@calls_admin
def split(*, range_id: str, wait: bool) -> None:
    """Split a range in two, where half of its bytes lie below.

    Ranges are split by themselves when they are large or asked much. A partition is never cut, so a
    range that is nearly all of one can't be split.
    """
    server = client(Surface.ADMIN)
    range_id = find_range(server, range_id)
    path = path_of("admin", "v1", "placement", "split")
    answer = document(server.call(json_request("POST", path, {"rangeId": range_id})))
    task = answer.get("task")
    sentence = f"The range is split: dstore tasks show {task} says how far it is."
    print_result("Split", answer, sentence=sentence)
    if wait:
        await_end(server, task, what=f"Range {range_id}")
