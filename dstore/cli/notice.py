"""`dstore notice`: what nodes told control."""

from typing import Final

import click

from dstore.cli.answers import pages_of_control
from dstore.cli.client import client, path_of
from dstore.cli.command import Noun
from dstore.cli.connection import Surface
from dstore.cli.options import calls_admin
from dstore.cli.output import Column, print_list

_COLUMNS: Final = (
    Column(heading="AT", key="at"),
    Column(heading="NODE", key="node"),
    Column(heading="KIND", key="kind"),
    Column(heading="DETAILS", key="details", is_data=True),
)


@click.group(cls=Noun)
def notice() -> None:
    """Notices: what nodes told control.

    Such as a disk that is nearly full, or a damaged page.
    """


@notice.command("list", example="dstore notice list")
@calls_admin
def list_() -> None:
    """List notices, the newest first."""
    path = path_of("admin", "v1", "notice")
    found = pages_of_control(client(Surface.ADMIN), path, key="notices")
    print_list("NoticeList", _COLUMNS, found)
