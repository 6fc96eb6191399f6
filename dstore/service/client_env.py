"""`client.env`: what a newcomer needs in order to talk to this node, in one private file.

Written before readiness at every start, with the real port. The token and the access key are made
on the first start; a token that was lost with the file is replaced and revoked, since only its
digest is stored.
"""

from __future__ import annotations

from asyncio import get_running_loop
from dataclasses import dataclass
from stat import S_IMODE
from typing import TYPE_CHECKING, Final

from dstore.model.errors import Refused
from dstore.storage.node_keys import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.service.node import Node

CLIENT_ENV: Final = "client.env"
_MODE: Final = 0o600
DEFAULT_TENANT: Final = "default"
REGION: Final = "us-east-1"
_TOKEN_SETTING: Final = "client_env.token_id"  # noqa: S105 - a setting's name
_ACCESS_KEY_SETTING: Final = "client_env.access_key_id"
TOKEN_VARIABLE: Final = "DSTORE_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the surfaces of this process really listen; None for one that it does not have.

    `peer_url` is what other components are told, which may be another name for the same place.
    """

    public_url: str | None = None
    admin_url: str | None = None
    peer_url: str | None = None


async def write_client_env(node: Node, directory: Path, addresses: Addresses) -> Path:
    """Make what is missing of the first credentials, and write the file. Returns: its path."""
    path = directory / CLIENT_ENV
    assert addresses.public_url is not None
    assert addresses.admin_url is not None
    settings = await node.settings()
    variables = {
        "DSTORE_URL": addresses.public_url,
        "DSTORE_ADMIN_URL": addresses.admin_url,
        TOKEN_VARIABLE: await _operator_token(node, path, settings),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": addresses.public_url,
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": addresses.public_url,
    }
    variables |= await _access_key(node, settings)
    content = "".join(f"{name}={value}\n" for name, value in variables.items())
    await get_running_loop().run_in_executor(None, write_changed, path, content.encode())
    return path


def write_changed(path: Path, content: bytes) -> None:
    """Leave the file alone if it is right: with fixed ports a start needs no room on the disk."""
    try:
        is_right = path.read_bytes() == content and S_IMODE(path.stat().st_mode) == _MODE
    except OSError:
        is_right = False
    if not is_right:
        write_private(path, content)


async def _operator_token(node: Node, path: Path, settings: dict[str, str]) -> str:
    """Keep the token in the file if it is valid; else make one and revoke the former."""
    held = held_token(path)
    if held is not None:
        try:
            if node.access.bearer(f"Bearer {held}").is_operator:
                return held
        except Refused:
            pass
    former = settings.get(_TOKEN_SETTING)
    record, text = await node.access.create_token(None)
    await node.set_setting(_TOKEN_SETTING, record.id)
    if former is not None and any(token.id == former for token in node.access.tokens(None)):
        await node.access.delete_token(None, former)
    return text


async def _access_key(node: Node, settings: dict[str, str]) -> dict[str, str]:
    """Make the default tenant and its key once; if somebody deleted them, they stay deleted."""
    key_id = settings.get(_ACCESS_KEY_SETTING)
    if key_id is None:
        await node.catalog.create_tenant(DEFAULT_TENANT)
        record, _ = await node.access.create_access_key(DEFAULT_TENANT)
        await node.set_setting(_ACCESS_KEY_SETTING, record.id)
        key_id = record.id
    for key in node.access.access_keys(DEFAULT_TENANT):
        if key.id == key_id:
            return {
                "AWS_ACCESS_KEY_ID": key.id,
                "AWS_SECRET_ACCESS_KEY": node.access.secret_of(key),
            }
    return {}


def held_token(path: Path) -> str | None:
    """Read the token that the file names; None if there is none."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.partition("=")[2] for line in lines if line.startswith(f"{TOKEN_VARIABLE}=")]
    return found[0] if found else None
