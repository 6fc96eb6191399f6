"""Control's own key, from where the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.errors import invalid
from dstore.security.control_key import (
    CONTROL_KEY_FILE,
    ControlKey,
    from_command,
    load_or_create,
)
from dstore.storage.control.opening import sqlite_path

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.base.entropy import Entropy
    from dstore.settings import Settings

_log: Final = get_logger(__name__)


def control_key(settings: Settings, *, may_create: bool, entropy: Entropy) -> ControlKey:
    """Read it, or make its file; call it in a thread.

    Args:
        settings: name the command or the file; else it is `control.key` beside the data.
        may_create: control's store is new.
        entropy: source of a new key.
    Raises: Refused(INVALID): both are named. Unavailable(LOCKED): it can't be had.
    """
    if settings.control_key_command is not None:
        if settings.control_key_file is not None:
            raise invalid("control.key_file and control.key_command exclude each other; set one.")
        return from_command(settings.control_key_command)
    return load_or_create(_key_path(settings), may_create=may_create, entropy=entropy)


def warn_of_key_beside_store(settings: Settings) -> None:
    """Say so if one disk holds both control's store and the key that opens it."""
    if settings.control_key_command is not None:
        return
    store = sqlite_path(
        settings.control_store, directory=settings.data, is_insecure=settings.insecure
    )
    key = _key_path(settings)
    if store is not None and store.parent.resolve() == key.parent.resolve():
        _log.warning(
            "control_key_beside_store",
            file=key.name,
            reason="Whoever takes this directory has control's shares of all keys and the secrets "
            "of access keys, though no data. Keep the key elsewhere: control.key_file, or "
            "control.key_command.",
        )


def _key_path(settings: Settings) -> Path:
    return settings.control_key_file or settings.data / CONTROL_KEY_FILE
