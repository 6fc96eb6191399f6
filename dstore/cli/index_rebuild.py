"""`dstore table rebuild-index`: have a global index made anew from its table."""

from __future__ import annotations

import click

from dstore.cli.answers import document
from dstore.cli.client import Request, client, path_of
from dstore.cli.command import TEXT, Leaf
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.options import calls_admin, tenant_option, yes_option
from dstore.cli.output import print_result


@click.command("rebuild-index", cls=Leaf, example="dstore table rebuild-index orders by-state")
@click.argument("name", type=TEXT, help="The table's name.")
@click.argument("index", type=TEXT, help="The global index's name.")
@yes_option
@tenant_option
@calls_admin
def rebuild_index(*, name: str, index: str, yes: bool, tenant: str) -> None:
    """Make a global index anew from its table, for one that is not right any more.

    It is deleted and filled again by itself; until then it can't be queried. The table is not
    touched, and takes reads and writes all the time. How far it is: dstore table show.
    """
    what = f"index {index} of table {name} of tenant {tenant}"
    confirm(f"make {what} anew: until it is filled it can't be queried", yes=yes)
    path = path_of("admin", "v1", "rebuild-index", tenant, name, index)
    found = document(client(Surface.ADMIN).call(Request(method="POST", path=path)))
    print_result("IndexRebuild", found, sentence=f"The {what} is made anew.")
