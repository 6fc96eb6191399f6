"""`dstore control recover-topology`: control's store published anew, once etcd was lost."""

import time
from typing import Any, Final

import click

from dstore.cli.answers import document
from dstore.cli.client import Client, Request, client, path_of
from dstore.cli.command import Leaf
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.failures import Failure
from dstore.cli.options import asked, calls_admin, yes_option
from dstore.cli.output import note, print_result

_POLL_S: Final = 0.5
_PATH: Final = path_of("admin", "v1", "topology", "recovery")
_NEEDED: Final = "needed"
_UNDER_WAY: Final = "under_way"


@click.command("recover-topology", cls=Leaf, example="dstore control recover-topology --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be published, and publish nothing.")
@yes_option
@click.option("--follow", is_flag=True, help="Stay until everything is published.")
@calls_admin
def recover_topology(*, dry_run: bool, yes: bool, follow: bool) -> None:
    """Publish everything anew from control's store, after etcd was lost or put back.

    What etcd shows and the store lacks is deleted from etcd. No data of tenants is touched, and
    nodes and proxies go on with what they knew until it is done. Refused where store and etcd
    belong together, and where the store is the older of the two.
    """
    server = client(Surface.ADMIN)
    if asked().print_curl and not dry_run:
        _order(server)
        return
    found = _report(server)
    if dry_run:
        print_result("TopologyRecovery", found, sentence=_would(found))
        return
    if found.get("state") == _NEEDED:
        confirm(
            f"publish into etcd, at its revision {found.get('revision')}, {_all(found)}", yes=yes
        )
    elif found.get("state") != _UNDER_WAY:
        raise Failure(str(found.get("why")))
    found = _order(server)
    if follow:
        found = _followed(server, found)
    print_result("TopologyRecovery", found, sentence=str(found.get("why")))


def _would(found: dict[str, Any]) -> str:
    why = str(found.get("why"))
    return f"{why} Would be published: {_all(found)}." if found.get("state") == _NEEDED else why


def _all(found: dict[str, Any]) -> str:
    counts = [f"{found.get(name)} {name}" for name in ("tenants", "tables", "ranges")]
    return f"all {', '.join(counts)} of control's store"


def _followed(server: Client, found: dict[str, Any]) -> dict[str, Any]:
    """Ask until it is done. Raises: Failure: it can't be brought to its end."""
    if found.get("state") == _UNDER_WAY:
        note(str(found.get("why")))
    while found.get("state") == _UNDER_WAY:
        time.sleep(_POLL_S)
        found = _report(server)
    if found.get("state") == "impossible":
        raise Failure(str(found.get("why")))
    return found


def _report(server: Client) -> dict[str, Any]:
    return document(server.call(Request(method="GET", path=_PATH)))


def _order(server: Client) -> dict[str, Any]:
    return document(server.call(Request(method="POST", path=_PATH)))
