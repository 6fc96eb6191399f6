"""`dstore placement accept-loss` and `clear-loss`: ranges whose replicas are gone for good."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, json_request, path_of
from dstore.cli.command import Leaf
from dstore.cli.component_list import short_id
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode, Failure
from dstore.cli.following import await_end, wait_option
from dstore.cli.options import asked, calls_admin
from dstore.cli.output import Column, emit, is_json, note, print_result, print_rows, print_thing
from dstore.cli.range_ids import find_range, range_argument

_COLUMNS: Final = (
    Column(heading="NODE", key="nodeShort"),
    Column(heading="STATE", key="state"),
    Column(heading="ANSWERS", key="answers"),
    Column(heading="LOG ENDS AT", key="end"),
    Column(heading="NEWEST RECORD", key="newestAt"),
    Column(heading="ENTRIES", key="entries"),
)
_EXAMPLE: Final = "5d1e8a52-7f0c-4c1e-9c7a-2b8f0d6e4a11"

_reason_option = click.option(
    "--reason", metavar="TEXT", help="Why; it is kept in the audit log and the notice."
)


@click.command(
    "accept-loss", cls=Leaf, example=f"dstore placement accept-loss {_EXAMPLE} --dry-run"
)
@range_argument
@click.option(
    "--gone",
    metavar="NODE",
    multiple=True,
    help="A node that is gone for good, by its UUID; repeat it for each that is missing.",
)
@_reason_option
@click.option("--dry-run", is_flag=True, help="Say what is left, and change nothing.")
@click.option("--confirm", "typed", metavar="RANGE", help="The range's whole id once more.")
@wait_option
@calls_admin
def accept_loss(
    *,
    range_id: str,
    gone: tuple[str, ...],
    reason: str | None,
    dry_run: bool,
    typed: str | None,
    wait: bool,
) -> None:
    """Let the best of what is left of a range serve, since its other replicas are gone for good.

    A range that too few of its in-sync replicas are left of is not opened by itself: those that are
    missing may hold what was acknowledged. Bring them back if that is possible at all. What only
    they have is lost by this, for good, also if they come back later. Refused while a node that is
    missing lives, or was not named.
    """
    server = client(Surface.ADMIN)
    range_id = find_range(server, range_id)
    if not asked().print_curl:
        found = _reported(server, range_id)
        if dry_run or not is_json():
            _show(found)
        if dry_run:
            return
        if found.get("whyNot"):
            raise Failure(str(found.get("whyNot")), exit_code=ExitCode.UNSAFE)
        _check_named(found, gone)
        _confirm(range_id, found, typed=typed)
    told = {"gone": list(gone), "reason": _reason(reason)}
    path = path_of("admin", "v1", "placement", "range", range_id, "accept-loss")
    order = replace(json_request("POST", path, told), takes_away=True)
    answer = document(server.call(order))
    _tell(server, answer, what=f"Range {range_id}", deed="goes on with what is left", wait=wait)


@click.command(
    "clear-loss",
    cls=Leaf,
    example=f"dstore placement clear-loss {_EXAMPLE} --reason compared",
)
@range_argument
@_reason_option
@wait_option
@calls_admin
def clear_loss(*, range_id: str, reason: str | None, wait: bool) -> None:
    """Say of a range no longer that it may have lost writes, once somebody has looked."""
    server = client(Surface.ADMIN)
    range_id = find_range(server, range_id)
    path = path_of("admin", "v1", "placement", "range", range_id, "clear-loss")
    answer = document(server.call(json_request("POST", path, {"reason": _reason(reason)})))
    _tell(server, answer, what=f"Range {range_id}", deed="is as any other again", wait=wait)


def _reported(server: Client, range_id: str) -> dict[str, Any]:
    path = path_of("admin", "v1", "placement", "range", range_id, "loss")
    return document(server.call(Request(method="GET", path=path)))


def _show(found: dict[str, Any]) -> None:
    best = found.get("best")
    shown = {
        "table": f"{found.get('tenant')}/{found.get('table')}",
        "hashes": f"{found.get('lowHash', 0):08x}-{found.get('highHash', 0):08x}",
        "may have lost writes": "yes, already" if found.get("possibleLoss") else "no",
        "would serve": _serves(found) if best else "nobody",
        "loses": _loses(found) if best else None,
        "missing": ", ".join(found.get("missing") or ()) or None,
        "not now": found.get("whyNot"),
    }
    print_thing("RangeLoss", found, {name: value for name, value in shown.items() if value})
    if not is_json():
        emit("\n")
        print_rows(_COLUMNS, map(_for_people, found.get("replicas") or ()))


def _serves(found: dict[str, Any]) -> str:
    if not _best(found).get("isDamaged"):
        return str(found.get("best"))
    return f"{found.get('best')}, which is damaged: some of its items can't be read"


def _best(found: dict[str, Any]) -> dict[str, Any]:
    """Find the replica that would serve."""
    rows = found.get("replicas") or ()
    return next((one for one in rows if one.get("node") == found.get("best")), {})


def _loses(found: dict[str, Any]) -> str:
    if found.get("isLossless"):
        return "nothing: it holds every acknowledged write"
    newest = _best(found).get("newestAt")
    since = f" since {newest}" if newest else ""
    return f"whatever was acknowledged{since}, and maybe before, that only the missing ones have"


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    is_heard = bool(row.get("isHeard"))
    return {
        **row,
        "nodeShort": short_id(row.get("node")),
        "answers": _answers(row),
        "end": f"{row.get('epoch')}/{row.get('sequence')}" if is_heard else None,
    }


def _answers(row: dict[str, Any]) -> str:
    if not row.get("isHeard"):
        return "no, but it is alive" if row.get("isAlive") else "no"
    words = ["yes"]
    if not row.get("isSameDisk"):
        words.append("another disk")
    if not row.get("isWhole"):
        words.append("not whole")
    if row.get("isDamaged"):
        words.append("damaged")
    return ", ".join(words)


def _check_named(found: dict[str, Any], gone: tuple[str, ...]) -> None:
    """Raises: Failure(UNSAFE): somebody is missing of whom nobody has said that it is gone."""
    unsaid = [each for each in found.get("missing") or () if each not in gone]
    if unsaid:
        options = " ".join(f"--gone {each}" for each in unsaid)
        raise Failure(
            "These nodes may come back with all that was acknowledged. If they are gone for good, "
            f"say so: {options}",
            exit_code=ExitCode.UNSAFE,
        )


def _confirm(range_id: str, found: dict[str, Any], *, typed: str | None) -> None:
    """Go on only if the range's UUID was typed once more. Raises: Failure(UNSAFE)."""
    if typed is None and sys.stdin.isatty():
        note(f"What serves then is {_serves(found)}. This loses {_loses(found)}.")
        typed = click.prompt("Type the range's UUID to go on", default="", err=True)
    if typed != range_id:
        raise Failure(
            f"This would lose {_loses(found)}. Nothing was done; repeat it with --confirm "
            f"{range_id} if it is meant.",
            exit_code=ExitCode.UNSAFE,
        )


def _reason(reason: str | None) -> str:
    """Raises: Failure(USAGE): none was given."""
    if not (reason or "").strip():
        raise Failure(
            "Say why with --reason: it is kept in the audit log.", exit_code=ExitCode.USAGE
        )
    return str(reason)


def _tell(server: Client, answer: dict[str, Any], *, what: str, deed: str, wait: bool) -> None:
    task = answer.get("task")
    print_result(
        "Range", answer, sentence=f"{what} {deed}: dstore tasks show {task} says how far it is."
    )
    if wait:
        await_end(server, task, what=what)
