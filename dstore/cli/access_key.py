"""`dstore access-key`: the pairs of id and secret that AWS's tools and SDKs sign with."""

import json
from typing import Final

import click

from dstore.cli.answers import document, fields_or_none, whole_list
from dstore.cli.client import JSON, Request, UrlPath, client, path_of
from dstore.cli.command import TEXT, Noun
from dstore.cli.connection import Surface
from dstore.cli.credential_list import require_listed
from dstore.cli.curl import BodyFile
from dstore.cli.failures import usage
from dstore.cli.options import calls_admin, dry_run_option, tenant_option
from dstore.cli.output import Column, emit, is_json, note, print_list, print_object, print_result

_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="CREATED", key="createdAt"),
)
# The body that `_secret_body` makes, for who calls with curl: the secret is in no argument.
_BODY_FILTER: Final = """jq -Rsc '{secret: rtrimstr("\\n")}'"""


@click.group(cls=Noun, name="access-key")
def access_key() -> None:
    """Access keys: what AWS's tools and SDKs sign with.

    A key belongs to one tenant.
    """


@access_key.command(example="dstore access-key create --tenant acme -o json")
@tenant_option
@calls_admin
def create(*, tenant: str) -> None:
    """Make an access key and print its secret, this once."""
    path = path_of("admin", "v1", "tenant", tenant, "access-key")
    made = document(client(Surface.ADMIN).call(Request(method="POST", path=path)))
    note(f"Keep the secret of tenant {tenant}'s new key now; it is never shown again.")
    if is_json():
        print_object("AccessKey", made)
    else:  # as client.env has them
        emit(f"AWS_ACCESS_KEY_ID={made.get('id')}\nAWS_SECRET_ACCESS_KEY={made.get('secret')}\n")


@access_key.command("list", example="dstore access-key list --tenant acme")
@tenant_option
@calls_admin
def list_(*, tenant: str) -> None:
    """List a tenant's access keys, without their secrets."""
    path = path_of("admin", "v1", "tenant", tenant, "access-key")
    found = whole_list(client(Surface.ADMIN), path, key="accessKeys")
    print_list("AccessKeyList", _COLUMNS, found)


@access_key.command(
    "import", example="dstore access-key import AKIAIOSFODNN7EXAMPLE --secret-file -"
)
@click.argument("key_id", metavar="ID", type=TEXT, help="The access key's id.")
@click.option(
    "--secret-file",
    metavar="FILE",
    required=True,
    help="The file with the secret; - for stdin, where a terminal asks for it unseen.",
)
@tenant_option
@calls_admin
def import_(*, key_id: str, secret_file: str, tenant: str) -> None:
    """Take over an access key made elsewhere, so that its clients need no change."""
    body = BodyFile(name=secret_file, encode=_secret_body, filter=_BODY_FILTER, is_secret=True)
    request = Request(method="PUT", path=_path(tenant, key_id), headers=JSON, body=body)
    answer = client(Surface.ADMIN).call(request)
    fields = {"id": key_id, **fields_or_none(answer)}
    fields.pop("secret", None)
    print_result("AccessKey", fields, sentence=f"Access key {key_id} is tenant {tenant}'s now.")


@access_key.command(example="dstore access-key delete DSAKEXAMPLEEXAMPLE22")
@click.argument("key_id", metavar="ID", type=TEXT, help="The access key's id.")
@dry_run_option
@tenant_option
@calls_admin
def delete(*, key_id: str, dry_run: bool, tenant: str) -> None:
    """Delete an access key; whatever signs with it is refused from then on."""
    server = client(Surface.ADMIN)
    if dry_run:
        path = path_of("admin", "v1", "tenant", tenant, "access-key")
        found = require_listed(whole_list(server, path, key="accessKeys"), key_id, "access key")
        sentence = f"Access key {key_id} of tenant {tenant} would be deleted."
        print_result("AccessKey", {**found, "deleted": False}, sentence=sentence)
        return
    server.call(Request(method="DELETE", path=_path(tenant, key_id)))
    print_result(
        "AccessKey",
        {"id": key_id, "deleted": True},
        sentence=f"Access key {key_id} of tenant {tenant} is deleted.",
    )


def _path(tenant: str, key_id: str) -> UrlPath:
    return path_of("admin", "v1", "tenant", tenant, "access-key", key_id)


def _secret_body(content: bytes) -> bytes:
    """Make the request's body of a secret file: its line, without the line's end."""
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise usage("The secret is not text; an access key's secret is printable ASCII.") from None
    if not secret:
        raise usage("The secret is empty; put it into the file, or on stdin.")
    return json.dumps({"secret": secret}).encode()
