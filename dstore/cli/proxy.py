"""`dstore proxy`: the proxies of a cluster."""

import click

from dstore.cli.client import client
from dstore.cli.command import TEXT, Noun
from dstore.cli.component_list import (
    PROXY_COLUMNS,
    delete_component,
    find_component,
    list_components,
)
from dstore.cli.confirm import confirm
from dstore.cli.connection import Surface
from dstore.cli.options import calls_admin, dry_run_option, yes_option
from dstore.cli.output import print_result


@click.group(cls=Noun)
def proxy() -> None:
    """Proxies: what clients of a cluster call.

    A proxy joins with a token, see dstore control token create.
    """


@proxy.command("list", example="dstore proxy list")
@click.option("--all", "with_removed", is_flag=True, help="Show those that were removed too.")
@calls_admin
def list_(*, with_removed: bool) -> None:
    """List the proxies and how they are."""
    list_components(
        client(Surface.ADMIN),
        "proxy",
        key="proxies",
        columns=PROXY_COLUMNS,
        with_removed=with_removed,
    )


@proxy.command(example="dstore proxy remove 9c1e --yes")
@click.argument("proxy_id", metavar="PROXY", type=TEXT, help="Its id, or how it begins.")
@dry_run_option
@yes_option
@calls_admin
def remove(*, proxy_id: str, dry_run: bool, yes: bool) -> None:
    """Remove a proxy for good; clients that call it are refused from then on."""
    server = client(Surface.ADMIN)
    found_id = find_component(server, "proxy", proxy_id, key="proxies")
    if dry_run:
        fields = {"id": found_id, "removed": False}
        print_result("Proxy", fields, sentence=f"Proxy {found_id} would be removed.")
        return
    confirm(f"remove proxy {found_id} from the cluster for good", yes=yes)
    removed = delete_component(server, "proxy", found_id)
    print_result("Proxy", {**removed, "removed": True}, sentence=f"Proxy {found_id} is removed.")
