"""`client.env`: what a newcomer needs in order to talk to this node, in one private file.

Written before readiness at every start, with the real port. The token and the access key are made
on the first start; a token that was lost with the file is replaced and revoked, since only its
digest is stored.
"""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import suppress
from dataclasses import dataclass
from stat import S_IMODE
from typing import TYPE_CHECKING, Final, Protocol

from dstore.model.errors import Refused
from dstore.storage.node_keys import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.service.node import Node
    from dstore.service.use_cases import Gatekeeper

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


class Keeper(Protocol):
    """Who keeps the credentials, and remembers which of them stand in the file."""

    async def settings(self) -> dict[str, str]:
        """Read what is remembered."""

    async def set_setting(self, name: str, value: str) -> None:
        """Remember something across restarts."""

    def is_operators(self, token: str) -> bool:
        """Tell whether a token is one of the operator's, and valid."""

    async def create_token(self) -> tuple[str, str]:
        """Make a token of the operator's. Returns: its id, and its text."""

    async def delete_token(self, token_id: str) -> None:
        """Revoke a token of the operator's. Raises: Refused: there is none of that id."""

    async def create_access_key(self, tenant: str) -> str:
        """Make an access key, and its tenant if there is none of that name. Returns: its id."""

    async def secret_of(self, tenant: str, key_id: str) -> str | None:
        """Read an access key's secret; None if the tenant has no such key any more."""


class NodeKeeper:
    """The `Keeper` of a stand-alone node."""

    def __init__(self, node: Node) -> None:
        """Ask `node`."""
        self._node = node

    async def settings(self) -> dict[str, str]:
        """See `Keeper`."""
        return await self._node.settings()

    async def set_setting(self, name: str, value: str) -> None:
        """See `Keeper`."""
        await self._node.set_setting(name, value)

    def is_operators(self, token: str) -> bool:
        """See `Keeper`."""
        return is_operators(self._node.access, token)

    async def create_token(self) -> tuple[str, str]:
        """See `Keeper`."""
        record, text = await self._node.access.create_token(None)
        return record.id, text

    async def delete_token(self, token_id: str) -> None:
        """See `Keeper`."""
        await self._node.access.delete_token(None, token_id)

    async def create_access_key(self, tenant: str) -> str:
        """See `Keeper`."""
        await self._node.catalog.create_tenant(tenant)
        record, _ = await self._node.access.create_access_key(tenant)
        return record.id

    async def secret_of(self, tenant: str, key_id: str) -> str | None:
        """See `Keeper`."""
        for key in self._node.access.access_keys(tenant):
            if key.id == key_id:
                return self._node.access.secret_of(key)
        return None


def is_operators(gatekeeper: Gatekeeper, token: str) -> bool:
    """Tell whether a token is one of the operator's, and valid."""
    try:
        return gatekeeper.bearer(f"Bearer {token}").is_operator
    except Refused:
        return False


async def write_client_env(keeper: Keeper, directory: Path, addresses: Addresses) -> Path:
    """Make what is missing of the first credentials, and write the file. Returns: its path."""
    path = directory / CLIENT_ENV
    assert addresses.public_url is not None
    assert addresses.admin_url is not None
    settings = await keeper.settings()
    variables = {
        "DSTORE_URL": addresses.public_url,
        "DSTORE_ADMIN_URL": addresses.admin_url,
        TOKEN_VARIABLE: await _operator_token(keeper, path, settings),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": addresses.public_url,
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": addresses.public_url,
    }
    variables |= await _access_key(keeper, settings)
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


async def _operator_token(keeper: Keeper, path: Path, settings: dict[str, str]) -> str:
    """Keep the token in the file if it is valid; else make one and revoke the former."""
    held = held_token(path)
    if held is not None and keeper.is_operators(held):
        return held
    former = settings.get(_TOKEN_SETTING)
    token_id, text = await keeper.create_token()
    await keeper.set_setting(_TOKEN_SETTING, token_id)
    if former is not None:
        with suppress(Refused):  # somebody has revoked it meanwhile
            await keeper.delete_token(former)
    return text


async def _access_key(keeper: Keeper, settings: dict[str, str]) -> dict[str, str]:
    """Make the default tenant and its key once; if somebody deleted them, they stay deleted."""
    key_id = settings.get(_ACCESS_KEY_SETTING)
    if key_id is None:
        key_id = await keeper.create_access_key(DEFAULT_TENANT)
        await keeper.set_setting(_ACCESS_KEY_SETTING, key_id)
    secret = await keeper.secret_of(DEFAULT_TENANT, key_id)
    if secret is None:
        return {}
    return {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}


def held_token(path: Path) -> str | None:
    """Read the token that the file names; None if there is none."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.partition("=")[2] for line in lines if line.startswith(f"{TOKEN_VARIABLE}=")]
    return found[0] if found else None
