"""`client.env` of a control process: where its admin API is, and a token of the operator's.

Every control process has a token of its own, made at its first start. Of a token only the digest is
kept, so one whose file was lost is replaced, and revoked: its public id stands beside the file.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.private_files import read_private, write_private
from dstore.base.threads import in_thread
from dstore.model.errors import Refused
from dstore.service.client_env import CLIENT_ENV, TOKEN_VARIABLE, held_token, write_changed

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.service.control.credentials import ControlCredentials

TOKEN_ID_FILE: Final = "client.token-id"  # noqa: S105 - a public id
_ID_BYTES_MAX: Final = 64
_ACTOR: Final = "control"


async def write_operator_env(
    credentials: ControlCredentials, directory: Path, *, admin_url: str
) -> Path:
    """Make the operator's token if there is none, and write the file. Returns: its path.

    Raises: Unavailable, Unknown: control's store.
    """
    path = directory / CLIENT_ENV
    token = await _token(credentials, directory, path)
    content = f"DSTORE_ADMIN_URL={admin_url}\n{TOKEN_VARIABLE}={token}\n"
    await in_thread(partial(write_changed, path, content.encode()))
    return path


async def _token(credentials: ControlCredentials, directory: Path, path: Path) -> str:
    """Keep the token in the file if it is valid; else make one and revoke the former."""
    held = await in_thread(partial(held_token, path))
    if held is not None:
        with suppress(Refused):
            if (await credentials.bearer(f"Bearer {held}")).is_operator:
                return held
    id_path = directory / TOKEN_ID_FILE
    former = await in_thread(partial(_former_id, id_path))
    record, text = await credentials.create_token(None, actor=_ACTOR)
    await in_thread(partial(write_private, id_path, record.id.encode() + b"\n"))
    if former is not None:
        with suppress(Refused):  # it was deleted meanwhile
            await credentials.delete_token(None, former, actor=_ACTOR)
    return text


def _former_id(path: Path) -> str | None:
    try:
        return read_private(path, bytes_max=_ID_BYTES_MAX).decode("ascii", "replace").strip()
    except (OSError, ValueError):
        return None
